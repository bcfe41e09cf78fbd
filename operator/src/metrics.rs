//! What the operator counts.

use process::metrics::{Counter, Family, Gauge, Histogram, Metrics, SECONDS};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Ended {
    /// All is as wanted, or on its way.
    Done,
    /// The spec cannot be used.
    Refused,
    /// Something failed; it is repeated.
    Failed,
}

/// Labels of the counter of reconciliations.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reconciled {
    pub ended: Ended,
}

/// What the operator counts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OperatorMetrics {
    pub reconciled: Family<Reconciled, Counter>,
    pub reconcile_seconds: Histogram,
    pub writes: Counter,
    pub systems: Gauge,
    pub leads: Gauge,
}

impl OperatorMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            reconciled: metrics.counters("operator_reconciliations", "Reconciliations, by how they ended"),
            reconcile_seconds: metrics.histogram("operator_reconcile_seconds", "Time of one reconciliation", SECONDS),
            writes: metrics.counter("operator_writes", "Objects applied, removed or scaled, and statuses patched"),
            systems: metrics.gauge("operator_systems", "Order systems that are looked after"),
            leads: metrics.gauge("operator_leads", "Whether this replica is the one that works"),
        }
    }
}
