//! One attempt at a batch: one transaction of two round trips.

use std::collections::BTreeMap;

use chrono::Utc;
use contract::{Lane, Record};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Failure, Outcome, Pending, Writer};
use crate::{
    Decision, Model, Query,
    batch::{Batch, Origin},
    columns::{EventColumns, InboxColumns, LaneColumns, LetterColumns},
    faults::{self, CrashPoint},
    schema,
    session::{BEGIN, COMMIT, Trip, references},
};

impl<M: Model> Writer<M> {
    /// One attempt at a batch: one transaction, two round trips.
    pub(super) async fn attempt(&mut self, batch: &Pending<M>) -> Result<Outcome<M>, Failure<M>> {
        let Some(session) = &self.session else {
            return Err(Failure::Broken("the process is ending".to_owned()));
        };
        let commands: Vec<_> = batch.items.iter().map(|item| &item.command).collect();
        let loads = if commands.is_empty() { Vec::new() } else { self.model.load(&commands) };
        let lanes = batch.lanes();
        let numbers: Vec<i16> = lanes.iter().map(|lane| lane.as_i16()).collect();

        let mut trip = Trip::new(session);
        trip.add(BEGIN, vec![]);
        trip.add(schema::lock_lanes(), vec![&numbers]);
        for query in &loads {
            trip.add(query.sql, references(&query.parameters));
        }
        let mut results = match trip.send().await {
            Ok(results) => results,
            Err(error) => {
                let failure = self.understand(error);
                return Err(self.roll_back(failure).await);
            }
        };
        let loaded = results.split_off(2);
        let heads = results.pop().unwrap_or_default();
        let heads = match self.heads(&heads, batch, lanes.len()) {
            Ok(heads) => heads,
            Err(failure) => return Err(self.roll_back(failure).await),
        };

        let (outcome, writes) = match self.decide(batch, loaded, &heads) {
            Ok(decided) => decided,
            Err(reason) => return Err(self.roll_back(Failure::Broken(reason)).await),
        };
        self.store(batch, heads, outcome, writes).await
    }

    /// The lanes' last sequences, checked: every lane exists, and those whose records we apply are still ours.
    fn heads(&self, rows: &[Row], batch: &Pending<M>, expected: usize) -> Result<BTreeMap<Lane, i64>, Failure<M>> {
        let mut heads = BTreeMap::new();
        let mut epochs = Vec::with_capacity(rows.len());
        for row in rows {
            let lane = Lane(row.get::<_, i16>(0).unsigned_abs());
            heads.insert(lane, row.get(2));
            epochs.push((lane, row.get(1)));
        }
        if heads.len() != expected {
            return Err(Failure::Broken(format!("{} of {expected} lanes exist", heads.len())));
        }
        let lost = self.holding.lost(&batch.reach, epochs);
        if lost.is_empty() { Ok(heads) } else { Err(Failure::Lost(lost)) }
    }

    /// Decides every item in the order of arrival, and numbers the events.
    fn decide(
        &self,
        batch: &Pending<M>,
        loaded: Vec<Vec<Row>>,
        heads: &BTreeMap<Lane, i64>,
    ) -> Result<(Outcome<M>, Vec<Query>), String> {
        if batch.items.is_empty() {
            return Ok((Outcome { answers: Vec::new(), rows: None, appended: Vec::new() }, Vec::new()));
        }
        let mut rows = self.model.rows(loaded).map_err(|error| error.to_string())?;
        let decide =
            |command: &M::Command, decision: &mut Decision<'_>| self.model.decide(&mut rows, command, decision);
        let decided = batch.decide(Utc::now(), heads, &mut Uuid::now_v7, decide);
        let (answers, appended) = decided.map_err(|error| error.to_string())?;
        let writes = self.model.write(&rows);
        Ok((Outcome { answers, rows: Some(rows), appended }, writes))
    }

    /// The second round trip: writes everything and commits.
    async fn store(
        &mut self,
        batch: &Pending<M>,
        heads: BTreeMap<Lane, i64>,
        outcome: Outcome<M>,
        writes: Vec<Query>,
    ) -> Result<Outcome<M>, Failure<M>> {
        let Some(session) = &self.session else {
            return Err(Failure::Broken("the process is ending".to_owned()));
        };
        let events = EventColumns::of(&outcome.appended);
        let ends = LaneColumns::of(heads, &outcome.appended, &self.outlet);
        let inboxes = InboxColumns::of(&batch.reach, |source, lane| self.holding.stored(source, lane));
        let letters = LetterColumns::of(&batch.letters);
        let mut trip = Trip::new(session);
        if !outcome.appended.is_empty() {
            trip.add(schema::APPEND, events.parameters());
        }
        for query in &writes {
            trip.add(query.sql, references(&query.parameters));
        }
        if !outcome.appended.is_empty() {
            trip.add(schema::ADVANCE_LANES, vec![&ends.lanes, &ends.last, &ends.published]);
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
        match trip.send().await {
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

/// The kinds of what a batch appended and of the records that it applied.
pub(super) fn settled<'b, C, A>(batch: &'b Batch<C, A>, appended: &'b [Record]) -> impl Iterator<Item = &'b str> {
    let applied = batch.items.iter().filter_map(|item| match &item.origin {
        Origin::Record { record, .. } => Some(&**record),
        Origin::Caller { .. } => None,
    });
    appended.iter().chain(applied).map(|record| &*record.kind)
}
