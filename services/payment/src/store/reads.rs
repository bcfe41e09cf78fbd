//! What is read outside of batches.
//!
//! Statements are typed rather than prepared: they cost one round trip, and the planner sees the tables as they are now.

use chrono::{DateTime, Utc};
use contract::Lane;
use deadpool_postgres::Pool;
use journal::{Cells, ReadError, UnreadableRow};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::rows::{entry_columns, read_entry};
use crate::payment::Call;

const ORDER_OF: &str = "SELECT order_id FROM payment WHERE id = $1";

/// An authorized attempt is open, but waits for its order and not for the provider.
const OPEN: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM payment p JOIN account a ON a.order_id = p.order_id AND a.payment_id = p.id
    WHERE p.open AND ($1 IS NULL OR p.due_at <= $1) AND p.status <> 'authorized' AND p.lane = ANY ($2) ORDER BY p.due_at LIMIT $3"
);

/// The order that the attempt `payment` pays, if there is one.
pub async fn order_of(reads: &Pool, payment: Uuid) -> Result<Option<Uuid>, ReadError> {
    let rows = reads.get().await?.query_typed(ORDER_OF, &[(&payment, Type::UUID)]).await?;
    Ok(rows.first().map(|row| Cells::of("payments.payment", row).take()).transpose()?)
}

/// Up to `limit` requests that open attempts of `lanes` wait for, the longest due first; with `by`, only those due by then.
pub async fn open(reads: &Pool, lanes: &[Lane], by: Option<DateTime<Utc>>, limit: i64) -> Result<Vec<Call>, ReadError> {
    let lanes: Vec<i16> = lanes.iter().map(|lane| lane.as_i16()).collect();
    let parameters = [(&by as _, Type::TIMESTAMPTZ), (&lanes as _, Type::INT2_ARRAY), (&limit as _, Type::INT8)];
    let rows = reads.get().await?.query_typed(OPEN, &parameters).await?;
    let calls = rows.iter().map(|row| Ok(read_entry(row)?.account.next_call()));
    Ok(calls.filter_map(Result::transpose).collect::<Result<_, UnreadableRow>>()?)
}
