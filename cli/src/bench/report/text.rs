//! The report for a person to read.

use std::fmt;

use super::{AnswerCount, EndCount, Failures, LatencyReport, Report, Specials, Throughput, UnexpectedCount};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Specials { duplicated, cancelled, amended, amended_too_late, .. } = self.specials;
        writeln!(f, "{:<10}{}", "accepted", self.accepted)?;
        writeln!(f, "{:<10}{}", "settled", self.settled)?;
        write!(f, "\n{}\n", self.latency)?;
        writeln!(f, "{:<30}{:>10}{:>10}", "ended", "expected", "found")?;
        for end in &self.ends {
            writeln!(f, "{end}")?;
        }
        write!(f, "\nsent twice {duplicated}, called off {cancelled}, ")?;
        writeln!(f, "amended {amended} (too late for {amended_too_late} more)")?;
        self.write_answers(f)?;
        for (count, sentence) in self.failures.sentences() {
            writeln!(f, "FAILED: {count} {sentence}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_answers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unsampled > 0 {
            writeln!(f, "not waited for: {}, as too many were", self.unsampled)?;
        }
        if self.waits_over > 0 {
            writeln!(f, "waits that were over too early: {}", self.waits_over)?;
        }
        for AnswerCount { answer, count } in &self.retried {
            writeln!(f, "repeated after `{answer}`: {count}")?;
        }
        for UnexpectedCount { call, answer, count } in &self.unexpected {
            writeln!(f, "unexpected answer to `{call}`, `{answer}`: {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} orders in {:.1} s: {:.1} orders/s", self.orders, self.seconds, self.per_second)
    }
}

impl fmt::Display for LatencyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<14}{:>9}{:>9}{:>9}{:>9}{:>9}", "latency, ms", "p50", "p99", "p99.9", "max", "samples")?;
        let rows = [
            ("accept", self.accept),
            ("settle", self.settle),
            ("last change", self.last_change),
            ("behind", self.behind),
        ];
        for (name, percentiles) in rows {
            let Some(times) = percentiles else { continue };
            write!(f, "{name:<14}{:>9.1}{:>9.1}", times.p50_millis, times.p99_millis)?;
            writeln!(f, "{:>9.1}{:>9.1}{:>9}", times.p999_millis, times.max_millis, times.samples)?;
        }
        Ok(())
    }
}

impl fmt::Display for EndCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.reason {
            Some(reason) => format!("{}: {reason}", self.status),
            None => self.status.to_owned(),
        };
        write!(f, "{name:<30}{:>10}{:>10}", self.expected, self.found)
    }
}

impl Failures {
    /// Each with its sentence.
    fn sentences(self) -> impl Iterator<Item = (usize, &'static str)> {
        let all = [
            (self.unplaced, "orders were not placed"),
            (self.lost, "orders were accepted and are lost"),
            (self.unsettled, "orders were not settled in time"),
            (self.unlisted, "settled orders are missing in the list"),
            (self.ended_otherwise, "orders ended otherwise than they had to"),
            (self.duplicates_that_differ, "orders sent twice under one key became two"),
            (self.unclaimed, "orders exist that no answer has named"),
            (self.unexpected_answers, "answers should not be"),
        ];
        all.into_iter().filter(|(count, _)| *count > 0)
    }
}
