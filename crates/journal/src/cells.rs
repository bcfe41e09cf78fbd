//! A row's cells, as what they are in memory.

use serde::de::{DeserializeOwned, IntoDeserializer as _, value::Error as UnknownName};
use serde_json::value::RawValue;
use tokio_postgres::{Row, types::FromSql};

use crate::UnreadableRow;

/// A row's cells, taken one after the other.
pub struct Cells<'r> {
    table: &'static str,
    row: &'r Row,
    next: usize,
}

impl<'r> Cells<'r> {
    /// The cells of a row of `table`, which errors name.
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
        let name: &str = self.take()?;
        T::deserialize(name.into_deserializer()).map_err(|error: UnknownName| self.unreadable(error))
    }

    /// The next cell, read from the JSON that it is, if there is something in it.
    pub fn take_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, UnreadableRow> {
        let json: Option<&[u8]> = self.take()?;
        json.map(serde_json::from_slice).transpose().map_err(|error| self.unreadable(error))
    }

    /// The next cell, as the JSON that it is.
    pub fn take_raw(&mut self) -> Result<Box<RawValue>, UnreadableRow> {
        let json = String::from_utf8(self.take()?).map_err(|error| self.unreadable(error))?;
        RawValue::from_string(json).map_err(|error| self.unreadable(error))
    }

    /// The error of a row that makes no sense.
    pub fn unreadable(&self, reason: impl std::fmt::Display) -> UnreadableRow {
        UnreadableRow { table: self.table, reason: reason.to_string() }
    }
}
