//! What is read outside of batches.
//!
//! Statements are typed rather than prepared: they cost one round trip, and the planner sees the tables as they are now.

use chrono::{DateTime, Utc};
use contract::Lane;
use deadpool_postgres::Pool;
use journal::{Cells, ReadError};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::rows::{read_row, shown_columns};
use crate::order::Order;

const FIND: &str = concat!("SELECT ", shown_columns!(), ", token, declines FROM orders WHERE id = $1");

const SETTLED: &str =
    concat!("SELECT ", shown_columns!(), ", token, declines FROM orders WHERE id = ANY($1) AND NOT open");

const OVERDUE: &str = "
SELECT id FROM orders WHERE open AND expires_at <= $1 AND lane = ANY($2) ORDER BY expires_at LIMIT $3";

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

/// Up to `limit` open orders in `lanes` whose deadline has passed at `now`, the longest overdue first.
pub async fn overdue(reads: &Pool, lanes: &[Lane], now: DateTime<Utc>, limit: u16) -> Result<Vec<Uuid>, ReadError> {
    let limit = i64::from(limit);
    let lanes: Vec<i16> = lanes.iter().map(|lane| lane.as_i16()).collect();
    let parameters = [(&now as _, Type::TIMESTAMPTZ), (&lanes as _, Type::INT2_ARRAY), (&limit as _, Type::INT8)];
    let rows = reads.get().await?.query_typed(OVERDUE, &parameters).await?;
    Ok(rows.iter().map(|row| Cells::of("orders.orders", row).take()).collect::<Result<_, _>>()?)
}
