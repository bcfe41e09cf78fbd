//! What a part of a run has counted. Each worker counts for itself; the parts are put together at the end.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::latency::Latencies;
use super::plan::{End, PlannedOrder};

/// An order that the system has named and so must settle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Placed {
    pub id: Uuid,
    pub end: End,
    /// When, by the system's clock.
    pub at: DateTime<Utc>,
    /// Whether it was placed after the warm-up.
    pub measured: bool,
    /// Whether nothing was asked of it after it was placed.
    pub left_alone: bool,
}

impl Placed {
    pub(super) fn new(order: &PlannedOrder, id: Uuid, at: DateTime<Utc>, measured: bool) -> Self {
        Self { id, end: order.end(), at, measured, left_alone: order.is_left_alone() }
    }
}

/// What the special orders came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Specials {
    /// Orders sent twice under one key.
    pub duplicated: u64,
    /// Those of them whose two answers did not name the same order.
    pub duplicates_that_differ: u64,
    /// Orders called off.
    pub cancelled: u64,
    /// Orders whose lines were replaced.
    pub amended: u64,
    /// Orders that were confirmed before their lines could be replaced.
    pub amended_too_late: u64,
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub placed: Vec<Placed>,
    /// From the intended arrival to the answer that names the order.
    pub accept: Latencies,
    /// From the intended arrival to the answer that tells how the order ended.
    pub settle: Latencies,
    /// From the intended arrival to the request: how far the generator itself, or its connections, fell behind.
    pub behind: Latencies,
    pub last_accepted: Option<Instant>,
    pub specials: Specials,
    /// Orders whose settling was to be waited for, but too many were being waited for already.
    pub unsampled: u64,
    /// Orders that were waited for and answered before they were settled: the wait was over.
    pub waits_over: u64,
    /// Calls that were repeated, by what they were answered.
    pub retried: BTreeMap<String, u64>,
    /// Answers that should not be, by call and answer.
    pub unexpected: BTreeMap<(&'static str, String), u64>,
}

impl Tally {
    /// Counts an answer that should not be.
    pub(super) fn unexpected(&mut self, call: &'static str, answer: impl Into<String>) {
        *self.unexpected.entry((call, answer.into())).or_default() += 1;
    }

    /// Counts a call that is made again because of this answer.
    pub(super) fn retried(&mut self, answer: String) {
        *self.retried.entry(answer).or_default() += 1;
    }

    /// Adds what another part has counted.
    pub(super) fn add(&mut self, other: Self) {
        self.placed.extend(other.placed);
        self.accept.append(other.accept);
        self.settle.append(other.settle);
        self.behind.append(other.behind);
        self.last_accepted = self.last_accepted.max(other.last_accepted);
        self.specials.add(other.specials);
        self.unsampled += other.unsampled;
        self.waits_over += other.waits_over;
        for (answer, count) in other.retried {
            *self.retried.entry(answer).or_default() += count;
        }
        for (key, count) in other.unexpected {
            *self.unexpected.entry(key).or_default() += count;
        }
    }

    /// Forgets the times of a warm-up; its orders and its mistakes stay.
    pub(super) fn without_times(self) -> Self {
        let Self { placed, specials, retried, unexpected, .. } = self;
        Self { placed, specials, retried, unexpected, ..Self::default() }
    }
}

impl Specials {
    fn add(&mut self, other: Self) {
        self.duplicated += other.duplicated;
        self.duplicates_that_differ += other.duplicates_that_differ;
        self.cancelled += other.cancelled;
        self.amended += other.amended;
        self.amended_too_late += other.amended_too_late;
    }
}
