//! What is read outside of batches.
//!
//! Statements are typed rather than prepared: they cost one round trip, and the planner sees the tables as they are now.

use chrono::{DateTime, Utc};
use contract::{Lane, event::UnreadableData, order::OrderEvent};
use deadpool_postgres::{Pool, PoolError};
use journal::UnreadableRow;
use serde_json::value::RawValue;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::rows::{Cells, read_row, shown_columns};
use crate::order::Order;

const FIND: &str = concat!("SELECT ", shown_columns!(), ", token, declines FROM orders WHERE id = $1");

const SETTLED: &str =
    concat!("SELECT ", shown_columns!(), ", token, declines FROM orders WHERE id = ANY($1) AND NOT open");

const EVENTS: &str = "
SELECT version, kind, at, cause, data FROM event WHERE stream_id = $1 AND version > $2 ORDER BY version LIMIT $3";

const OVERDUE: &str = "
SELECT id FROM orders WHERE open AND expires_at <= $1 AND lane = ANY($2) ORDER BY expires_at LIMIT $3";

/// Keys that another process deletes at this moment are left to it.
const PURGE_KEYS: &str = "
DELETE FROM idempotency WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM idempotency WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// Keys deleted by one statement: some milliseconds of work, so that it never holds up a batch for long.
pub const KEYS_PURGED_AT_ONCE: u32 = 1000;

/// Why orders could not be read.
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
    /// Its kind, such as `order.placed.v1`.
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
    pub fn decode(&self) -> Result<Option<OrderEvent>, ReadError> {
        Ok(OrderEvent::decode(&self.kind, self.data.get().as_bytes())?)
    }
}

/// The order `id`, if there is one.
pub async fn find(reads: &Pool, id: Uuid) -> Result<Option<Order>, ReadError> {
    let rows = reads.get().await?.query_typed(FIND, &[(&id, Type::UUID)]).await?;
    Ok(rows.first().map(read_row).transpose()?)
}

/// Those of the orders `ids` that are settled.
pub async fn settled(reads: &Pool, ids: &[Uuid]) -> Result<Vec<Order>, ReadError> {
    let rows = reads.get().await?.query_typed(SETTLED, &[(&ids, Type::UUID_ARRAY)]).await?;
    Ok(rows.iter().map(read_row).collect::<Result<_, _>>()?)
}

/// Up to `limit` events of the order `id` behind number `after`, oldest first.
pub async fn events(reads: &Pool, id: Uuid, after: i32, limit: u16) -> Result<Vec<StoredEvent>, ReadError> {
    let limit = i64::from(limit);
    let parameters = [(&id as _, Type::UUID), (&after as _, Type::INT4), (&limit as _, Type::INT8)];
    let rows = reads.get().await?.query_typed(EVENTS, &parameters).await?;
    Ok(rows.iter().map(read_event).collect::<Result<_, _>>()?)
}

/// Up to `limit` open orders in `lanes` whose deadline has passed at `now`, the longest overdue first.
pub async fn overdue(reads: &Pool, lanes: &[Lane], now: DateTime<Utc>, limit: u16) -> Result<Vec<Uuid>, ReadError> {
    let limit = i64::from(limit);
    let lanes: Vec<i16> = lanes.iter().map(|lane| lane.as_i16()).collect();
    let parameters = [(&now as _, Type::TIMESTAMPTZ), (&lanes as _, Type::INT2_ARRAY), (&limit as _, Type::INT8)];
    let rows = reads.get().await?.query_typed(OVERDUE, &parameters).await?;
    Ok(rows.iter().map(|row| Cells::of("orders.orders", row).take()).collect::<Result<_, _>>()?)
}

/// Deletes up to [`KEYS_PURGED_AT_ONCE`] idempotency keys that were used before `before`; answers how many.
pub async fn purge_keys(reads: &Pool, before: DateTime<Utc>) -> Result<u64, ReadError> {
    let limit = i64::from(KEYS_PURGED_AT_ONCE);
    let parameters = [(&before as _, Type::TIMESTAMPTZ), (&limit as _, Type::INT8)];
    Ok(reads.get().await?.execute_typed(PURGE_KEYS, &parameters).await?)
}

fn read_event(row: &Row) -> Result<StoredEvent, UnreadableRow> {
    let mut cells = Cells::of("orders.event", row);
    Ok(StoredEvent {
        version: cells.take()?,
        kind: cells.take()?,
        at: cells.take()?,
        cause: cells.take()?,
        data: cells.take_raw()?,
    })
}
