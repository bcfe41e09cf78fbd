//! A batch: what one transaction settles. HTTP commands and consumed records are in it alike.

use std::{collections::BTreeMap, time::Instant};

use chrono::{DateTime, Utc};
use contract::{Envelope, Lane, Record, Topic, envelope::UnreadableEnvelope};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    Batching, Decision, Refused, Unreadable,
    holding::Holding,
    inbox::{Position, Verdict},
};

/// One thing to settle.
pub struct Item<C, A> {
    /// The lane that it appends to.
    pub lane: Lane,
    /// What is asked.
    pub command: C,
    /// Who asks.
    pub origin: Origin<A>,
}

/// Where an item came from.
pub enum Origin<A> {
    /// Someone in this process waits for the answer.
    Caller {
        /// Where the answer goes.
        answer: oneshot::Sender<Result<A, Refused>>,
        /// The W3C trace context of the request.
        trace: Option<Box<str>>,
    },
    /// A consumed record; the inbox moves past it in the same transaction.
    Record {
        /// Where it came from.
        source: Topic,
        /// The record.
        record: Box<Record>,
        /// Its place in the transport.
        offset: i64,
    },
}

impl<A> Origin<A> {
    /// The event that causes what comes of it.
    pub fn cause(&self) -> Option<Uuid> {
        match self {
            Self::Caller { .. } => None,
            Self::Record { record, .. } => Some(record.id),
        }
    }

    /// The W3C trace context that it is part of.
    pub fn trace(&self) -> Option<&str> {
        match self {
            Self::Caller { trace, .. } => trace.as_deref(),
            Self::Record { record, .. } => record.trace.as_deref(),
        }
    }
}

/// A record that could not be read or settled.
pub struct Letter {
    /// Its own id.
    pub id: Uuid,
    /// The topic that it came from.
    pub source: Topic,
    /// The lane that it came in.
    pub lane: Lane,
    /// Its sequence if it has one, else its offset.
    pub place: i64,
    /// Why it is here.
    pub reason: String,
    /// Its kind, if it says one.
    pub kind: Option<String>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub payload: Option<Vec<u8>>,
    /// When it was put here.
    pub at: DateTime<Utc>,
}

impl Letter {
    /// A record that was read, put to the dead letters now.
    pub fn of(source: Topic, lane: Lane, place: i64, reason: String, record: &Record) -> Self {
        let key = Some(record.key().as_bytes().to_owned());
        let (kind, payload) = (Some(record.kind.to_string()), Some(record.data.to_vec()));
        Self { id: Uuid::now_v7(), source, lane, place, reason, kind, key, payload, at: Utc::now() }
    }
}

/// A record as it came in.
pub struct Incoming {
    /// The topic.
    pub source: Topic,
    /// The lane that it came in.
    pub lane: Lane,
    /// Its place in the transport.
    pub offset: i64,
    /// What it is.
    pub body: Body,
}

/// What came in.
pub enum Body {
    /// A record of ours.
    Record(Box<Record>),
    /// A record of ours in its lane, of a kind that means nothing to the reader.
    Passed {
        /// Its number in the lane.
        seq: i64,
    },
    /// Something that nobody can read.
    Unreadable {
        /// Why not.
        reason: String,
        /// Its key.
        key: Option<Vec<u8>>,
        /// Its value.
        payload: Option<Vec<u8>>,
    },
}

impl Body {
    /// What a message in `lane` is to a reader that passes over these kinds.
    pub fn of(
        envelope: &Envelope<'_>,
        value: Option<&[u8]>,
        lane: Lane,
        passes: &[&str],
    ) -> Result<Self, UnreadableEnvelope> {
        let place = envelope.place()?;
        if place.lane == lane && passes.contains(&place.kind) {
            return Ok(Self::Passed { seq: place.seq });
        }
        Record::placed(place, envelope, value).map(Box::new).map(Self::Record)
    }
}

/// What became of a record that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in the batch.
    In,
    /// It was the next one, and is of no interest here.
    Passed,
    /// It was applied before.
    Duplicate,
    /// Records before it are missing.
    Gap {
        /// The sequence to ask the source for, if it is time to.
        ask_from: Option<i64>,
        /// The sequence that came instead.
        found: i64,
    },
    /// It cannot be read; it goes to the dead letters with the batch.
    Buried,
}

/// A command appended to another lane than it was submitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event was appended to a lane that is not locked")]
pub struct AppendedElsewhere;

/// How far the inboxes move with a batch.
pub type Reach = BTreeMap<(Topic, Lane), Position>;

/// What one transaction settles.
pub struct Batch<C, A> {
    /// What is settled, in the order of arrival.
    pub items: Vec<Item<C, A>>,
    /// What cannot be.
    pub letters: Vec<Letter>,
    /// How far the inboxes move with it.
    pub reach: Reach,
}

impl<C, A> Default for Batch<C, A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C, A> Batch<C, A> {
    /// An empty one.
    pub fn new() -> Self {
        Self { items: Vec::new(), letters: Vec::new(), reach: Reach::new() }
    }

