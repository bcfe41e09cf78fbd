//! How many replicas a service needs for its backlog. Decided here, done elsewhere.
//!
//! Replicas share lanes, so only some numbers of them help: of 12 lanes, 4 replicas have 3 each, and so has at least one
//! of 5. A step is the least number of replicas for its share.

mod steps;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use contract::Lanes;

use crate::{
    backlog::{Backlog, RATE_WINDOW},
    resource::Autoscaling,
};
use steps::Steps;

/// How long it is believed what a replica can do. After that, fewer replicas are tried when nothing waits: the measure may
/// be from a bad hour of the database.
const RATE_MEMORY: Duration = Duration::from_hours(1);
/// After how long without a look it is unknown what was needed in between.
const BLIND_AFTER: Duration = Duration::from_mins(1);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How many replicas there should be.
    pub replicas: i32,
    /// What keeps them from being as many as are needed.
    pub limited_by: Option<Limit>,
    /// Why that many.
    pub why: Why,
}

/// What keeps a service from having as many replicas as it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `maxReplicas`, or that more up to it would have no smaller share.
    MaxReplicas,
    /// Every lane has a replica of its own.
    Lanes,
    /// Those that there are have to be ready first.
    NotReady,
}

impl Limit {
    /// Its name in a status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxReplicas => "MaxReplicas",
            Self::Lanes => "Lanes",
            Self::NotReady => "NotReady",
        }
    }
}

/// Why there should be that many replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// They are enough, and fewer would not be.
    Enough,
    /// What comes and what waits need more.
    LoadRose,
    /// What waits is older than it may be, and nothing better is known than to try a step.
    BacklogTooOld,
    /// Fewer have been enough for long enough.
    LoadFell,
    /// Fewer would be enough, but not for long enough yet.
    Stabilizing,
    /// More are needed, but those that there are have to be ready first.
    NotReady,
    /// There were fewer than `minReplicas` or more than `maxReplicas`.
    OutOfBounds,
    /// Nobody knows what waits.
    NoBacklogData,
}

impl Why {
    /// Its name in logs and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enough => "Enough",
            Self::LoadRose => "LoadRose",
            Self::BacklogTooOld => "BacklogTooOld",
            Self::LoadFell => "LoadFell",
            Self::Stabilizing => "Stabilizing",
            Self::NotReady => "NotReady",
            Self::OutOfBounds => "OutOfBounds",
            Self::NoBacklogData => "NoBacklogData",
        }
    }
}

/// What a service needs.
#[derive(Clone, Copy)]
struct Need {
    /// Replicas, whatever the bounds.
    replicas: i32,
    why: Why,
}

/// What is remembered of one service between decisions.
#[derive(Clone, Debug, Default)]
pub struct Scaler {
    /// Records per second that a ready replica reads when others wait, and when that was measured.
    rate: Option<(f64, Instant)>,
    /// How many replicas are ready, and since when. No time: since before we looked.
    ready: Option<(i32, Option<Instant>)>,
    /// The highest needs of the stabilization window, falling, each with when it was last seen.
    needs: VecDeque<(Instant, i32)>,
    looked_at: Option<Instant>,
}

impl Scaler {
    /// Decides, given how many replicas are wanted now and how many of them are ready.
    pub fn decide(
        &mut self,
        now: Instant,
        autoscaling: &Autoscaling,
        lanes: Lanes,
        current: i32,
        ready: i32,
        backlog: Option<&Backlog>,
    ) -> Decision {
        let steps = Steps::new(autoscaling, lanes);
        let base = steps.within(current);
        let window = seconds(autoscaling.scale_down_stabilization_seconds);
        self.look(now, ready, base, window);
        let need = backlog.map(|backlog| {
            self.measure(now, ready, backlog);
            self.need(now, seconds(autoscaling.target_backlog_seconds), &steps, base, backlog)
        });
        self.note(now, need.map_or(base, |need| steps.at_least(need.replicas, base)), window);
        match need {
            None if base == current => decision(base, None, Why::NoBacklogData),
            None => decision(base, None, Why::OutOfBounds),
            Some(need) => self.choose(&steps, current, ready, need),
        }
    }

