//! What the process counts, for Prometheus and for Spring's metrics endpoint.

mod exposition;
mod http;
mod system;

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::MetricConstructor;
pub use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::{Metric, Registry, Unit};

pub use self::exposition::{AvailableTag, Measurement, MetricReport, Statistic};
pub(crate) use self::exposition::{Format, describe, names, render};
pub(crate) use self::http::RequestTimes;
use crate::lock;

/// What every name registered here starts with.
const PREFIX: &str = "ordersystem_";

/// The label that tells apart the services of one process.
const SERVICE: &str = "service";

/// Upper bounds of time buckets, in seconds: from a cached read to the longest wait that is still worth telling apart.
pub const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A set of labels: a struct that derives `EncodeLabelSet`, `Clone`, `Debug`, `Eq` and `Hash`.
pub trait Labels: EncodeLabelSet + Clone + Debug + Eq + Hash + Send + Sync + 'static {}

impl<L: EncodeLabelSet + Clone + Debug + Eq + Hash + Send + Sync + 'static> Labels for L {}

/// One histogram per set of labels.
pub type Histograms<L> = Family<L, Histogram, Buckets>;

/// The upper bounds that every histogram of a family has.
#[derive(Debug, Clone, Copy)]
pub struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// Where a process, or one service of it, counts. Cheap to clone.
///
/// A name is given without the prefix `ordersystem_` and, for a counter, without `_total`; a time ends in `_seconds`
/// and a size in `_bytes`. A help text has no full stop. A name is registered once per service.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    service: Option<&'static str>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(system::System::starting_now()));
        Self { registry: Arc::new(Mutex::new(registry)), service: None }
    }

    /// The same metrics, where whatever is registered carries the label `service`.
    #[must_use]
    pub fn for_service(&self, service: &'static str) -> Self {
        Self { registry: Arc::clone(&self.registry), service: Some(service) }
    }

    /// A number that only grows.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.register(name, help, Counter::default())
    }

    /// Numbers that only grow, one per set of labels.
    pub fn counters<L: Labels>(&self, name: &str, help: &str) -> Family<L, Counter> {
        self.register(name, help, Family::default())
    }

    /// A number that goes up and down.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(name, help, Gauge::default())
    }

    /// Numbers that go up and down, one per set of labels.
    pub fn gauges<L: Labels>(&self, name: &str, help: &str) -> Family<L, Gauge> {
        self.register(name, help, Family::default())
    }

    /// How often a value was how large; `bounds` are the buckets' upper bounds, [`SECONDS`] for a time.
    pub fn histogram(&self, name: &str, help: &str, bounds: &'static [f64]) -> Histogram {
        self.register(name, help, Buckets(bounds).new_metric())
    }

    /// Histograms, one per set of labels.
    pub fn histograms<L: Labels>(&self, name: &str, help: &str, bounds: &'static [f64]) -> Histograms<L> {
        self.register(name, help, Family::new_with_constructor(Buckets(bounds)))
    }

    /// Everything counted so far, as the encoder writes it: a family may come in several pieces, one per service.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &lock(&self.registry))?;
        Ok(text)
    }

    fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.register_whole_name(&format!("{PREFIX}{name}"), help, metric)
    }

    fn register_whole_name<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = lock(&self.registry);
        let registry = match self.service {
            None => &mut *registry,
            Some(service) => registry.sub_registry_with_label((SERVICE.into(), service.into())),
        };
        match unit_of(name) {
            (stem, Some(unit)) => registry.register_with_unit(stem, help, unit, metric.clone()),
            (name, None) => registry.register(name, help, metric.clone()),
        }
        metric
    }
}

/// The encoder appends the unit to the name by itself.
fn unit_of(name: &str) -> (&str, Option<Unit>) {
    let with = |suffix, unit| name.strip_suffix(suffix).map(|stem| (stem, Some(unit)));
    with("_seconds", Unit::Seconds).or_else(|| with("_bytes", Unit::Bytes)).unwrap_or((name, None))
}
