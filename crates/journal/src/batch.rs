//! A batch: what one transaction settles. HTTP commands and consumed records are in it alike.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use contract::{Lane, Record, Topic};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{Refused, inbox::Position};

/// One thing to settle.
pub(crate) struct Item<C, A> {
    pub lane: Lane,
    pub command: C,
    pub origin: Origin<A>,
}

/// Where an item came from.
pub(crate) enum Origin<A> {
    /// Someone in this process waits for the answer.
    Caller { answer: oneshot::Sender<Result<A, Refused>>, trace: Option<Box<str>> },
    /// A consumed record; the inbox moves past it in the same transaction.
    Record { source: Topic, record: Box<Record>, offset: i64 },
}

impl<A> Origin<A> {
    pub fn cause(&self) -> Option<Uuid> {
        match self {
            Self::Caller { .. } => None,
            Self::Record { record, .. } => Some(record.id),
        }
    }

    pub fn trace(&self) -> Option<&str> {
        match self {
            Self::Caller { trace, .. } => trace.as_deref(),
            Self::Record { record, .. } => record.trace.as_deref(),
        }
    }
}

/// A record that could not be read or settled.
pub(crate) struct Letter {
    pub id: Uuid,
    pub source: Topic,
    pub lane: Lane,
    /// Its sequence if it has one, else its offset.
    pub place: i64,
    pub reason: String,
    pub kind: Option<String>,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub at: DateTime<Utc>,
}

/// How far the inboxes move with a batch.
pub(crate) type Reach = BTreeMap<(Topic, Lane), Position>;

/// What one transaction settles.
pub(crate) struct Batch<C, A> {
    pub items: Vec<Item<C, A>>,
    pub letters: Vec<Letter>,
    pub reach: Reach,
}

impl<C, A> Batch<C, A> {
    pub fn new() -> Self {
        Self { items: Vec::new(), letters: Vec::new(), reach: Reach::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.letters.is_empty() && self.reach.is_empty()
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
    longest_gap: Duration,
    arrivals_per_second: f64,
    measured_at: Instant,
}

/// Up to this rate a batch begins at once: the machine has time to spare.
const UNHURRIED: f64 = 100.0;
/// From this rate on batches begin the longest gap apart.
const BUSY: f64 = 2000.0;
/// How fast the measured rate follows the real one.
const SMOOTHING_SECONDS: f64 = 0.2;

impl Pace {
    pub fn new(longest_gap: Duration, now: Instant) -> Self {
        Self { longest_gap, arrivals_per_second: 0.0, measured_at: now }
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

    /// How long after the begin of one batch the next may begin.
    pub fn gap(&self) -> Duration {
        let share = (self.arrivals_per_second - UNHURRIED) / (BUSY - UNHURRIED);
        self.longest_gap.mul_f64(share.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_waits_when_little_arrives_and_the_longest_gap_at_most() {
        const LONGEST_GAP: Duration = Duration::from_millis(10);
        let start = Instant::now();
        let mut pace = Pace::new(LONGEST_GAP, start);
        pace.observe(1, start + Duration::from_millis(100));
        assert_eq!(pace.gap(), Duration::ZERO);
        for step in 1..=100 {
            pace.observe(100, start + Duration::from_millis(100 + 10 * step));
        }
        assert_eq!(pace.gap(), LONGEST_GAP);
    }
}
