//! One attempt at a batch: one transaction of two round trips, or three where what was remembered does not hold.

use std::collections::BTreeMap;

use chrono::Utc;
use contract::{Lane, Record};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    Failure, Outcome, Pending, Writer,
    memory::{Head, Heads, Memory, ends},
};
use crate::{
    Decision, Loaded, Model, Query,
    batch::{Batch, Origin},
    columns::{EventColumns, InboxColumns, LaneColumns, LetterColumns},
    faults::{self, CrashPoint},
    schema,
    session::{BEGIN, COMMIT, Trip, TripError, references},
};

impl<M: Model> Writer<M> {
    /// One attempt at a batch.
    pub(super) async fn attempt(&mut self, batch: &Pending<M>) -> Result<Outcome<M>, Failure<M>> {
        let Some(session) = &self.session else {
            return Err(Failure::Broken("the process is ending".to_owned()));
        };
        let commands: Vec<_> = batch.items.iter().map(|item| &item.command).collect();
        let lanes = batch.lanes();
        let numbers: Vec<i16> = lanes.iter().map(|lane| lane.as_i16()).collect();

        let mut memory = std::mem::take(&mut self.memory);
        let mut loads = self.loads(&commands, &memory);
        let mut trip = Trip::new(session);
        trip.add(BEGIN, vec![]);
        trip.add(schema::lock_lanes(), vec![&numbers]);
        add_all(&mut trip, &loads);
        let mut results = match trip.send().await {
            Ok(results) => results,
            Err(error) => return Err(self.fail(error).await),
        };
        let mut loaded = results.split_off(2);
        let heads = match self.heads(&results.pop().unwrap_or_default(), batch, lanes.len()) {
            Ok(heads) => heads,
            Err(failure) => return Err(self.roll_back(failure).await),
        };
        if !memory.holds(&heads) {
            memory = Memory::default();
            loads = self.loads(&commands, &memory);
            let mut trip = Trip::new(session);
            add_all(&mut trip, &loads);
            loaded = match trip.send().await {
                Ok(loaded) => loaded,
                Err(error) => return Err(self.fail(error).await),
            };
        }
        let loaded = loads.iter().map(|query| query.sql).zip(loaded).collect();

        let (outcome, writes) = match self.decide(batch, &commands, loaded, memory, &heads) {
            Ok(decided) => decided,
            Err(reason) => return Err(self.roll_back(Failure::Broken(reason)).await),
        };
        self.store(batch, heads, outcome, writes).await
    }

    /// A failure before the commit was sent.
    async fn fail(&mut self, error: TripError) -> Failure<M> {
        let failure = self.understand(error);
        self.roll_back(failure).await
    }

    /// What to read for these commands.
    fn loads(&self, commands: &[&M::Command], memory: &Memory<M::Memory>) -> Vec<Query> {
        if commands.is_empty() { Vec::new() } else { self.model.load(commands, &memory.rows) }
    }

    /// Where the lanes stand, checked: every lane exists, and those whose records we apply are still ours.
    fn heads(&self, rows: &[Row], batch: &Pending<M>, expected: usize) -> Result<Heads, Failure<M>> {
        let heads: Heads = rows.iter().map(head).collect();
        if heads.len() != expected {
            return Err(Failure::Broken(format!("{} of {expected} lanes exist", heads.len())));
        }
        let lost = self.holding.lost(&batch.reach, heads.iter().map(|(lane, head)| (*lane, head.epoch)));
        if lost.is_empty() { Ok(heads) } else { Err(Failure::Lost(lost)) }
    }

