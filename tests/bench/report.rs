//! What was measured, for people and for programs.

use std::fmt;

use serde_json::{Value, json};
use tests::system::Service;

use crate::floor::Floor;
use crate::meter::Part;
use crate::profile::{Load, Measured};

const MICROS: f64 = 1e6;
const MEBIBYTE: f64 = 1024.0 * 1024.0;
/// The load whose latency stands for all.
const HEADLINE_RATE: Load = Load::Rate(3000);

/// The parts whose CPU is told apart, and their names.
const PARTS: [(Part, &str); 8] = [
    (Part::PostgreSql, "postgresql"),
    (Part::Vacuum, "vacuum"),
    (Part::Kafka, "kafka"),
    (Part::Service(Service::Order), "order"),
    (Part::Service(Service::Inventory), "inventory"),
    (Part::Service(Service::Payment), "payment"),
    (Part::Service(Service::Notification), "notification"),
    (Part::Generator, "generator"),
];

/// What was measured over each transport.
#[derive(Debug, Default)]
pub struct Report(Vec<Transport>);

#[derive(Debug)]
struct Transport {
    name: String,
    runs: Vec<Measured>,
    floor: Option<Floor>,
}

impl Report {
    /// Adds what one transport showed.
    pub fn add(&mut self, name: &str, runs: Vec<Measured>, floor: Option<Floor>) {
        self.0.push(Transport { name: name.to_owned(), runs, floor });
    }

    /// All of it. At the top, the figures of the Kafka transport: those of the run flat out, and the latency at 3,000
    /// orders a second, and what share of the rate is left with one product in every order and with a full store; null where
    /// that was not run.
    pub fn to_json(&self) -> String {
        let kafka = self.0.iter().find(|transport| transport.name == "kafka");
        let flat_out = kafka.and_then(|transport| transport.run(Load::FlatOut));
        let steady = kafka.and_then(|transport| transport.run(HEADLINE_RATE));
        let settle = steady.and_then(|run| run.report.latency.settle);
        let floor = kafka.and_then(|transport| transport.floor);
        let value = json!({
            "settledPerSecond": flat_out.map(|run| run.report.settled.per_second),
            "cpuMicrosPerOrder": flat_out.map(Measured::cpu_micros),
            "floorRatio": flat_out.zip(floor).map(|(run, floor)| run.cpu_micros() / (floor.total() * MICROS)),
            "p50Millis": settle.map(|settle| settle.p50_millis),
            "p99Millis": settle.map(|settle| settle.p99_millis),
            "hotProductShare": kafka.and_then(|transport| transport.share(Load::Hot)),
            "fullStoreShare": kafka.and_then(|transport| transport.share(Load::Stored)),
            "transports": self.0.iter().map(Transport::to_json).collect::<Vec<_>>(),
        });
        format!("{value:#}\n")
    }
}

impl Transport {
    fn run(&self, load: Load) -> Option<&Measured> {
        self.runs.iter().find(|run| run.load == load)
    }

    /// The rate of `load`, as a share of that of the run flat out that is nearest to it.
    fn share(&self, load: Load) -> Option<f64> {
        let whole = if load == Load::Stored { Load::New } else { Load::FlatOut };
        let (all, some) = (self.run(whole)?, self.run(load)?);
        Some(some.share_of(all))
    }

    fn to_json(&self) -> Value {
        let floor = self.floor.map(|floor| {
            json!({
                "cpuMicrosPerOrder": floor.total() * MICROS,
                "postgresql": floor.postgres * MICROS,
                "kafka": floor.kafka * MICROS,
                "client": floor.client * MICROS,
            })
        });
        json!({ "transport": self.name, "loads": self.runs.iter().map(Measured::to_json).collect::<Vec<_>>(), "floor": floor })
    }
}

impl Measured {
    fn orders(&self) -> f64 {
        f64::from(u32::try_from(self.report.accepted.orders).unwrap_or(u32::MAX)).max(1.0)
    }

    /// Its rate, as a share of that of `whole`.
    pub fn share_of(&self, whole: &Self) -> f64 {
        self.report.settled.per_second / whole.report.settled.per_second
    }

    /// CPU of the system without the generator, in microseconds an order.
    fn cpu_micros(&self) -> f64 {
        self.cost.system_cpu() * MICROS / self.orders()
    }

    /// How busy all cores were, the generator included, in percent.
    fn busy_percent(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = f64::from(u32::try_from(cores).unwrap_or(u32::MAX));
        100.0 * self.cost.all_cpu() / self.cost.seconds / cores
    }

    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
    fn peak_mebibytes(&self) -> f64 {
        self.peak_memory as f64 / MEBIBYTE
    }

