//! One kind of row, read in the order of the id that it belongs to.

use contract::event::UnreadableData;
use journal::UnreadableRow;
use tokio_postgres::Row;
use uuid::Uuid;

use super::invariant::Invariant;
use super::snapshot::{Cursor, Snapshot};
use super::verdict::Verdicts;

/// Why a row cannot be judged: it does not hold what a service writes.
#[derive(Debug)]
pub(super) struct Illegible(pub String);

/// Reads a row, and the id that it belongs to.
pub(super) type Read<T> = fn(&Row) -> Result<(Uuid, T), Illegible>;

impl From<UnreadableRow> for Illegible {
    fn from(error: UnreadableRow) -> Self {
        Self(error.to_string())
    }
}

impl From<UnreadableData> for Illegible {
    fn from(error: UnreadableData) -> Self {
        Self(error.to_string())
    }
}

impl From<tokio_postgres::Error> for Illegible {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error.to_string())
    }
}

/// The rows of one query, in the order of their ids.
pub(super) struct Shelf<T> {
    cursor: Cursor,
    read: Read<T>,
    next: Option<(Uuid, T)>,
}

impl<T> Shelf<T> {
    /// The rows of `sql`, which sorts them by the id that `read` finds.
    pub async fn open(
        snapshot: &Snapshot<'_>,
        schema: &'static str,
        sql: &str,
        read: Read<T>,
        verdicts: &mut Verdicts,
    ) -> anyhow::Result<Self> {
        let mut shelf = Self { cursor: snapshot.cursor(schema, sql).await?, read, next: None };
        shelf.advance(snapshot, verdicts).await?;
        Ok(shelf)
    }

    /// The id of the next row.
    pub fn id(&self) -> Option<Uuid> {
        self.next.as_ref().map(|(id, _)| *id)
    }

    /// The next rows, as long as they belong to `id`.
    pub async fn take(&mut self, id: Uuid, snapshot: &Snapshot<'_>, verdicts: &mut Verdicts) -> anyhow::Result<Vec<T>> {
        let mut taken = Vec::new();
        while let Some((_, row)) = self.next.take_if(|(next, _)| *next == id) {
            taken.push(row);
            self.advance(snapshot, verdicts).await?;
        }
        Ok(taken)
    }

    /// Goes on to the next row that can be read. One that cannot is no fold of anything.
    async fn advance(&mut self, snapshot: &Snapshot<'_>, verdicts: &mut Verdicts) -> anyhow::Result<()> {
        while let Some(row) = self.cursor.next(snapshot).await? {
            match (self.read)(&row) {
                Ok(next) => {
                    self.next = Some(next);
                    return Ok(());
                }
                Err(Illegible(reason)) => verdicts.broken(Invariant::Folds, || reason),
            }
        }
        Ok(())
    }
}
