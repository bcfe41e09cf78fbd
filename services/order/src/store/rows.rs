//! Rows, read.

use contract::order::PaymentMethod;
use journal::{Cells, UnreadableRow};
use tokio_postgres::Row;

use crate::order::{Order, Shown};

/// The columns that hold what everyone sees of an order, in the order in which [`read_shown`] takes them.
macro_rules! shown_columns {
    () => {
        "id, customer_id, status, payment_status, revision, version, currency, total, lines, reason, shortages, \
         placed_at, updated_at, expires_at"
    };
}
pub(crate) use shown_columns;

/// Every order's row, to be read by [`read_row`]; a condition may follow.
pub const ROWS: &str = concat!("SELECT ", shown_columns!(), ", token, declines FROM orders");

/// The orders that a batch changes. The lock of their lane covers them.
pub(super) const LOAD: &str = concat!("SELECT ", shown_columns!(), ", token, declines FROM orders WHERE id = ANY($1)");

/// The order that a row of [`ROWS`] holds.
pub fn read_row(row: &Row) -> Result<Order, UnreadableRow> {
    let mut cells = Cells::of("orders.orders", row);
    let shown = read_shown(&mut cells)?;
    let token: Option<String> = cells.take()?;
    Ok(Order { shown, payment: token.map(|token| PaymentMethod { token }), declines: cells.take()? })
}

/// What everyone sees of an order, from the columns of [`shown_columns`].
pub(crate) fn read_shown(cells: &mut Cells<'_>) -> Result<Shown, UnreadableRow> {
    Ok(Shown {
        id: cells.take()?,
        customer_id: cells.take_named()?,
        status: cells.take_named()?,
        payment_status: cells.take_named()?,
        revision: cells.take()?,
        version: cells.take()?,
        currency: cells.take_named()?,
        total: cells.take()?,
        lines: cells.take_raw()?.into(),
        reason: cells.take::<Option<&str>>()?.map(Into::into),
        shortages: cells.take_json()?.unwrap_or_default(),
        placed_at: cells.take()?,
        updated_at: cells.take()?,
        expires_at: cells.take()?,
    })
}
