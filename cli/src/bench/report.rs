//! What a run has found, for people and for programs.

mod text;

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::books::{EndCount, Judgement};
use super::latency::Percentiles;
use super::mix::Mix;
use super::tally::{Specials, Tally};
use super::{BenchSettings, Output};

/// What a run has found. As JSON its names are stable: they are added to, not changed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was asked for.
    pub load: LoadReport,
    /// Orders that the system has named.
    pub accepted: Throughput,
    /// Orders whose end is known.
    pub settled: Throughput,
    /// Where the time went.
    pub latency: LatencyReport,
    /// How the orders ended, warm-up included.
    pub ends: Vec<EndCount>,
    /// What the special orders came to, warm-up included.
    pub specials: Specials,
    /// Calls that were made again, by what they were answered.
    pub retried: Vec<AnswerCount>,
    /// Answers that should not be.
    pub unexpected: Vec<UnexpectedCount>,
    /// Orders that could not be waited for, because too many were.
    pub unsampled: u64,
    /// Waits that were over before the order was settled.
    pub waits_over: u64,
    /// What went wrong.
    pub failures: Failures,
    #[serde(skip)]
    output: Output,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    /// Where.
    pub target: String,
    /// Orders to place.
    pub orders: u32,
    /// Orders placed before them to warm up.
    pub warmup_orders: u32,
    /// Orders per second; null for as many as there are.
    pub rate: Option<f64>,
    /// Orders on their way at once, without those that are waited for.
    pub connections: u16,
    /// Products.
    pub products: u32,
    /// What the orders follow from.
    pub seed: u64,
    /// What is special about how many of them, in percent.
    pub mix: Mix,
}

/// So many in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throughput {
    /// How many.
    pub orders: usize,
    /// From the first intended arrival to the last answer; for settled orders, by the system's own clock from the first
    /// order's placing to the last one's last change, its capture included.
    pub seconds: f64,
    /// How many a second.
    pub per_second: f64,
}

/// Where the time went; null where nothing was measured.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyReport {
    /// From the intended arrival to the answer that names the order.
    pub accept: Option<Percentiles>,
    /// From the intended arrival to the answer that tells the order's end, of the orders that were waited for.
    pub settle: Option<Percentiles>,
    /// By the system's clock, from an order's placing to its last change, its capture included.
    pub last_change: Option<Percentiles>,
    /// At a given rate, from the intended arrival to the request: how late the generator was.
    pub behind: Option<Percentiles>,
}

/// How often there was an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerCount {
    /// A status, or what else came.
    pub answer: String,
    /// How often.
    pub count: u64,
}

/// How often a call got an answer that should not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnexpectedCount {
    /// The call.
    pub call: &'static str,
    /// A status, or what else came.
    pub answer: String,
    /// How often.
    pub count: u64,
}

/// What went wrong, in orders. A run without any has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    /// Orders that no answer has named.
    pub unplaced: usize,
    /// Orders that an answer has named and the system does not know.
    pub lost: usize,
    /// Orders that were not settled in time.
    pub unsettled: usize,
    /// Settled orders that the list did not show in time.
    pub unlisted: usize,
    /// Orders that ended in another way than they had to.
    pub ended_otherwise: usize,
    /// Orders sent twice under one key whose answers named two.
    pub duplicates_that_differ: usize,
    /// Orders that exist and no answer has named, beyond those that went without an answer.
    pub unclaimed: usize,
    /// Answers that should not be.
    pub unexpected_answers: usize,
}

/// What a run hands over when it is over.
pub(super) struct Run {
    pub warmup_orders: u32,
    /// From the first intended arrival to the last accepting answer.
    pub accepting: Duration,
    /// Orders of the warm-up and the measured part that were to be placed.
    pub wanted: usize,
    pub tally: Tally,
    pub judgement: Judgement,
}

impl Report {
    pub(super) fn of(settings: &BenchSettings, run: Run) -> Self {
        let failures = Failures::of(&run);
        let Run { warmup_orders, accepting, tally, judgement, .. } = run;
        let accepted = tally.placed.iter().filter(|placed| placed.measured).count();
        let span = judgement.span.and_then(|span| span.to_std().ok()).unwrap_or_default();
        let unexpected = tally.unexpected.into_iter();
        Self {
            load: LoadReport::of(settings, warmup_orders),
            accepted: Throughput::of(accepted, accepting),
            settled: Throughput::of(judgement.settled, span),
            latency: LatencyReport {
                accept: tally.accept.percentiles(),
                settle: tally.settle.percentiles(),
                last_change: judgement.changes.percentiles(),
                behind: settings.rate.and(tally.behind.percentiles()),
            },
            ends: judgement.ends,
            specials: tally.specials,
            retried: tally.retried.into_iter().map(|(answer, count)| AnswerCount { answer, count }).collect(),
            unexpected: unexpected.map(|((call, answer), count)| UnexpectedCount { call, answer, count }).collect(),
            unsampled: tally.unsampled,
            waits_over: tally.waits_over,
            failures,
            output: settings.output,
        }
    }

    /// Prints it to stdout as the settings say. The code is a failure unless it [passed](Self::passed).
    pub fn print(&self) -> ExitCode {
        match self.output {
            Output::Text => print!("{self}"),
            Output::Json => println!("{}", self.to_json()),
        }
        if self.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Whether nothing went wrong.
    pub fn passed(&self) -> bool {
        self.failures == Failures::default()
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        // Numbers and text under fixed names: there is nothing here that JSON cannot hold.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl LoadReport {
    fn of(settings: &BenchSettings, warmup_orders: u32) -> Self {
        Self {
            target: settings.target.to_string(),
            orders: settings.orders,
            warmup_orders,
            rate: settings.rate,
            connections: settings.connections,
            products: settings.products,
            seed: settings.seed,
            mix: settings.mix,
        }
    }
}

impl Throughput {
    fn of(orders: usize, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 orders")]
        let per_second = if seconds > 0.0 { orders as f64 / seconds } else { 0.0 };
        Self { orders, seconds, per_second }
    }
}

impl Failures {
    fn of(run: &Run) -> Self {
        let unexpected: u64 = run.tally.unexpected.values().sum();
        let unplaced = run.wanted.saturating_sub(run.tally.placed.len());
        Self {
            unplaced,
            lost: run.judgement.lost,
            unsettled: run.judgement.unsettled,
            unlisted: run.judgement.unlisted,
            ended_otherwise: run.judgement.otherwise,
            duplicates_that_differ: usize::try_from(run.tally.specials.duplicates_that_differ).unwrap_or(usize::MAX),
            // An order whose answers were all lost may well exist.
            unclaimed: run.judgement.unclaimed.saturating_sub(unplaced),
            unexpected_answers: usize::try_from(unexpected).unwrap_or(usize::MAX),
        }
    }
}
