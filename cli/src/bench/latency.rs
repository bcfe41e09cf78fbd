//! Latencies: every one is kept and sorted at the end, so a percentile is a time that was measured, not a bucket's edge.

use std::time::Duration;

use serde::Serialize;

/// Times of one kind, in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies(Vec<u64>);

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    /// How many were measured.
    pub samples: usize,
    /// Half were at most this.
    pub p50_millis: f64,
    /// 99 in 100 were at most this.
    pub p99_millis: f64,
    /// 999 in 1,000 were at most this.
    pub p999_millis: f64,
    /// The longest.
    pub max_millis: f64,
}

impl Latencies {
    pub(super) fn add(&mut self, time: Duration) {
        self.0.push(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The distribution, unless nothing was measured.
    pub(super) fn percentiles(mut self) -> Option<Percentiles> {
        self.0.sort_unstable();
        let times = &self.0;
        let max = *times.last()?;
        Some(Percentiles {
            samples: times.len(),
            p50_millis: millis(nearest_rank(times, 500)),
            p99_millis: millis(nearest_rank(times, 990)),
            p999_millis: millis(nearest_rank(times, 999)),
            max_millis: millis(max),
        })
    }
}

/// The smallest of the sorted `times` that at least `per_mille` in 1,000 of them do not exceed.
fn nearest_rank(times: &[u64], per_mille: usize) -> u64 {
    let rank = (times.len() * per_mille).div_ceil(1000);
    times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a time of a run is far below 2^52 microseconds, 142 years")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percentiles(micros: impl IntoIterator<Item = u64>) -> Option<Percentiles> {
        let mut latencies = Latencies::default();
        micros.into_iter().for_each(|micros| latencies.add(Duration::from_micros(micros)));
        latencies.percentiles()
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let expected =
            Percentiles { samples: 10_000, p50_millis: 5.0, p99_millis: 9.9, p999_millis: 9.99, max_millis: 10.0 };
        assert_eq!(percentiles((1..=10_000).rev()), Some(expected));
    }

    #[test]
    fn one_time_is_every_percentile_and_none_has_no_percentiles() {
        let expected = Percentiles { samples: 1, p50_millis: 7.0, p99_millis: 7.0, p999_millis: 7.0, max_millis: 7.0 };
        assert_eq!(percentiles([7000]), Some(expected));
        assert_eq!(percentiles([]), None);
    }
}
