//! The moment that is judged: when it is, how far every consumer has come, and what may still be on its way.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use contract::{Lane, Lanes, Topic};

use super::consumers::Reach;
use super::dossier::Told;

/// How long something may be on its way before it counts as stuck, in seconds: a minute. Under load it takes a second or
/// two; what waits for another attempt, be it of a transport or of the provider, gets one at least every half minute.
pub const PATIENCE_SECONDS: u64 = 60;

/// The moment that is judged.
pub struct Moment {
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// The system's lanes.
    pub lanes: Lanes,
    /// Whether the system has to be at rest, so that nothing may be on its way.
    pub settled: bool,
    /// How long something may be on its way.
    patience: TimeDelta,
    applied: HashMap<(&'static str, Topic, Lane), i64>,
}

impl Moment {
    /// The moment at which consumers had come so far.
    pub(super) fn new(at: DateTime<Utc>, lanes: Lanes, settled: bool, patience: u64, reached: &[Reach]) -> Self {
        let applied = |reach: &Reach| ((reach.consumer, reach.source, reach.lane), reach.applied.unwrap_or_default());
        Self::of(at, lanes, settled, patience, reached.iter().map(applied))
    }

    /// The moment at which consumers, each named by its schema, had applied so much of each lane of each source;
    /// `patience` in seconds.
    pub fn of(
        at: DateTime<Utc>,
        lanes: Lanes,
        settled: bool,
        patience: u64,
        applied: impl IntoIterator<Item = ((&'static str, Topic, Lane), i64)>,
    ) -> Self {
        let patience = i64::try_from(patience).ok().and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX);
        Self { at, lanes, settled, patience, applied: applied.into_iter().collect() }
    }

    /// Whether what is on its way since then should have arrived by now.
    pub fn is_late(&self, since: DateTime<Utc>) -> bool {
        self.settled || self.at - since > self.patience
    }

    /// Those of a stream's events, oldest first, that the journal or view in the schema `consumer` has applied.
    pub(super) fn applied<'t, E>(&self, consumer: &'static str, source: Topic, told: &'t [Told<E>]) -> &'t [Told<E>] {
        let reached = |told: &Told<E>| {
            let lane = (consumer, source, told.record.lane);
            told.record.seq <= self.applied.get(&lane).copied().unwrap_or_default()
        };
        &told[..told.partition_point(reached)]
    }
}
