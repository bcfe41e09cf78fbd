//! Swapping the rebuilt tables in: one short transaction, tried again when someone is in its way.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;

use super::{
    RebuildError,
    shadow::{Shadow, Table},
};
use crate::Model;

/// How often the swap is tried.
const ATTEMPTS: u32 = 4;
/// Pause between two attempts, in which those come through who waited for the one before.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an attempt may take in all. The live view's writer waits for it, and gives a statement up after 20 s.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long one statement may take, and how long to wait for the lanes of the live view: a process that is stopped in the
/// middle of a batch holds them for three seconds. The commit waits for the disk as any other of this database.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit TO DEFAULT; \
    SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '4s'";
/// How long to wait for the tables. Readers queue behind us meanwhile, and find no connection after two seconds; an
/// autovacuum that is in the way is ended by PostgreSQL after one.
const SHORT_WAIT: &str = "SET LOCAL lock_timeout = '1500ms'";

impl<M: Model> Shadow<'_, M> {
    /// Swaps the tables; tells how many events the view has not applied yet.
    pub(super) async fn swap(&mut self) -> Result<u64, RebuildError> {
        for _ in 0..ATTEMPTS {
            self.catch_up().await?;
            let before = self.progress.clone();
            let attempt = timeout(DEADLINE, self.attempt()).await;
            match attempt.map_err(|_| RebuildError::TooLong(DEADLINE.as_secs()))? {
                Err(error) if waited_in_vain(&error) => {
                    tracing::info!(schema = self.opening.schema, %error, "tables are in use");
                    self.client.batch_execute("ROLLBACK").await.map_err(RebuildError::Swap)?;
                    self.progress = before;
                }
                outcome => return outcome,
            }
            sleep(PAUSE).await;
        }
        Err(RebuildError::InUse(self.opening.schema))
    }

    async fn attempt(&mut self) -> Result<u64, RebuildError> {
        let live = self.opening.schema;
        self.client.batch_execute(BEGIN).await.map_err(RebuildError::Swap)?;
        // In lane order, as every batch does it.
        let lanes = format!("SELECT FROM {live}.lane_head ORDER BY lane FOR UPDATE");
        self.client.query(&lanes, &[]).await.map_err(RebuildError::Swap)?;
        let stand = self.live().await?;
        self.replay(&stand.applied).await?;

        let locks = format!("{SHORT_WAIT}; {}", locked(live, &self.next, &self.tables));
        self.client.batch_execute(&locks).await.map_err(RebuildError::Swap)?;
        self.check_version().await?;
        self.client.batch_execute(&exchanged(live, &self.next, &self.tables)).await.map_err(RebuildError::Swap)?;
        self.client.batch_execute("COMMIT").await.map_err(|error| {
            if error.code().is_some() { RebuildError::Swap(error) } else { RebuildError::Unsure(live) }
        })?;
        Ok(stand.behind)
    }
}

/// Whether a wait was over before its lock was had, so that it may be tried again.
fn waited_in_vain(error: &RebuildError) -> bool {
    let code = match error {
        RebuildError::Swap(error) | RebuildError::Positions(error) | RebuildError::Replay(error) => error.code(),
        _ => None,
    };
    matches!(code, Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED))
}

/// Locks the tables of both schemas; the live ones, for which others may be waiting, last. They are in the order of their
/// names: a reader of several tables names them in that order too, so that it never waits for us while we wait for it.
fn locked(live: &str, next: &str, tables: &[Table]) -> String {
    let both =
        [next, live].into_iter().flat_map(|schema| tables.iter().map(move |table| format!("{schema}.{}", table.name)));
    let names: Vec<String> = both.collect();
    format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", names.join(", "))
}

/// Puts the tables of `next` in the place of those in `live`. Their indexes and constraints move along.
fn exchanged(live: &str, next: &str, tables: &[Table]) -> String {
    let old: Vec<String> = tables.iter().map(|table| format!("{live}.{}", table.name)).collect();
    let moved = tables.iter().map(|table| format!("ALTER TABLE {next}.{} SET SCHEMA {live}; ", table.name));
    format!("DROP TABLE {}; {}DROP SCHEMA {next} CASCADE", old.join(", "), moved.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> [Table; 2] {
        ["a", "b"].map(|name| Table { name: name.to_owned(), key: vec!["id".to_owned()] })
    }

    #[test]
    fn live_tables_are_locked_last() {
        assert_eq!(
            locked("v", "v_next", &tables()),
            "LOCK TABLE v_next.a, v_next.b, v.a, v.b IN ACCESS EXCLUSIVE MODE"
        );
    }

    #[test]
    fn every_table_takes_the_place_of_the_old_one() {
        assert_eq!(
            exchanged("v", "v_next", &tables()),
            "DROP TABLE v.a, v.b; ALTER TABLE v_next.a SET SCHEMA v; ALTER TABLE v_next.b SET SCHEMA v; \
             DROP SCHEMA v_next CASCADE"
        );
    }

    #[test]
    fn only_a_wait_is_tried_again() {
        assert!(!waited_in_vain(&RebuildError::InUse("v")));
        assert!(!waited_in_vain(&RebuildError::TooLong(1)));
    }
}
