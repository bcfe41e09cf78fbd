//! Settling a batch, whatever it takes, and what follows when it is durable.

use std::time::{Duration, Instant};

use contract::Record;
use tokio::time::sleep;
use tokio_postgres::error::SqlState;

use super::{Doors, Failure, Outcome, Pending, Writer, attempt::settled};
use crate::{
    Model, Refused,
    batch::{Batch, Letter, Origin},
    faults::{self, CrashPoint},
    session::{ROUND_TRIP, TripError, described, reconnected, witnessed},
};

/// How often a batch is repeated that PostgreSQL ended for the sake of another transaction.
const REPEATS: u32 = 5;
/// The pause before a batch is repeated that the database could not write.
const HINDERED_PAUSE: Duration = Duration::from_millis(500);

impl<M: Model> Writer<M> {
    pub(super) async fn settle_pending(&mut self, doors: &mut Doors<M>) {
        let mut batch = std::mem::take(&mut self.pending);
        if batch.items.is_empty() && batch.letters.is_empty() {
            return;
        }
        batch.reach = self.holding.dirty();
        self.begun_at = Instant::now();
        self.pace.observe(batch.items.len(), self.begun_at);
        self.settle(batch, doors).await;
    }

    /// Stores positions that moved without anything to settle, so that others see how far this service has read.
    pub(super) async fn flush(&mut self, doors: &mut Doors<M>) {
        self.ask_once_more();
        let reach = self.holding.dirty();
        if !reach.is_empty() && self.pending.items.is_empty() && self.pending.letters.is_empty() {
            self.settle(Batch { items: Vec::new(), letters: Vec::new(), reach }, doors).await;
        }
    }

    /// Repeats the requests to send again that were not heard.
    fn ask_once_more(&mut self) {
        for (source, lane, seq) in self.holding.ask_once_more(Instant::now()) {
            self.outlet.ask_again(source, lane, seq);
        }
    }

    /// Settles a batch, whatever it takes: again after a lost connection, without the lanes that were lost, or in halves
    /// when something in it cannot be settled.
    async fn settle(&mut self, batch: Pending<M>, doors: &mut Doors<M>) {
        let mut work = vec![batch];
        let mut repeats = 0;
        while let Some(mut batch) = work.pop() {
            if batch.is_empty() {
                continue;
            }
            let (began, relied_on_memory) = (Instant::now(), !self.memory.is_empty());
            match self.attempt(&batch).await {
                Ok(outcome) => {
                    self.metrics.batch_seconds.observe(began.elapsed().as_secs_f64());
                    self.conclude(batch, outcome);
                    continue;
                }
                Err(Failure::Lost(lanes)) => {
                    batch.drop_records_of(&lanes);
                    self.disown(&lanes);
                }
                Err(Failure::Away(error)) => {
                    tracing::warn!(schema = self.schema, %error, "database connection lost");
                    batch.refuse_callers(Refused::Unavailable);
                    self.connect(doors).await;
                }
                Err(Failure::Unsure(outcome)) => {
                    tracing::warn!(
                        schema = self.schema,
                        "database connection lost during a commit; asking what became of it"
                    );
                    self.connect(doors).await;
                    if self.happened(&batch, &outcome).await {
                        self.conclude(batch, outcome);
                        continue;
                    }
                    batch.refuse_callers(Refused::Unavailable);
                }
                Err(Failure::Hindered(error)) => {
                    tracing::warn!(schema = self.schema, error, "the database cannot write now; trying again");
                    batch.refuse_callers(Refused::Unavailable);
                    self.wait_out(doors).await;
                }
                Err(Failure::Again(error)) if repeats < REPEATS => {
                    tracing::info!(schema = self.schema, %error, "batch repeated");
                    repeats += 1;
                }
                Err(Failure::Again(error)) => {
                    self.divide(std::mem::take(&mut batch), &error.to_string(), &mut work);
                }
                Err(Failure::Broken(error)) if relied_on_memory => {
                    tracing::info!(schema = self.schema, error, "batch repeated on rows that are read again");
                }
                Err(Failure::Broken(error)) => self.divide(std::mem::take(&mut batch), &error, &mut work),
            }
            self.metrics.retried.inc();
            if self.session.is_none() {
                return; // The process ends; what is not durable is read again by the next owner.
            }
            work.push(batch);
        }
        // Nothing is left that could not be written: whoever asks next finds out whether that is so still. Nobody could if
        // all who asked had been refused and this went on to say that it is of no use.
        self.health.up();
    }

    /// Halves a batch that cannot be settled; a single item is refused or put to the dead letters.
    fn divide(&mut self, mut batch: Pending<M>, error: &str, work: &mut Vec<Pending<M>>) {
        if batch.items.len() > 1 {
            let (first, second) = batch.halves();
            work.push(second);
            work.push(first);
            return;
        }
        tracing::error!(schema = self.schema, error, "a command or record could not be settled");
        match batch.items.pop().map(|item| item.origin) {
            Some(Origin::Caller { answer, .. }) => drop(answer.send(Err(Refused::Failed))),
            Some(Origin::Record { source, record, .. }) => {
                batch.letters.push(Letter::of(source, record.lane, record.seq, error.to_owned(), &record));
            }
            None => {
                let reason = "the journal's own rows cannot be written; see the log";
                self.process.fail(format!("{}: {reason}: {error}", self.schema));
                return;
            }
        }
        work.push(batch);
    }

