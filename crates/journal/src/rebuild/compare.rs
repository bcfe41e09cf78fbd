//! Comparing the live tables with the rebuilt ones, row by row.

use std::fmt;

use super::{
    RebuildError,
    shadow::{Shadow, Table},
};
use crate::Model;

/// Differences that are told by example.
const EXAMPLES: usize = 5;

/// Both sides are seen as of one moment. Whole tables are read, so the settings of a writer's small statements do not fit.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; \
    SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on; SET LOCAL work_mem = '64MB'";

/// A row of the live view that is not as the events make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its table.
    pub table: String,
    /// Its primary key, the columns joined by `/`.
    pub key: String,
    /// What is wrong with it.
    pub is: Discrepancy,
}

/// What is wrong with a row of the live view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discrepancy {
    /// It is not there.
    Missing,
    /// It should not be there.
    Extra,
    /// It has other values.
    Changed,
}

impl Discrepancy {
    fn of(live: bool, rebuilt: bool) -> Self {
        match (live, rebuilt) {
            (false, _) => Self::Missing,
            (true, false) => Self::Extra,
            (true, true) => Self::Changed,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Changed => "changed",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.table, self.key, self.is.as_str())
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub rows: u64,
    pub differing: u64,
    pub examples: Vec<Difference>,
    pub behind: u64,
}

impl<M: Model> Shadow<'_, M> {
    /// Replays up to where the live view stands at this moment and compares the two. The live view goes on meanwhile.
    pub(super) async fn compare(&mut self) -> Result<Compared, RebuildError> {
        self.client.batch_execute(BEGIN).await.map_err(RebuildError::Compare)?;
        let live = self.live().await?;
        self.replay(&live.applied).await?;
        let mut compared = Compared { behind: live.behind, ..Compared::default() };
        for table in &self.tables {
            self.compare_table(table, &mut compared).await.map_err(RebuildError::Compare)?;
        }
        self.client.batch_execute("COMMIT").await.map_err(RebuildError::Compare)?;
        Ok(compared)
    }

    async fn compare_table(&self, table: &Table, compared: &mut Compared) -> Result<(), tokio_postgres::Error> {
        let (live, next, name) = (self.opening.schema, &self.next, &table.name);
        // The comparison needs to know how large it is, and so do the live view's readers later.
        self.client.batch_execute(&format!("ANALYZE {next}.{name}")).await?;
        let rows: i64 = self.client.query_one(&format!("SELECT count(*) FROM {next}.{name}"), &[]).await?.get(0);
        compared.rows += rows.unsigned_abs();
        let found = self.client.query(&differences(live, next, table), &[]).await?;
        compared.differing += found.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs());
        let room = EXAMPLES - compared.examples.len();
        let examples = found.iter().take(room).map(|row| Difference {
            table: name.clone(),
            key: row.get(1),
            is: Discrepancy::of(row.get(2), row.get(3)),
        });
        compared.examples.extend(examples);
        Ok(())
    }
}

/// The keys of the rows that differ, by key: how many there are in all, the key, whether the live table has such a row
/// that the rebuilt one has not, and the other way round.
fn differences(live: &str, next: &str, Table { name, key }: &Table) -> String {
    let key = key.join(", ");
    format!(
        "SELECT count(*) OVER (), concat_ws('/', {key}), bool_or(is_live), bool_or(NOT is_live) FROM (
            SELECT true AS is_live, * FROM (TABLE {live}.{name} EXCEPT ALL TABLE {next}.{name}) live
            UNION ALL
            SELECT false, * FROM (TABLE {next}.{name} EXCEPT ALL TABLE {live}.{name}) rebuilt) differing
         GROUP BY {key} ORDER BY {key} LIMIT {EXAMPLES}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_on_one_side_is_extra_or_missing_and_on_both_is_changed() {
        let told =
            [(true, false), (false, true), (true, true)].map(|(live, next)| Discrepancy::of(live, next).as_str());
        assert_eq!(told, ["extra", "missing", "changed"]);
    }

    #[test]
    fn both_sides_are_compared_and_each_key_is_told_once() {
        let table = Table { name: "t".to_owned(), key: vec!["a".to_owned(), "b".to_owned()] };
        let sql = differences("v", "v_next", &table);
        assert!(
            sql.contains("TABLE v.t EXCEPT ALL TABLE v_next.t") && sql.contains("TABLE v_next.t EXCEPT ALL TABLE v.t")
        );
        assert!(sql.contains("GROUP BY a, b ORDER BY a, b"));
    }
}