    /// Whether there is nothing to settle and nothing to store.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.letters.is_empty() && self.reach.is_empty()
    }

    /// Takes in a record if its lane is held and it is the next there. `read` says what it stands for.
    pub fn take_in(
        &mut self,
        incoming: Incoming,
        holding: &mut Holding,
        now: Instant,
        read: impl FnOnce(Topic, &Record) -> Result<Option<C>, Unreadable>,
    ) -> Option<Taken> {
        let Incoming { source, lane, offset, body } = incoming;
        let inbox = holding.inbox(source, lane)?;
        let (seq, record) = match body {
            Body::Passed { seq } => (seq, None),
            Body::Record(record) if record.lane == lane => (record.seq, Some(record)),
            Body::Record(record) => {
                inbox.pass(offset);
                let reason = format!("it says lane {} and came in lane {lane}", record.lane);
                return Some(self.bury(Letter::of(source, lane, offset, reason, &record)));
            }
            Body::Unreadable { reason, key, payload } => {
                inbox.pass(offset);
                let (id, kind, at) = (Uuid::now_v7(), None, Utc::now());
                return Some(self.bury(Letter { id, source, lane, place: offset, reason, kind, key, payload, at }));
            }
        };
        Some(match (inbox.judge(seq, offset, now), record) {
            (Verdict::Duplicate, _) => Taken::Duplicate,
            (Verdict::Gap { ask }, _) => Taken::Gap { ask_from: ask.then_some(inbox.accepted.seq + 1), found: seq },
            (Verdict::Apply, None) => Taken::Passed,
            (Verdict::Apply, Some(record)) => match read(source, &record) {
                Ok(None) => Taken::Passed,
                Ok(Some(command)) => {
                    self.items.push(Item { lane, command, origin: Origin::Record { source, record, offset } });
                    Taken::In
                }
                Err(error) => self.bury(Letter::of(source, lane, seq, error.to_string(), &record)),
            },
        })
    }

    fn bury(&mut self, mut letter: Letter) -> Taken {
        // A reason may quote what it is about, and PostgreSQL keeps no text with a NUL in it.
        letter.reason = letter.reason.replace('\0', "\u{fffd}");
        self.letters.push(letter);
        Taken::Buried
    }

    /// Decides every item in the order of arrival, and numbers the events that come of it from the lanes' `heads` on.
    /// `decide` settles one; `draw` gives ids that nothing has yet.
    pub fn decide<X>(
        &self,
        now: DateTime<Utc>,
        heads: &BTreeMap<Lane, i64>,
        draw: &mut dyn FnMut() -> Uuid,
        mut decide: impl FnMut(&C, &mut Decision<'_>) -> X,
    ) -> Result<(Vec<X>, Vec<Record>), AppendedElsewhere> {
        let mut appended = Vec::with_capacity(self.items.len());
        let mut answers = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let (cause, trace) = (item.origin.cause(), item.origin.trace());
            let mut decision =
                Decision { cause, trace, draw: Some(&mut *draw), ..Decision::new(now, item.lane, &mut appended) };
            answers.push(decide(&item.command, &mut decision));
        }
        let mut next = heads.clone();
        for record in &mut appended {
            let seq = next.get_mut(&record.lane).ok_or(AppendedElsewhere)?;
            *seq += 1;
            record.seq = *seq;
        }
        Ok((answers, appended))
    }

    /// The lanes it touches, in order.
    pub fn lanes(&self) -> Vec<Lane> {
        let mut lanes: Vec<_> = self.items.iter().map(|item| item.lane).collect();
        lanes.extend(self.reach.keys().map(|(_, lane)| *lane));
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// Two halves that can be settled one after the other: the first moves the inboxes as far as its own records, the
    /// second all the way. So one item that cannot be settled is found without holding up or repeating the others.
    pub fn halves(mut self) -> (Self, Self) {
        let second = self.items.split_off(self.items.len() / 2);
        let mut reach = Reach::new();
        for item in &self.items {
            if let Origin::Record { source, record, offset } = &item.origin {
                reach.insert((*source, record.lane), Position { seq: record.seq, offset: offset + 1 });
            }
        }
        let first = Self { items: self.items, letters: Vec::new(), reach };
        (first, Self { items: second, letters: self.letters, reach: self.reach })
    }

    /// Takes out what came from records of these lanes, which another process owns now.
    pub fn drop_records_of(&mut self, lost: &[Lane]) {
        self.items.retain(|item| match &item.origin {
            Origin::Caller { .. } => true,
            Origin::Record { .. } => !lost.contains(&item.lane),
        });
        self.letters.retain(|letter| !lost.contains(&letter.lane));
        self.reach.retain(|(_, lane), _| !lost.contains(lane));
    }

    /// Refuses every caller, so that only records are left.
    pub fn refuse_callers(&mut self, why: Refused) {
        let (callers, records): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.items).into_iter().partition(|item| matches!(item.origin, Origin::Caller { .. }));
        self.items = records;
        for item in callers {
            if let Origin::Caller { answer, .. } = item.origin {
                let _ = answer.send(Err(why));
            }
        }
    }
}

