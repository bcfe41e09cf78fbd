//! Who looks over the database's shoulder: what has come so far must not be taken back, whoever writes.
//!
//! The database itself takes note of any transaction that sets a position, a sequence or an epoch back. Applying something
//! twice begins with that, even when the domain is clever enough to do no harm by it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::postgres::{Server, TestDatabase};

/// Every table that says how far something has come, and what in it only grows.
const INSTALL: &str = "
CREATE SCHEMA judge;
CREATE TABLE judge.set_back (at timestamptz NOT NULL DEFAULT clock_timestamp(), what text NOT NULL);
CREATE FUNCTION judge.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO judge.set_back (what) VALUES (TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME || ': ' || OLD || ' became ' || NEW);
    RETURN NEW;
END $$;
DO $$
DECLARE found record;
BEGIN
    FOR found IN SELECT table_schema AS s FROM information_schema.tables WHERE table_name = 'inbox_lane' LOOP
        EXECUTE format('CREATE TRIGGER judge BEFORE UPDATE ON %I.inbox_lane FOR EACH ROW
            WHEN (NEW.last_seq < OLD.last_seq) EXECUTE FUNCTION judge.note()', found.s);
        EXECUTE format('CREATE TRIGGER judge BEFORE UPDATE ON %I.lane_head FOR EACH ROW
            WHEN (NEW.last_seq < OLD.last_seq OR NEW.epoch < OLD.epoch OR NEW.published_seq < OLD.published_seq)
            EXECUTE FUNCTION judge.note()', found.s);
    END LOOP;
END $$";

/// What PostgreSQL logs when transactions wait for each other in a circle.
const DEADLOCK: &str = "deadlock detected";

/// What was taken note of.
#[derive(Debug, Default)]
pub struct Observer {
    deadlocks: Mutex<BTreeSet<String>>,
}

impl Observer {
    /// Begins to look.
    pub async fn install(database: &TestDatabase) -> anyhow::Result<Self> {
        database.connect().await?.batch_execute(INSTALL).await?;
        Ok(Self::default())
    }

    /// Reads what the server has logged since its last start. It keeps no older log for long.
    pub fn read_log(&self, server: &Server) {
        let log = server.log();
        let found = log.lines().filter(|line| line.contains(DEADLOCK)).map(str::to_owned);
        self.deadlocks.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    /// What must not be.
    pub async fn contradictions(&self, database: &TestDatabase) -> anyhow::Result<Vec<String>> {
        let noted = "SELECT what FROM judge.set_back ORDER BY at LIMIT 20";
        let rows = database.connect().await?.query(noted, &[]).await?;
        let set_back = rows.iter().map(|row| format!("set back: {}", row.get::<_, String>(0)));
        let deadlocks = self.deadlocks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let deadlocks = deadlocks.into_iter().map(|line| format!("transactions waited in a circle: {line}"));
        Ok(set_back.chain(deadlocks).collect())
    }
}