    fn cpu_of(&self, part: Part) -> f64 {
        self.cost.cpu_seconds.get(&part).copied().unwrap_or_default() * MICROS / self.orders()
    }

    fn to_json(&self) -> Value {
        let orders = self.orders();
        let cpu = PARTS.map(|(part, name)| (name.to_owned(), json!(self.cpu_of(part))));
        json!({
            "load": self.load.to_string(),
            "run": self.report,
            "cpuMicrosPerOrder": self.cpu_micros(),
            "cpuMicrosPerOrderByProcess": serde_json::Map::from_iter(cpu),
            "busyPercent": self.busy_percent(),
            "itemsPerBatch": self.cost.items_per_batch,
            "flushesPerOrder": self.cost.flushes / orders,
            "rowsPerOrder": self.cost.rows / orders,
            "walBytesPerOrder": self.cost.wal_bytes / orders,
            "kafkaBytesPerOrder": self.cost.kafka_bytes / orders,
            "peakMemoryBytes": self.peak_memory,
        })
    }
}

/// One line, for whoever waits for the table.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:.0} settled a second, ", self.load, self.report.settled.per_second)?;
        if let Some(settle) = self.report.latency.settle {
            write!(f, "p50 {:.0} ms, p99 {:.0} ms, ", settle.p50_millis, settle.p99_millis)?;
        }
        let (cost, busy, memory) = (self.cpu_micros(), self.busy_percent(), self.peak_mebibytes());
        let (postgres, vacuum) = (self.cpu_of(Part::PostgreSql), self.cpu_of(Part::Vacuum));
        write!(f, "{cost:.0} µs an order (PostgreSQL {postgres:.0}, vacuum {vacuum:.0}), ")?;
        write!(f, "{busy:.0} % busy, {memory:.0} MiB")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|transport| transport.fmt(f))
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, cell: &dyn Fn(&Measured) -> String| {
            write!(f, "  {name:<28}")?;
            self.runs.iter().try_for_each(|run| write!(f, "{:>14}", cell(run)))?;
            writeln!(f)
        };
        let millis = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"));
        writeln!(f, "\nover {}", self.name)?;
        row(f, "load", &|run| run.load.to_string())?;
        row(f, "settled/s", &|run| format!("{:.0}", run.report.settled.per_second))?;
        row(f, "placed → accepted p50 ms", &|run| millis(run.report.latency.accept.map(|p| p.p50_millis)))?;
        row(f, "placed → accepted p99 ms", &|run| millis(run.report.latency.accept.map(|p| p.p99_millis)))?;
        row(f, "placed → settled p50 ms", &|run| millis(run.report.latency.settle.map(|p| p.p50_millis)))?;
        row(f, "placed → settled p99 ms", &|run| millis(run.report.latency.settle.map(|p| p.p99_millis)))?;
        row(f, "items per batch", &|run| format!("{:.1}", run.cost.items_per_batch))?;
        row(f, "flushes per order", &|run| format!("{:.3}", run.cost.flushes / run.orders()))?;
        row(f, "rows per order", &|run| format!("{:.1}", run.cost.rows / run.orders()))?;
        row(f, "WAL bytes per order", &|run| format!("{:.0}", run.cost.wal_bytes / run.orders()))?;
        row(f, "Kafka bytes per order", &|run| format!("{:.0}", run.cost.kafka_bytes / run.orders()))?;
        for (part, name) in PARTS {
            row(f, &format!("CPU µs/order, {name}"), &|run| format!("{:.0}", run.cpu_of(part)))?;
        }
        row(f, "CPU µs/order, system", &|run| format!("{:.0}", run.cpu_micros()))?;
        row(f, "cores busy, all %", &|run| format!("{:.0}", run.busy_percent()))?;
        row(f, "largest service, peak MiB", &|run| format!("{:.0}", run.peak_mebibytes()))?;
        for (load, of) in [(Load::Hot, "flat out"), (Load::Stored, "on a new store")] {
            if let Some(share) = self.share(load) {
                writeln!(f, "  {load}: {:.0} % of the rate {of}", 100.0 * share)?;
            }
        }
        let Some(floor) = &self.floor else { return Ok(()) };
        writeln!(
            f,
            "  floor: {:.0} µs/order (postgresql {:.0}, kafka {:.0}, client {:.0})",
            floor.total() * MICROS,
            floor.postgres * MICROS,
            floor.kafka * MICROS,
            floor.client * MICROS
        )?;
        match self.run(Load::FlatOut) {
            Some(run) => writeln!(f, "  flat out, {:.2} times the floor", run.cpu_micros() / (floor.total() * MICROS)),
            None => Ok(()),
        }
    }
}
