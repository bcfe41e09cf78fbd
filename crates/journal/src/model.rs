//! What a service gives to its journal: which rows a batch touches, what is decided, what is written. All of it is pure;
//! the journal does the I/O.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, Utc};
use contract::{Event, Lane, Record, Topic, event::UnreadableData};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

/// One statement and its parameters.
pub struct Query {
    /// The text, one of the model's [`Model::STATEMENTS`].
    pub sql: &'static str,
    /// Its parameters.
    pub parameters: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Query {
    /// A statement without parameters.
    pub fn new(sql: &'static str) -> Self {
        Self { sql, parameters: Vec::new() }
    }

    /// Adds the next parameter.
    #[must_use]
    pub fn bind(mut self, parameter: impl ToSql + Sync + Send + 'static) -> Self {
        self.parameters.push(Box::new(parameter));
        self
    }

    /// Adds the next parameter: a column of `rows`, for `unnest`.
    #[must_use]
    pub fn bind_each<R, T: ToSql + Sync + Send + 'static>(self, rows: &[R], column: impl Fn(&R) -> T) -> Self {
        self.bind(rows.iter().map(column).collect::<Vec<T>>())
    }
}

/// Why a consumed record goes to the dead letters.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Its data does not have the shape its kind promises.
    #[error(transparent)]
    Data(#[from] UnreadableData),
    /// It has that shape and still makes no sense.
    #[error("{0}")]
    Senseless(&'static str),
}

/// A row that does not hold what this service writes: it was changed by hand or by another version.
#[derive(Debug, thiserror::Error)]
#[error("{table} has a row that cannot be read: {reason}")]
pub struct UnreadableRow {
    /// The table.
    pub table: &'static str,
    /// What is wrong.
    pub reason: String,
}

/// A service as its journal sees it. A batch of commands becomes one transaction of two round trips:
/// [`load`](Model::load) names what is read under the lanes' locks, [`decide`](Model::decide) settles each command in
/// the order of arrival, [`write`](Model::write) names what is stored beside the events.
pub trait Model: Send + Sync + 'static {
    /// What is asked of the service: by HTTP, by a timer, or by another service's event.
    type Command: Send + Sync + 'static;
    /// What the asker is told once it is durable.
    type Answer: Send + Sync + 'static;
    /// The rows that a batch touches, in memory.
    type Rows: Send + Sync + 'static;
    /// Rows that batches touched before and that need not be read again; `()` where nothing comes twice in a row. While
    /// this replica has every lane, a batch leaves it to the next, in which nobody else has written into the lanes. Rows
    /// that are shared between lanes may have changed all the same: [`write`](Model::write) must not store what was decided
    /// on such a row, but fail.
    type Memory: Default + Send + Sync + 'static;

    /// Every statement of `load` and `write`; prepared once for each connection.
    const STATEMENTS: &'static [&'static str];

    /// The command that a consumed record stands for; nothing when the service does not care.
    fn read(&self, source: Topic, record: &Record) -> Result<Option<Self::Command>, Unreadable>;

    /// What to read for these commands beside what `memory` has. Rows shared between lanes are locked here, in the order of
    /// their keys; rows of one lane are locked by the lane.
    fn load(&self, commands: &[&Self::Command], memory: &Self::Memory) -> Vec<Query>;

    /// The rows from what `load` asked for, and those that `memory` has.
    fn rows(
        &self,
        commands: &[&Self::Command],
        loaded: Loaded,
        memory: &mut Self::Memory,
    ) -> Result<Self::Rows, UnreadableRow>;

    /// Settles one command: changes the rows, appends events, answers. A refused command changes nothing.
    fn decide(&self, rows: &mut Self::Rows, command: &Self::Command, decision: &mut Decision<'_>) -> Self::Answer;

    /// What to store beside the events.
    fn write(&self, rows: &Self::Rows) -> Vec<Query>;

    /// Called once the batch is durable, before its callers are answered. It must not block. `memory` takes the rows in.
    fn committed(&self, rows: Self::Rows, memory: &mut Self::Memory);
}

/// What the statements of [`Model::load`] gave.
#[derive(Default)]
pub struct Loaded(Vec<(&'static str, Vec<Row>)>);

impl Loaded {
    /// The rows that this statement gave; none if it was not asked.
    pub fn of(&mut self, sql: &'static str) -> Vec<Row> {
        let found = self.0.iter_mut().find(|(asked, _)| *asked == sql);
        found.map(|(_, rows)| std::mem::take(rows)).unwrap_or_default()
    }
}

impl FromIterator<(&'static str, Vec<Row>)> for Loaded {
    /// What each statement gave.
    fn from_iter<I: IntoIterator<Item = (&'static str, Vec<Row>)>>(loaded: I) -> Self {
        Self(loaded.into_iter().collect())
    }
}

/// What surrounds one command while it is decided, and the events that come of it.
pub struct Decision<'b> {
    pub(crate) now: DateTime<Utc>,
    pub(crate) lane: Lane,
    pub(crate) cause: Option<Uuid>,
    pub(crate) trace: Option<&'b str>,
    pub(crate) appended: &'b mut Vec<Record>,
    pub(crate) draw: Option<&'b mut dyn FnMut() -> Uuid>,
}

impl<'b> Decision<'b> {
    /// The surroundings of a command that neither a record caused nor a trace is known of.
    pub fn new(now: DateTime<Utc>, lane: Lane, appended: &'b mut Vec<Record>) -> Self {
        let now = now.trunc_subsecs(STORED_DIGITS);
        Self { now, lane, cause: None, trace: None, appended, draw: None }
    }

    /// When it is decided, as exactly as PostgreSQL keeps it: to the microsecond.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The W3C trace context of what is decided, if it is part of one.
    pub fn trace(&self) -> Option<&'b str> {
        self.trace
    }

    /// An id that nothing has yet; later ones are greater.
    pub fn fresh_id(&mut self) -> Uuid {
        self.draw.as_mut().map_or_else(Uuid::now_v7, |draw| draw())
    }

    /// Appends `event` as number `version` of `stream`.
    pub fn append(&mut self, stream: Uuid, version: i32, event: &impl Event) {
        self.push(stream, None, version, event);
    }

    /// Appends `event` as number `version` of `stream`, about `subject`.
    pub fn append_about(&mut self, subject: &str, stream: Uuid, version: i32, event: &impl Event) {
        self.push(stream, Some(subject.into()), version, event);
    }

    fn push(&mut self, stream: Uuid, subject: Option<Box<str>>, version: i32, event: &impl Event) {
        let mut data = Vec::with_capacity(TYPICAL_DATA_BYTES);
        event.encode(&mut data);
        let id = self.fresh_id();
        self.appended.push(Record {
            lane: self.lane,
            seq: UNNUMBERED,
            stream,
            version,
            id,
            kind: Cow::Borrowed(event.kind()),
            at: self.now,
            subject,
            cause: self.cause,
            trace: self.trace.map(Into::into),
            data: Bytes::from(data),
        });
    }
}

/// Digits of a second that PostgreSQL keeps. What is answered and published from memory must not show more.
const STORED_DIGITS: u16 = 6;
/// A record gets its number when the whole batch is decided.
const UNNUMBERED: i64 = 0;
/// Room for the data of most events, in bytes, so that encoding allocates once.
const TYPICAL_DATA_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_is_no_finer_than_the_database_keeps_it() {
        let now = DateTime::from_timestamp(1_700_000_000, 123_456_789).expect("in range");
        let decided = Decision::new(now, Lane(0), &mut Vec::new()).now();
        assert_eq!(decided.timestamp_subsec_nanos(), 123_456_000);
    }
}
