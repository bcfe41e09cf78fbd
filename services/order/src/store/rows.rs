//! Rows, read.

use contract::order::PaymentMethod;
use journal::UnreadableRow;
use serde::de::{DeserializeOwned, IntoDeserializer as _, value::Error as UnknownName};
use serde_json::value::RawValue;
use tokio_postgres::{Row, types::FromSql};

use super::Used;
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

/// The idempotency keys of a batch. The lock of the lane that a key determines covers it.
pub(super) const LOAD_KEYS: &str =
    "SELECT key, request_hash, stream_id FROM idempotency WHERE scope = 'orders' AND key = ANY($1)";

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

/// A key that a row of [`LOAD_KEYS`] holds, and what it was used for.
pub(super) fn read_key(row: &Row) -> Result<(Box<str>, Used), UnreadableRow> {
    let mut cells = Cells::of("orders.idempotency", row);
    let key: &str = cells.take()?;
    Ok((key.into(), Used { request_hash: cells.take()?, order: cells.take()?, now: None }))
}

/// A row's cells, taken one after the other.
pub(crate) struct Cells<'r> {
    table: &'static str,
    row: &'r Row,
    next: usize,
}

impl<'r> Cells<'r> {
    /// The cells of a row of `table`.
    pub fn of(table: &'static str, row: &'r Row) -> Self {
        Self { table, row, next: 0 }
    }

    /// The next cell.
    pub fn take<T: FromSql<'r>>(&mut self) -> Result<T, UnreadableRow> {
        let cell = self.row.try_get(self.next).map_err(|error| self.unreadable(error));
        self.next += 1;
        cell
    }

    /// The next cell, whose text is the same as on the wire.
    fn take_named<T: DeserializeOwned>(&mut self) -> Result<T, UnreadableRow> {
        let name: &str = self.take()?;
        T::deserialize(name.into_deserializer()).map_err(|error: UnknownName| self.unreadable(error))
    }

    /// The next cell, as the JSON that it is.
    pub fn take_raw(&mut self) -> Result<Box<RawValue>, UnreadableRow> {
        let json = String::from_utf8(self.take()?).map_err(|error| self.unreadable(error))?;
        RawValue::from_string(json).map_err(|error| self.unreadable(error))
    }

    fn take_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, UnreadableRow> {
        let json: Option<&[u8]> = self.take()?;
        json.map(serde_json::from_slice).transpose().map_err(|error| self.unreadable(error))
    }

    /// The error of a row that does not make sense.
    pub fn unreadable(&self, reason: impl std::fmt::Display) -> UnreadableRow {
        UnreadableRow { table: self.table, reason: reason.to_string() }
    }
}