/// The arrival rate, smoothed, and the pause between batches that follows from it.
pub(crate) struct Pace {
    batching: Batching,
    arrivals_per_second: f64,
    measured_at: Instant,
}

/// Up to this rate a batch begins at once: the machine has time to spare.
const UNHURRIED: f64 = 100.0;
/// How fast the measured rate follows the real one.
const SMOOTHING_SECONDS: f64 = 0.2;

impl Pace {
    pub fn new(batching: Batching, now: Instant) -> Self {
        Self { batching, arrivals_per_second: 0.0, measured_at: now }
    }

    /// Takes note that `arrivals` came since the last call.
    pub fn observe(&mut self, arrivals: usize, now: Instant) {
        let seconds = (now - self.measured_at).as_secs_f64().max(1e-4);
        self.measured_at = now;
        let weight = 1.0 - (-seconds / SMOOTHING_SECONDS).exp();
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most a thousand arrivals")]
        let rate = arrivals as f64 / seconds;
        self.arrivals_per_second += weight * (rate - self.arrivals_per_second);
    }

    /// When a batch may begin whose first item came at `first`, if the one before it began at `before`.
    pub fn begin(&self, before: Instant, first: Instant) -> Instant {
        let Batching { longest_gap, company, busy, .. } = self.batching;
        let share = ((self.arrivals_per_second - UNHURRIED) / (busy - UNHURRIED)).clamp(0.0, 1.0);
        (before + longest_gap.mul_f64(share)).max(first + company.mul_f64(share))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record(seq: i64) -> Record {
        Record {
            lane: Lane(0),
            seq,
            stream: Uuid::from_u128(1),
            version: 1,
            id: Uuid::from_u128(2),
            kind: "happened.v1".into(),
            at: DateTime::UNIX_EPOCH,
            subject: None,
            cause: None,
            trace: None,
            data: "{}".into(),
        }
    }

    fn holding() -> Holding {
        let mut holding = Holding::default();
        holding.take(Lane(0), 1, [(Topic::Orders, Position::default())]);
        holding
    }

    #[test]
    fn a_kind_that_means_nothing_is_passed_over_in_its_turn() {
        let mut holding = holding();
        let mut batch = Batch::<(), ()>::new();
        let mut taken = |offset, record: &Record| {
            let mut headers = Vec::new();
            record.headers(Topic::Orders, |name, value| headers.push((name.to_owned(), value.to_owned())));
            let envelope = Envelope::of(headers.iter().map(|(name, value)| (&**name, &**value)));
            let body = Body::of(&envelope, Some(b"spoilt"), Lane(0), &["happened.v1"]).expect("is readable");
            let incoming = Incoming { source: Topic::Orders, lane: Lane(0), offset, body };
            batch.take_in(incoming, &mut holding, Instant::now(), |_, _| unreachable!("it is not read"))
        };
        assert_eq!(taken(0, &record(1)), Some(Taken::Passed));
        assert_eq!(taken(1, &record(1)), Some(Taken::Duplicate));
        assert!(matches!(taken(2, &record(3)), Some(Taken::Gap { found: 3, .. })));
        assert_eq!(taken(3, &record(2)), Some(Taken::Passed));
        // but not where it does not belong
        assert_eq!(taken(4, &Record { lane: Lane(1), ..record(3) }), Some(Taken::Buried));
        assert_eq!(holding.dirty().values().next(), Some(&Position { seq: 2, offset: 5 }));
    }

    #[test]
    fn what_cannot_be_read_is_buried_with_a_reason_that_can_be_kept() {
        // given a record that is the next, and says something that its reader quotes
        let mut holding = holding();
        let body = Body::Record(Box::new(record(1)));
        let incoming = Incoming { source: Topic::Orders, lane: Lane(0), offset: 4, body };
        // when it cannot be read
        let mut batch = Batch::<(), ()>::new();
        let refuse = |_, _: &Record| Err(Unreadable::Senseless("no such thing: a\0b"));
        let taken = batch.take_in(incoming, &mut holding, Instant::now(), refuse);
        // then
        assert_eq!(taken, Some(Taken::Buried));
        assert_eq!(batch.letters[0].reason, "no such thing: a\u{fffd}b");
        assert_eq!(holding.dirty().values().next(), Some(&Position { seq: 1, offset: 5 }));
    }

    #[test]
    fn nothing_waits_when_little_arrives_and_else_for_the_gap_and_for_company() {
        const MILLISECOND: Duration = Duration::from_millis(1);
        let batching = Batching { longest_gap: 10 * MILLISECOND, company: MILLISECOND, busy: 2000.0, most_items: 1024 };
        let start = Instant::now();
        let mut pace = Pace::new(batching, start);
        pace.observe(1, start + 100 * MILLISECOND);
        assert_eq!(pace.begin(start, start), start);
        for step in 1..=100 {
            pace.observe(100, start + (100 + 10 * step) * MILLISECOND);
        }
        assert_eq!(pace.begin(start, start + 2 * MILLISECOND), start + 10 * MILLISECOND, "the gap is not over");
        assert_eq!(pace.begin(start, start + 50 * MILLISECOND), start + 51 * MILLISECOND, "the gap is long over");
    }
}
