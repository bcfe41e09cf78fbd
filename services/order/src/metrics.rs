//! What the order service counts.

use process::metrics::{Counter, Family, Gauge, Histograms, Metrics, SECONDS};
use prometheus_client::encoding::EncodeLabelSet;

use crate::order::{Ignored, Shown};

/// What the order service counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OrderMetrics {
    ignored: Family<Reason, Counter>,
    settled: Histograms<Settled>,
    /// How many requests wait for their order to be settled.
    pub waiting: Gauge,
    /// How many orders are on their way.
    pub on_their_way: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Settled {
    status: &'static str,
}

impl OrderMetrics {
    /// Registers them.
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            ignored: metrics.counters("order_facts_ignored", "Facts about orders that changed nothing, by reason"),
            settled: metrics.histograms(
                "order_settle_seconds",
                "Time from an order's placing to its being settled, by how it was",
                SECONDS,
            ),
            waiting: metrics.gauge("order_requests_waiting", "Requests that wait for their order to be settled"),
            on_their_way: metrics.gauge("order_orders_on_their_way", "Orders that wait for stock or their payment"),
        }
    }

    /// Counts a fact that changed nothing.
    pub fn ignored(&self, reason: Ignored) {
        self.ignored.get_or_create(&Reason { reason: reason.as_str() }).inc();
    }

    /// Takes note of how long an order took that was settled just now.
    pub fn settled(&self, order: &Shown) {
        let took = (order.updated_at - order.placed_at).to_std().unwrap_or_default();
        self.settled.get_or_create(&Settled { status: order.status.as_str() }).observe(took.as_secs_f64());
    }
}
