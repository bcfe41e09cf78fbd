//! Backlogs: how much was written that is not read yet, how old it is, and how fast it comes and goes.
//!
//! At rest a backlog is exactly nothing: what was written since the look before is on its way, and does not count.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long Kafka may not know yet what a service has read, which tells it once a second, after a batch.
const UNTOLD: Duration = Duration::from_secs(3);
/// What rates are measured over: long enough for batches and looks not to show, short enough to follow a burst.
pub(crate) const RATE_WINDOW: Duration = Duration::from_secs(30);
/// Samples that are kept, 4 KiB. Old ones are thinned out rather than dropped, so a few reach far.
const MAX_SAMPLES: usize = 128;
/// How far they reach: twice the highest age that an autoscaler can be given.
const MAX_SPAN: Duration = Duration::from_hours(2);

/// How far the writers and the reader of what a service reads are, summed over its groups, topics and lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Records written.
    pub written: i64,
    /// Records read.
    pub read: i64,
}

/// What waits for a service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Records that were there at the look before and are not read yet.
    pub records: i64,
    /// How long ago the first record that is not read yet was written. 0 without a backlog.
    pub seconds: f64,
    /// Records written per second.
    pub arrival_per_second: f64,
    /// Records read per second while others waited, which is what the service is capable of. `None` while nothing waits:
    /// then it merely reads what comes.
    pub service_per_second: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    positions: Positions,
    /// The backlog's records; unknown at the first look.
    waiting: Option<i64>,
}

impl Sample {
    fn is_behind(&self) -> bool {
        self.waiting.is_some_and(|records| records > 0)
    }
}

/// What was seen of one service.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
}

impl History {
    /// Adds what was seen at `at`. What is older than the last look is ignored.
    pub fn push(&mut self, at: Instant, positions: Positions) {
        if let Some(last) = self.samples.back() {
            if at <= last.at {
                return;
            }
            if positions.written < last.positions.written {
                // The topics were made anew; what was before says nothing about them.
                self.samples.clear();
            }
        }
        let waiting = self.written_before(at).map(|written| (written - positions.read).max(0));
        self.samples.push_back(Sample { at, positions, waiting });
        self.thin_out(at);
    }

    /// The backlog at the last look, unless it was the first.
    pub fn backlog(&self) -> Option<Backlog> {
        let now = self.samples.back()?;
        let records = now.waiting?;
        let arrival = self.rate(now.at, |_, _| true, |sample| sample.positions.written);
        Some(Backlog {
            records,
            seconds: if records == 0 { 0.0 } else { self.age(now) },
            arrival_per_second: arrival.unwrap_or(0.0),
            service_per_second: self.rate(
                now.at,
                |from, to| from.is_behind() && to.is_behind(),
                |sample| sample.positions.read,
            ),
        })
    }

    /// What was written at the last look whose records Kafka must know to be read by `at`, if they are.
    fn written_before(&self, at: Instant) -> Option<i64> {
        let before = self.samples.iter().rev().find(|sample| at.duration_since(sample.at) >= UNTOLD)?;
        Some(before.positions.written)
    }

    /// How long ago, in seconds, more was written than is read `now`; at most the history's span.
    fn age(&self, now: &Sample) -> f64 {
        let read = now.positions.read;
        let last = self.samples.iter().rposition(|sample| sample.positions.written <= read);
        let from = last.and_then(|index| self.samples.get(index)).or(self.samples.front()).unwrap_or(now);
        let to = last.and_then(|index| self.samples.get(index + 1)).unwrap_or(from);
        let (written, span) = (to.positions.written - from.positions.written, to.at.duration_since(from.at));
        let share = if written > 0 { number(read - from.positions.written) / number(written) } else { 0.0 };
        now.at.duration_since(from.at + span.mul_f64(share.clamp(0.0, 1.0))).as_secs_f64()
    }

    /// Records per second between the looks of the last [`RATE_WINDOW`] that `counts` picks; `None` if it picks none.
    fn rate(
        &self,
        now: Instant,
        counts: impl Fn(&Sample, &Sample) -> bool,
        position: impl Fn(&Sample) -> i64,
    ) -> Option<f64> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        let recent = pairs.filter(|(from, to)| now.duration_since(to.at) < RATE_WINDOW && counts(from, to));
        let (records, time) = recent.fold((0, Duration::ZERO), |(records, time), (from, to)| {
            (records + (position(to) - position(from)).max(0), time + to.at.duration_since(from.at))
        });
        (!time.is_zero()).then(|| number(records) / time.as_secs_f64())
    }

    fn thin_out(&mut self, now: Instant) {
        while self.samples.front().is_some_and(|oldest| now.duration_since(oldest.at) > MAX_SPAN) {
            self.samples.pop_front();
        }
        if self.samples.len() > MAX_SAMPLES {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index > MAX_SAMPLES / 2 || index % 2 == 1
            });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "what is measured is far less exact than 52 bits")]
