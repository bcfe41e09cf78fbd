//! A row's cells, as what they are in memory.

use journal::UnreadableRow;
use serde::de::value::Error as UnknownName;
use serde::de::{DeserializeOwned, IntoDeserializer as _};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

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
    pub fn take_named<T: DeserializeOwned>(&mut self) -> Result<T, UnreadableRow> {
        let text: &str = self.take()?;
        T::deserialize(text.into_deserializer()).map_err(|error: UnknownName| self.unreadable(error))
    }

    /// What is wrong with the row.
    pub fn unreadable(&self, reason: impl std::fmt::Display) -> UnreadableRow {
        UnreadableRow { table: self.table, reason: reason.to_string() }
    }
}
