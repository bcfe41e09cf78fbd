//! What is read outside of batches.
//!
//! Statements are typed rather than prepared: they cost one round trip, and the planner sees the tables as they are now.

use chrono::{DateTime, Utc};
use contract::Lane;
use contract::event::UnreadableData;
use contract::payment::PaymentEvent;
use deadpool_postgres::{Pool, PoolError};
use journal::UnreadableRow;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::rows::{Cells, entry_columns, read_entry};
use crate::payment::Call;

const ORDER_OF: &str = "SELECT order_id FROM payment WHERE id = $1";

const EVENTS: &str = "
    SELECT version, kind, at, cause, data FROM event WHERE stream_id = $1 AND version <= $2 ORDER BY version";

/// An authorized attempt is open, but waits for its order and not for the provider.
const OPEN: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM payment p JOIN account a ON a.order_id = p.order_id AND a.payment_id = p.id
    WHERE p.open AND ($1 IS NULL OR p.due_at <= $1) AND p.status <> 'authorized' AND p.lane = ANY ($2) ORDER BY p.due_at LIMIT $3"
);

/// Keys that another process deletes at this moment are left to it.
const PURGE_KEYS: &str = "
    DELETE FROM idempotency WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// Keys deleted by one statement: some milliseconds of work, so that it never holds up a batch for long.
pub const KEYS_PURGED_AT_ONCE: i64 = 1000;

/// Why payments could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No connection to the database could be had.
    #[error("cannot connect to the database")]
    Connect(#[from] PoolError),
    /// The database did not answer.
    #[error("cannot query the database")]
    Query(#[from] tokio_postgres::Error),
    /// A row is not what this service writes.
    #[error(transparent)]
    Row(#[from] UnreadableRow),
    /// An event is not what this service writes.
    #[error(transparent)]
    Event(#[from] UnreadableData),
}

/// One event of an order's stream.
#[derive(Debug)]
pub struct StoredEvent {
    /// Its number in the stream.
    pub version: i32,
    /// Its kind, such as `payment.started.v1`.
    pub kind: String,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The event that caused it.
    pub cause: Option<Uuid>,
    /// Its data, JSON.
    pub data: Box<RawValue>,
}

impl StoredEvent {
    /// The event itself; nothing when its kind is not known.
    pub fn decode(&self) -> Result<Option<PaymentEvent>, UnreadableData> {
        PaymentEvent::decode(&self.kind, self.data.get().as_bytes())
    }
}

/// The order that the attempt `payment` pays, if there is one.
pub async fn order_of(reads: &Pool, payment: Uuid) -> Result<Option<Uuid>, ReadError> {
    let rows = reads.get().await?.query_typed(ORDER_OF, &[(&payment, Type::UUID)]).await?;
    Ok(rows.first().map(|row| Cells::of("payments.payment", row).take()).transpose()?)
}

/// The events of an order's stream up to `version`, oldest first.
pub async fn events(reads: &Pool, order: Uuid, version: i32) -> Result<Vec<StoredEvent>, ReadError> {
    let parameters = [(&order as _, Type::UUID), (&version as _, Type::INT4)];
    let rows = reads.get().await?.query_typed(EVENTS, &parameters).await?;
    Ok(rows.iter().map(read_event).collect::<Result<_, _>>()?)
}

/// Up to `limit` requests that open attempts of `lanes` wait for, the longest due first; with `by`, only those due by then.
pub async fn open(reads: &Pool, lanes: &[Lane], by: Option<DateTime<Utc>>, limit: i64) -> Result<Vec<Call>, ReadError> {
    let lanes: Vec<i16> = lanes.iter().map(|lane| lane.as_i16()).collect();
    let parameters = [(&by as _, Type::TIMESTAMPTZ), (&lanes as _, Type::INT2_ARRAY), (&limit as _, Type::INT8)];
    let rows = reads.get().await?.query_typed(OPEN, &parameters).await?;
    let calls = rows.iter().map(|row| Ok(read_entry(row)?.account.next_call()));
    Ok(calls.filter_map(Result::transpose).collect::<Result<_, UnreadableRow>>()?)
}

/// Deletes up to [`KEYS_PURGED_AT_ONCE`] idempotency keys that were used before `before`; answers how many.
pub async fn purge_keys(reads: &Pool, before: DateTime<Utc>) -> Result<u64, ReadError> {
    let parameters = [(&before as _, Type::TIMESTAMPTZ), (&KEYS_PURGED_AT_ONCE as _, Type::INT8)];
    Ok(reads.get().await?.execute_typed(PURGE_KEYS, &parameters).await?)
}

fn read_event(row: &Row) -> Result<StoredEvent, UnreadableRow> {
    let mut cells = Cells::of("payments.event", row);
    Ok(StoredEvent {
        version: cells.take()?,
        kind: cells.take()?,
        at: cells.take()?,
        cause: cells.take()?,
        data: cells.take_raw()?,
    })
}