fn number(records: i64) -> f64 {
    records as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOOK: Duration = Duration::from_secs(5);

    /// The history of looks at `(written, read)`, five seconds apart.
    fn seen(looks: &[(i64, i64)]) -> History {
        let mut history = History::default();
        let start = Instant::now();
        for (at, (written, read)) in (0..).map(|index| start + LOOK * index).zip(looks.iter().copied()) {
            history.push(at, Positions { written, read });
        }
        history
    }

    fn backlog(looks: &[(i64, i64)]) -> Backlog {
        seen(looks).backlog().expect("there was a look before")
    }

    #[test]
    fn the_first_look_says_nothing() {
        assert_eq!(seen(&[(1_000, 0)]).backlog(), None);
        assert_eq!(History::default().backlog(), None);
    }

    #[test]
    fn at_rest_nothing_waits() {
        assert_eq!(backlog(&[(500, 500), (500, 500), (500, 500)]), Backlog::default());
    }

    #[test]
    fn a_record_on_its_way_is_no_backlog() {
        // A quiet lane repeats its last record; it is read before the next look, but not always before this one.
        let looks = [(500, 500), (501, 500), (501, 501), (502, 501), (503, 502)];
        for count in 2..=looks.len() {
            let backlog = backlog(&looks[..count]);
            assert_eq!((backlog.records, backlog.seconds, backlog.service_per_second), (0, 0.0, None));
        }
    }

    #[test]
    fn a_service_that_keeps_up_has_no_backlog_however_much_comes() {
        let backlog = backlog(&[(0, 0), (5_000, 4_900), (10_000, 9_900)]);
        assert_eq!((backlog.records, backlog.seconds), (0, 0.0));
        assert!((backlog.arrival_per_second - 1_000.0).abs() < 1e-6, "{backlog:?}");
        assert_eq!(backlog.service_per_second, None, "it merely reads what comes");
    }

    #[test]
    fn a_service_that_stands_still_has_a_backlog_as_old_as_its_standing() {
        let backlog = backlog(&[(100, 100), (200, 100), (300, 100), (300, 100)]);
        assert_eq!(backlog.records, 200);
        assert!((backlog.seconds - 15.0).abs() < 1e-6, "{backlog:?}");
        assert_eq!(backlog.service_per_second, Some(0.0));
    }

    #[test]
    fn the_age_counts_from_when_the_next_record_was_written() {
        // 1,250 are read; the next was written halfway between the second look and the third.
        let backlog = backlog(&[(1_000, 1_000), (1_000, 1_000), (1_500, 1_000), (1_500, 1_250)]);
        assert_eq!(backlog.records, 250);
        assert!((backlog.seconds - 7.5).abs() < 1e-6, "{backlog:?}");
    }

    #[test]
    fn the_age_is_at_most_what_was_seen() {
        let backlog = backlog(&[(1_000, 0), (1_000, 10)]);
        assert_eq!(backlog.records, 990);
        assert!((backlog.seconds - 5.0).abs() < 1e-6, "{backlog:?}");
    }

    #[test]
    fn what_a_service_is_capable_of_is_measured_while_others_wait() {
        let looks = [(0, 0), (5_000, 5_000), (20_000, 6_000), (20_000, 8_000), (20_000, 10_000), (20_000, 20_000)];
        let measured = backlog(&looks).service_per_second.expect("others waited");
        assert!((measured - 400.0).abs() < 1e-6, "{measured}: from the third look to the fifth");
    }

    #[test]
    fn topics_made_anew_begin_a_new_history() {
        assert_eq!(seen(&[(1_000, 10), (1_000, 20), (5, 0)]).backlog(), None);
        assert_eq!(backlog(&[(1_000, 10), (5, 0), (5, 0)]).records, 5);
    }

    #[test]
    fn a_look_that_comes_late_is_ignored() {
        let mut history = seen(&[(10, 0), (10, 5)]);
        let before = history.backlog();
        history.push(history.samples[0].at, Positions { written: 99, read: 0 });
        assert_eq!(history.backlog(), before);
    }

    #[test]
    fn an_hour_of_standing_still_is_remembered() {
        let looks: Vec<_> = (0..720).map(|look| (look, 0)).collect();
        let backlog = backlog(&looks);
        assert!((backlog.seconds - 3_595.0).abs() < 1e-6, "{backlog:?}");
    }

    /// Milliseconds since the look before, and records written and read since then.
    fn looks() -> impl Strategy<Value = Vec<(u64, i64, i64)>> {
        prop::collection::vec((1_u64..60_000, 0_i64..1_000, 0_i64..1_000), 1..600)
    }

    proptest! {
        #[test]
        fn whatever_is_seen_is_bounded(looks in looks()) {
            let mut history = History::default();
            let (start, mut positions) = (Instant::now(), Positions::default());
            let mut at = start;
            for (milliseconds, written, read) in looks {
                at += Duration::from_millis(milliseconds);
                positions.written += written;
                positions.read = (positions.read + read).min(positions.written);
                history.push(at, positions);
                prop_assert!(history.samples.len() <= MAX_SAMPLES);
                let Some(backlog) = history.backlog() else { continue };
                prop_assert!(backlog.records >= 0 && backlog.records <= positions.written - positions.read);
                prop_assert!(backlog.seconds >= 0.0);
                prop_assert!(backlog.seconds <= at.duration_since(start).as_secs_f64() + 1e-6);
                prop_assert!(backlog.seconds <= MAX_SPAN.as_secs_f64());
                prop_assert!(backlog.arrival_per_second >= 0.0);
                prop_assert!(backlog.service_per_second.is_none_or(|rate| rate >= 0.0));
                prop_assert_eq!(backlog.records == 0, backlog.seconds == 0.0);
            }
        }
    }
}
