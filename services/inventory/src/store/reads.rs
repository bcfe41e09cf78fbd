//! What is read outside of batches.
//!
//! Statements are typed rather than prepared: they cost one round trip, and the planner sees the tables as they are now.

use contract::ProductId;
use contract::stock::{StockEvent, stream_of};
use deadpool_postgres::Pool;
use journal::ReadError;
use tokio_postgres::types::Type;

use super::rows::read_stock;
use crate::stock::Balance;
use crate::view::{Movement, movements};

const FIND: &str = "
SELECT product_id, available, reserved, sold, version, stream_version FROM stock WHERE product_id = $1";

/// In the order of the ids' bytes; every id comes after the empty text.
const PAGE: &str = "
SELECT product_id, available, reserved, sold, version, stream_version FROM stock
WHERE product_id > $1 ORDER BY product_id LIMIT $2";

/// The balance of a product, if it is known.
pub async fn find(reads: &Pool, product: &ProductId) -> Result<Option<Balance>, ReadError> {
    let rows = reads.get().await?.query_typed(FIND, &[(&product.as_str(), Type::TEXT)]).await?;
    Ok(rows.first().map(read_stock).transpose()?.map(|(_, balance)| balance))
}

/// Up to `limit` products with their balances, by id: those after the given one, or from the first on.
pub async fn page(reads: &Pool, after: Option<&ProductId>, limit: u16) -> Result<Vec<(ProductId, Balance)>, ReadError> {
    let (after, limit) = (after.map_or("", ProductId::as_str), i64::from(limit));
    let rows = reads.get().await?.query_typed(PAGE, &[(&after, Type::TEXT), (&limit, Type::INT8)]).await?;
    Ok(rows.iter().map(read_stock).collect::<Result<_, _>>()?)
}

/// The adjustment that is event `version` of the product's stream, if that is one.
pub async fn adjustment(reads: &Pool, product: &ProductId, version: i32) -> Result<Option<Movement>, ReadError> {
    let stream = stream_of(product);
    let events = journal::events(reads, stream, version..=version).await?;
    let Some(stored) = events.first() else { return Ok(None) };
    let event = StockEvent::decode(&stored.kind, stored.bytes())?;
    Ok(event.and_then(|event| movements(&event, stream, stored.at).pop()))
}
