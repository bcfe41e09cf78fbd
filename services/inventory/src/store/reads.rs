//! What is read outside of batches, by clients and by an auditor.
//!
//! Statements are typed rather than prepared: they cost one round trip, and the planner sees the tables as they are now.

use contract::ProductId;
use contract::stock::{StockEvent, stream_of};
use deadpool_postgres::Pool;
use journal::{Cells, ReadError, UnreadableRow};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::stock::{Balance, Hold, Units};
use crate::view::{Movement, movements};

/// Every product's row, to be read by [`read_stock`]; a condition may follow.
pub const STOCK: &str = "SELECT product_id, available, reserved, sold, version, stream_version FROM stock";

/// Every order's row, to be read by [`read_hold`]; a condition may follow.
pub const HOLDS: &str = "SELECT order_id, revision, status, version, products, quantities FROM reservation";

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

/// The product that a row of [`STOCK`] holds.
pub fn read_stock(row: &Row) -> Result<(ProductId, Balance), UnreadableRow> {
    let mut cells = Cells::of("inventory.stock", row);
    let product = cells.take_named()?;
    let balance = Balance {
        available: cells.take()?,
        reserved: cells.take()?,
        sold: cells.take()?,
        version: cells.take()?,
        stream_version: cells.take()?,
    };
    Ok((product, balance))
}

/// The order that a row of [`HOLDS`] is about, and what it holds.
pub fn read_hold(row: &Row) -> Result<(Uuid, Hold), UnreadableRow> {
    let mut cells = Cells::of("inventory.reservation", row);
    let order = cells.take()?;
    let (revision, status, version) = (cells.take()?, cells.take_named()?, cells.take()?);
    Ok((order, Hold { revision, status, units: read_units(&mut cells)?, version }))
}

fn read_units(cells: &mut Cells<'_>) -> Result<Vec<Units>, UnreadableRow> {
    let (products, quantities): (Vec<String>, Vec<i64>) = (cells.take()?, cells.take()?);
    if products.len() != quantities.len() {
        return Err(cells.unreadable("products and quantities do not pair"));
    }
    let units = |(product, quantity): (String, i64)| {
        let product = product.try_into().map_err(|error| cells.unreadable(error))?;
        Ok(Units { product, quantity })
    };
    products.into_iter().zip(quantities).map(units).collect()
}