    /// Up at once, but step by step; down only to the highest need of the window.
    fn choose(&self, steps: &Steps, current: i32, ready: i32, need: Need) -> Decision {
        let base = steps.within(current);
        let wanted = steps.at_least(need.replicas, base);
        let highest = self.needs.front().map_or(wanted, |(_, highest)| steps.at_least(*highest, base).max(wanted));
        let limit = steps.limit(need.replicas);
        if wanted > base && ready < base {
            decision(base, Some(Limit::NotReady), Why::NotReady)
        } else if wanted > base {
            decision(wanted, limit, need.why)
        } else if highest < base && steps.differ(base, highest) {
            decision(highest, limit, Why::LoadFell)
        } else if base != current {
            decision(base, limit, Why::OutOfBounds)
        } else if wanted < base && steps.differ(base, wanted) {
            decision(base, limit, Why::Stabilizing)
        } else {
            decision(base, limit, if limit.is_some() { need.why } else { Why::Enough })
        }
    }

    /// Notes who is ready. What was needed while nobody looked is unknown: it may have been all that there is.
    fn look(&mut self, now: Instant, ready: i32, base: i32, window: Duration) {
        self.ready = match self.ready {
            None => Some((ready, None)),
            Some((before, _)) if before != ready => Some((ready, Some(now))),
            same => same,
        };
        if self.looked_at.is_none_or(|at| now.duration_since(at) > BLIND_AFTER) {
            self.note(now, base, window);
        }
        self.looked_at = Some(now);
    }

    fn note(&mut self, now: Instant, need: i32, window: Duration) {
        while self.needs.back().is_some_and(|(_, lower)| *lower <= need) {
            self.needs.pop_back();
        }
        self.needs.push_back((now, need));
        while self.needs.front().is_some_and(|(seen, _)| now.duration_since(*seen) >= window) {
            self.needs.pop_front();
        }
    }

    /// Whether as many replicas have been ready for so long that rates are theirs.
    fn is_settled(&self, now: Instant) -> bool {
        self.ready.is_some_and(|(_, since)| since.is_none_or(|since| now.duration_since(since) >= RATE_WINDOW))
    }

    fn measure(&mut self, now: Instant, ready: i32, backlog: &Backlog) {
        let measured = backlog.service_per_second.filter(|rate| *rate > 0.0 && ready > 0);
        if let Some(rate) = measured
            && self.is_settled(now)
        {
            self.rate = Some((rate / f64::from(ready), now));
        }
        self.rate = self.rate.filter(|(_, at)| now.duration_since(*at) < RATE_MEMORY);
    }

    fn need(&self, now: Instant, target: Duration, steps: &Steps, base: i32, backlog: &Backlog) -> Need {
        let work = backlog.arrival_per_second + number(backlog.records) / target.as_secs_f64();
        let (replicas, why) = match self.rate {
            _ if work <= 0.0 => (0, Why::Enough),
            Some((rate, _)) => (whole(work / rate), Why::LoadRose),
            None if backlog.records == 0 => (steps.below(base), Why::Enough),
            None if backlog.seconds > target.as_secs_f64() && self.is_settled(now) => (base + 1, Why::BacklogTooOld),
            None => (base, Why::Enough),
        };
        // What is late is not caught up with by fewer, whatever the rates say.
        let late = backlog.records > 0 && backlog.seconds > target.as_secs_f64();
        Need { replicas: if late { replicas.max(base) } else { replicas }, why }
    }
}

fn decision(replicas: i32, limited_by: Option<Limit>, why: Why) -> Decision {
    Decision { replicas, limited_by, why }
}

fn seconds(count: i32) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "what is measured is far less exact than 52 bits")]
fn number(records: i64) -> f64 {
    records as f64
}

/// Rounded up; more than anyone has when there is no telling.
#[expect(clippy::cast_possible_truncation, reason = "what is above the range becomes its end")]
fn whole(replicas: f64) -> i32 {
    replicas.ceil() as i32
}