    /// Decides every item in the order of arrival, and numbers the events.
    fn decide(
        &self,
        batch: &Pending<M>,
        commands: &[&M::Command],
        loaded: Loaded,
        mut memory: Memory<M::Memory>,
        heads: &Heads,
    ) -> Result<(Outcome<M>, Vec<Query>), String> {
        if batch.items.is_empty() {
            return Ok((Outcome { answers: Vec::new(), rows: None, appended: Vec::new(), memory }, Vec::new()));
        }
        let rows = self.model.rows(commands, loaded, &mut memory.rows);
        let mut rows = rows.map_err(|error| error.to_string())?;
        let decide =
            |command: &M::Command, decision: &mut Decision<'_>| self.model.decide(&mut rows, command, decision);
        let decided = batch.decide(Utc::now(), &last_seqs(heads), &mut Uuid::now_v7, decide);
        let (answers, appended) = decided.map_err(|error| error.to_string())?;
        let writes = self.model.write(&rows);
        Ok((Outcome { answers, rows: Some(rows), appended, memory }, writes))
    }

    /// The last round trip: writes everything and commits.
    async fn store(
        &mut self,
        batch: &Pending<M>,
        heads: Heads,
        mut outcome: Outcome<M>,
        writes: Vec<Query>,
    ) -> Result<Outcome<M>, Failure<M>> {
        let Some(session) = &self.session else {
            return Err(Failure::Broken("the process is ending".to_owned()));
        };
        let events = EventColumns::of(&outcome.appended);
        let is_written = !outcome.appended.is_empty() || !writes.is_empty();
        let ends = ends(heads, &outcome.appended, is_written);
        let lanes = LaneColumns::of(&last_seqs(&ends), &self.outlet);
        let inboxes = InboxColumns::of(&batch.reach, |source, lane| self.holding.stored(source, lane));
        let letters = LetterColumns::of(&batch.letters);
        let mut trip = Trip::new(session);
        if !outcome.appended.is_empty() {
            trip.add(schema::APPEND, events.parameters());
        }
        add_all(&mut trip, &writes);
        if is_written {
            trip.add(schema::ADVANCE_LANES, vec![&lanes.lanes, &lanes.last, &lanes.published]);
        }
        if !batch.reach.is_empty() {
            trip.add(schema::advance_inboxes(), inboxes.parameters());
        }
        if !batch.letters.is_empty() {
            trip.add(schema::BURY, letters.parameters());
        }
        let is_cut_short = faults::is_due(CrashPoint::BeforeCommit, self.schema, || settled(batch, &outcome.appended));
        if !is_cut_short {
            trip.add(COMMIT, vec![]);
        }
        let sent = trip.send().await;
        outcome.memory.leave(ends);
        match sent {
            Ok(_) if is_cut_short => {
                faults::end();
                Ok(outcome)
            }
            Ok(_) => Ok(outcome),
            Err(error) if error.lost_connection() => {
                self.session = None;
                Err(Failure::Unsure(outcome))
            }
            // The commit that was sent along has ended the failed transaction.
            Err(error) => Err(self.understand(error)),
        }
    }
}

fn add_all<'s>(trip: &mut Trip<'s>, queries: &'s [Query]) {
    for query in queries {
        trip.add(query.sql, references(&query.parameters));
    }
}

/// A lane and where it stands, from a row of [`schema::LOCK_LANES`].
fn head(row: &Row) -> (Lane, Head) {
    let lane = Lane(row.get::<_, i16>(0).unsigned_abs());
    (lane, Head { epoch: row.get(1), last_seq: row.get(2), writes: row.get(3) })
}

fn last_seqs(heads: &Heads) -> BTreeMap<Lane, i64> {
    heads.iter().map(|(lane, head)| (*lane, head.last_seq)).collect()
}

/// The kinds of what a batch appended and of the records that it applied.
pub(super) fn settled<'b, C, A>(batch: &'b Batch<C, A>, appended: &'b [Record]) -> impl Iterator<Item = &'b str> {
    let applied = batch.items.iter().filter_map(|item| match &item.origin {
        Origin::Record { record, .. } => Some(&**record),
        Origin::Caller { .. } => None,
    });
    appended.iter().chain(applied).map(|record| &*record.kind)
}
