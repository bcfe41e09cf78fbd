//! Rows, read.

use contract::ProductId;
use journal::{Cells, UnreadableRow};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::stock::{Balance, Hold, Units};

/// Every product's row, to be read by [`read_stock`]; a condition may follow.
pub const STOCK: &str = "SELECT product_id, available, reserved, sold, version, stream_version FROM stock";

/// Every order's row, to be read by [`read_hold`]; a condition may follow.
pub const HOLDS: &str = "SELECT order_id, revision, status, version, products, quantities FROM reservation";

/// The orders that a batch is about. The locks of their lanes cover them.
pub(super) const LOAD_HOLDS: &str = "
SELECT order_id, revision, status, version, products, quantities FROM reservation WHERE order_id = ANY ($1)";

/// Locks the products that are named and those that the orders hold, always in the products' order, so that no two
/// batches can wait for each other. A product that is named twice is read once.
pub(super) const LOAD_STOCK: &str = "
SELECT product_id, available, reserved, sold, version, stream_version FROM stock
WHERE product_id = ANY (ARRAY(
    SELECT unnest(products) FROM reservation WHERE order_id = ANY ($1) UNION ALL SELECT unnest($2::text[])))
ORDER BY product_id FOR UPDATE";

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
