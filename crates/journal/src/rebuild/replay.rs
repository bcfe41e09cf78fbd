//! Replaying the source's events into the tables beside the live ones: a batch is read, decided and written by the model,
//! as the writer does it.

use chrono::Utc;
use contract::{Record, Topic};
use tokio_postgres::Row;

use super::{RebuildError, progress::Positions, shadow::Shadow};
use crate::{Decision, Model, Query, record, session::references};

/// Events that are replayed at once. Nobody waits for one of these batches, so they may be larger than the writer's.
const BATCH_EVENTS: usize = 4_096;
/// Events after which a line tells that a rebuild goes on: some seconds' work.
const PROGRESS_EVENTS: u64 = 100_000;

impl<M: Model> Shadow<'_, M> {
    /// Replays up to `target`.
    pub(super) async fn replay(&mut self, target: &Positions) -> Result<(), RebuildError> {
        for source in self.opening.consumes {
            loop {
                let short = self.progress.short_of(target, *source);
                if short.is_empty() {
                    break;
                }
                let limit = i64::try_from(BATCH_EVENTS.div_ceil(short.len())).unwrap_or(1);
                let read = record::after(&self.client, &*record::after_in(source.as_str()), &short, limit).await;
                let before = self.progress.events;
                let records = self.progress.take(*source, target, read.map_err(RebuildError::Replay)?)?;
                self.project(*source, &records).await?;
                if self.progress.events / PROGRESS_EVENTS > before / PROGRESS_EVENTS {
                    tracing::info!(schema = self.opening.schema, events = self.progress.events, "rebuilding");
                }
            }
        }
        Ok(())
    }

    /// One batch. It is no transaction by itself: nobody sees its tables, and those of a rebuild that fails are dropped.
    async fn project(&mut self, source: Topic, records: &[Record]) -> Result<(), RebuildError> {
        let commands = self.read(source, records);
        if commands.is_empty() {
            return Ok(());
        }
        let asked: Vec<_> = commands.iter().map(|(_, command)| command).collect();
        let (mut memory, mut loaded) = (M::Memory::default(), Vec::new());
        for query in self.model.load(&asked, &memory) {
            loaded.push((query.sql, self.query(&query).await.map_err(RebuildError::Replay)?));
        }
        let mut rows = self.model.rows(&asked, loaded.into_iter().collect(), &mut memory)?;
        // A view appends nothing.
        let (now, mut appended) = (Utc::now(), Vec::new());
        for (record, command) in &commands {
            let (cause, trace) = (Some(record.id), record.trace.as_deref());
            let mut decision = Decision { cause, trace, ..Decision::new(now, record.lane, &mut appended) };
            self.model.decide(&mut rows, command, &mut decision);
        }
        for query in self.model.write(&rows) {
            self.query(&query).await.map_err(RebuildError::Replay)?;
        }
        Ok(())
    }

    /// The commands that records stand for. What the model cannot read is passed over, as it is by the live view, which
    /// keeps it among its dead letters.
    fn read<'r>(&mut self, source: Topic, records: &'r [Record]) -> Vec<(&'r Record, M::Command)> {
        let mut commands = Vec::with_capacity(records.len());
        for record in records {
            match self.model.read(source, record) {
                Ok(Some(command)) => commands.push((record, command)),
                Ok(None) => {}
                Err(error) => {
                    let schema = self.opening.schema;
                    tracing::warn!(schema, %source, lane = %record.lane, seq = record.seq, %error, "event passed over");
                    self.progress.unreadable += 1;
                }
            }
        }
        commands
    }

    async fn query(&mut self, query: &Query) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = match self.statements.get(query.sql) {
            Some(statement) => statement.clone(),
            None => self.client.prepare(query.sql).await?,
        };
        let statement = self.statements.entry(query.sql).or_insert(statement);
        self.client.query(statement, &references(&query.parameters)).await
    }
}
