//! What the kernel counts for this process, under the names every Prometheus client uses, read when asked for.
//!
//! Source: proc(5). Where there is no `/proc` only the start time is told.

use std::fmt;
use std::fs::{read_dir, read_to_string};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Clock ticks per second in `/proc/self/stat`: Linux's `USER_HZ`, part of its ABI.
const TICKS_PER_SECOND: f64 = 100.0;

/// Where user and system time stand in `/proc/self/stat`, counted from the field behind the command's name.
const USER_TICKS: usize = 11;

/// A metric but for its value; the encoder appends the unit to the name.
struct Described {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
}

const START_TIME: Described =
    Described { name: "process_start_time", help: "When the process started, since 1970.", unit: Some(Unit::Seconds) };

const CPU_TIME: Described =
    Described { name: "process_cpu", help: "User and system CPU time spent.", unit: Some(Unit::Seconds) };

const RESIDENT: Described =
    Described { name: "process_resident_memory", help: "Memory held in RAM.", unit: Some(Unit::Bytes) };

const OPEN_FILES: Described = Described { name: "process_open_fds", help: "File descriptors open.", unit: None };

#[derive(Debug)]
pub(crate) struct System {
    /// Seconds since 1970.
    started: f64,
}

impl System {
    pub(crate) fn starting_now() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Self { started: since_1970.unwrap_or_default().as_secs_f64() }
    }
}

impl Collector for System {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        tell(&mut encoder, &START_TIME, &ConstGauge::new(self.started))?;
        if let Some(seconds) = cpu_seconds() {
            tell(&mut encoder, &CPU_TIME, &ConstCounter::new(seconds))?;
        }
        if let Some(bytes) = resident_bytes() {
            tell(&mut encoder, &RESIDENT, &ConstGauge::new(bytes))?;
        }
        if let Some(count) = open_files() {
            tell(&mut encoder, &OPEN_FILES, &ConstGauge::new(count))?;
        }
        Ok(())
    }
}

fn tell(encoder: &mut DescriptorEncoder, described: &Described, metric: &dyn EncodeMetric) -> fmt::Result {
    let Described { name, help, unit } = described;
    let kind = metric.metric_type();
    metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), kind)?)
}

fn cpu_seconds() -> Option<f64> {
    let stat = read_to_string("/proc/self/stat").ok()?;
    // The command's name is in brackets and may itself hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(USER_TICKS).take(2);
    let seconds = ticks.map(|ticks| ticks.parse::<f64>().map(|ticks| ticks / TICKS_PER_SECOND));
    seconds.sum::<Result<f64, _>>().ok()
}

fn resident_bytes() -> Option<u64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn open_files() -> Option<u64> {
    // Reading the directory holds one descriptor itself.
    let open = read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u64::try_from(open).ok()
}