    /// After a batch is durable: publish, tell the model, answer.
    fn conclude(&mut self, batch: Pending<M>, outcome: Outcome<M>) {
        faults::reached(CrashPoint::AfterCommit, self.schema, || settled(&batch, &outcome.appended));
        self.health.up();
        self.metrics.batch_items.observe(f64::from(u32::try_from(batch.items.len()).unwrap_or(u32::MAX)));
        self.metrics.appended.inc_by(outcome.appended.len() as u64);
        self.holding.stored_up_to(&batch.reach);
        for ((source, lane), position) in &batch.reach {
            self.outlet.read_up_to(*source, *lane, position.offset);
        }
        if !batch.letters.is_empty() {
            self.outlet.letters_waiting();
        }
        let is_last = faults::is_due(CrashPoint::HandedOver, self.schema, || kinds(&outcome.appended));
        self.outlet.committed(outcome.appended);
        if is_last {
            faults::end();
        }
        let mut memory = outcome.memory;
        if let Some(rows) = outcome.rows {
            self.model.committed(rows, &mut memory.rows);
        }
        // What others may change meanwhile is not worth remembering.
        if self.holding.count() == usize::from(self.lanes.count()) {
            self.memory = memory;
        }
        for (item, answer) in batch.items.into_iter().zip(outcome.answers) {
            if let Origin::Caller { answer: caller, .. } = item.origin {
                let _ = caller.send(Ok(answer));
            }
        }
    }

    // When something goes wrong.

    /// What an error in a transaction means.
    pub(super) fn understand(&mut self, error: TripError) -> Failure<M> {
        if error.lost_connection() {
            self.session = None;
        }
        match error {
            TripError::Timeout => Failure::Away(format!("no answer in {} s", ROUND_TRIP.as_secs())),
            TripError::Unprepared(sql) => Failure::Broken(format!("statement is not declared: {sql}")),
            TripError::Postgres(error) if self.session.is_none() => Failure::Away(error.to_string()),
            TripError::Postgres(error) => match error.code() {
                Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => Failure::Again(error),
                Some(code) if is_for_now(code) => Failure::Hindered(described(&error)),
                _ => Failure::Broken(described(&error)),
            },
        }
    }

    /// Ends the transaction of a failed batch.
    pub(super) async fn roll_back(&mut self, failure: Failure<M>) -> Failure<M> {
        if let Some(session) = &self.session
            && session.client.batch_execute("ROLLBACK").await.is_err()
        {
            self.session = None;
        }
        match (&self.session, failure) {
            // Without a connection nothing else can be tried; it is made anew first.
            (None, Failure::Broken(reason) | Failure::Hindered(reason)) => Failure::Away(reason),
            (None, Failure::Lost(_) | Failure::Again(_)) => {
                Failure::Away("connection lost while rolling back".to_owned())
            }
            (_, failure) => failure,
        }
    }

    /// Whether a commit that nobody heard of happened. The lanes' locks are taken first: a commit still under way holds
    /// them, so what is seen then is final.
    async fn happened(&mut self, batch: &Pending<M>, outcome: &Outcome<M>) -> bool {
        loop {
            let Some(session) = &self.session else {
                return false;
            };
            match witnessed(&session.client, &self.holding, &batch.lanes(), &batch.reach, &outcome.appended).await {
                Ok(happened) => return happened,
                Err(error) => {
                    tracing::warn!(schema = self.schema, %error, "database connection lost again");
                    self.session = None;
                    self.reconnect().await;
                }
            }
        }
    }

    /// Makes the connection anew, refusing meanwhile whoever asks.
    pub(super) async fn connect(&mut self, doors: &mut Doors<M>) {
        if self.session.as_ref().is_some_and(|session| !session.client.is_closed()) {
            return;
        }
        self.health.down("no connection");
        let connected = tokio::select! {
            session = reconnected::<M>(&self.database, self.schema, &self.process) => session,
            () = self.refuse(doors) => None,
        };
        self.session = connected;
        if self.session.is_some() {
            self.health.up();
        }
    }

    /// Waits a moment for a database that cannot write, refusing meanwhile whoever asks.
    async fn wait_out(&mut self, doors: &mut Doors<M>) {
        self.health.down("the database cannot write");
        let stop = self.process.stop().clone();
        tokio::select! {
            () = sleep(HINDERED_PAUSE) => {}
            () = self.refuse(doors) => {}
            // What is not durable is read again by the next owner.
            () = stop.cancelled() => self.session = None,
        }
    }

    /// Refuses whoever asks, for ever.
    async fn refuse(&self, doors: &mut Doors<M>) {
        while let Some(submission) = doors.commands.recv().await {
            self.metrics.queued.dec();
            let _ = submission.answer.send(Err(Refused::Unavailable));
        }
        std::future::pending::<()>().await;
    }

    async fn reconnect(&mut self) {
        self.session = reconnected::<M>(&self.database, self.schema, &self.process).await;
    }
}

/// Whether an error is about the database's own state and not about what it was asked to do: a full disk, too little
/// memory, something that is not ready, a statement that took too long, an error of the file system. Nothing in a batch can
/// be to blame for that, so nothing in it may be given up.
fn is_for_now(code: &SqlState) -> bool {
    code.code().get(..2).is_some_and(|class| ["53", "55", "57", "58"].contains(&class))
}

fn kinds(appended: &[Record]) -> impl Iterator<Item = &str> {
    appended.iter().map(|record| &*record.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_database_cannot_do_now_is_told_from_what_it_cannot_do() {
        let for_now = [
            SqlState::DISK_FULL,
            SqlState::OUT_OF_MEMORY,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::QUERY_CANCELED,
            SqlState::IO_ERROR,
        ];
        assert!(for_now.iter().all(is_for_now));
        let never = [
            SqlState::CHECK_VIOLATION,
            SqlState::UNIQUE_VIOLATION,
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            SqlState::UNDEFINED_TABLE,
            SqlState::INTERNAL_ERROR,
        ];
        assert!(!never.iter().any(is_for_now));
    }
}
