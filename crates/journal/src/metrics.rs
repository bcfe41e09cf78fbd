//! What a journal counts.

use process::metrics::{Counter, Family, Gauge, Histogram, Metrics, SECONDS};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

/// Bucket bounds for how many items a batch has.
const ITEMS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// What became of a consumed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Fate {
    Applied,
    Passed,
    Duplicate,
    Gap,
    DeadLetter,
}

/// Labels of the counter of consumed records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Consumed {
    pub source: &'static str,
    pub fate: Fate,
}

/// What one journal counts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct JournalMetrics {
    pub batch_items: Histogram,
    pub batch_seconds: Histogram,
    pub appended: Counter,
    pub consumed: Family<Consumed, Counter>,
    pub retried: Counter,
    pub lanes_owned: Gauge,
    pub queued: Gauge,
    pub lag_seconds: Histogram,
    pub republished: Counter,
}

impl JournalMetrics {
    /// Registers them for the journal in `schema`.
    pub fn register(metrics: &Metrics, schema: &'static str) -> Self {
        let metrics = metrics.for_service(schema);
        Self {
            batch_items: metrics.histogram(
                "journal_batch_items",
                "Commands and records settled by one transaction",
                ITEMS,
            ),
            batch_seconds: metrics.histogram("journal_batch_seconds", "Time of one transaction", SECONDS),
            appended: metrics.counter("journal_events_appended", "Events appended"),
            consumed: metrics.counters("journal_records_consumed", "Records consumed, by what became of them"),
            retried: metrics.counter("journal_batches_retried", "Transactions that had to be repeated"),
            lanes_owned: metrics.gauge("journal_lanes_owned", "Lanes that this replica owns"),
            queued: metrics.gauge("journal_commands_queued", "Commands that wait for a batch"),
            lag_seconds: metrics.histogram(
                "journal_lag_seconds",
                "From a record's time to its being taken in",
                SECONDS,
            ),
            republished: metrics
                .counter("journal_lanes_republished", "Times that a lane was published again from the database"),
        }
    }
}
