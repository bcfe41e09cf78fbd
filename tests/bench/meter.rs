//! What a stretch of time cost: CPU by process, rows, flushes and bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::Context;
use tests::kafka::Kafka;
use tests::postgres::{Server, TestDatabase};
use tests::system::{Replica, Service, System};
use tokio::time::sleep;

/// What is written since the server began: rows of this database, bytes of its log.
const WRITTEN: &str = "
SELECT (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::int8 FROM pg_stat_user_tables),
       (SELECT wal_bytes::int8 FROM pg_stat_wal)";
/// Flushes of the log, where PostgreSQL counts them: with all other files from 18 on, apart before.
const FLUSHES: &str = "SELECT sum(fsyncs)::int8 FROM pg_stat_io WHERE object = 'wal'";
const FLUSHES_BEFORE_18: &str = "SELECT wal_sync FROM pg_stat_wal";
/// Workers that tidy up.
const VACUUMS: &str = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'";
/// What such a worker calls itself, to the system.
const VACUUM_TITLE: &str = "autovacuum worker";
/// For how long none has to work until all is taken to be tidy, if the load takes as long: they come once a minute, to one
/// database after the other.
const VACUUM_QUIET: Duration = Duration::from_secs(30);
/// How long is waited for that.
const VACUUM_DEADLINE: Duration = Duration::from_mins(3);
const VACUUM_LOOK: Duration = Duration::from_millis(200);
/// `server_version_num` of PostgreSQL 18.
const VERSION_18: i32 = 180_000;

/// A process, or several of a kind, whose CPU is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All of it but [`Part::Vacuum`].
    PostgreSql,
    /// PostgreSQL's workers that tidy up, and analyse.
    Vacuum,
    Kafka,
    Service(Service),
    Generator,
}

/// The counters at one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    cpu_seconds: BTreeMap<Part, f64>,
    rows: i64,
    wal_bytes: i64,
    flushes: i64,
    kafka_bytes: u64,
    batches: f64,
    items: f64,
}

/// What a stretch of time cost.
#[derive(Clone, Debug)]
pub struct Cost {
    pub seconds: f64,
    pub cpu_seconds: BTreeMap<Part, f64>,
    pub rows: f64,
    pub wal_bytes: f64,
    pub flushes: f64,
    pub kafka_bytes: f64,
    /// Of the batches of every journal.
    pub items_per_batch: f64,
}

/// Reads the counters of a running system.
pub struct Meter<'s> {
    pub system: Option<&'s System>,
    pub postgres: &'s Server,
    pub database: &'s TestDatabase,
    pub kafka: Option<&'s Kafka>,
}

impl<'s> Meter<'s> {
    /// Reads those of `system`.
    pub fn of(system: &'s System, postgres: &'s Server, kafka: Option<&'s Kafka>) -> Self {
        Self { system: Some(system), postgres, database: system.database(), kafka }
    }

    /// The counters now.
    pub async fn read(&self) -> anyhow::Result<Reading> {
        let (batches, items) = self.batches().await?;
        let client = self.database.connect().await?;
        let row = client.query_one(WRITTEN, &[]).await?;
        let version = client.query_one("SELECT current_setting('server_version_num')::int4", &[]).await?;
        let flushes = if version.get::<_, i32>(0) < VERSION_18 { FLUSHES_BEFORE_18 } else { FLUSHES };
        let flushes = client.query_one(flushes, &[]).await?;
        let kafka_bytes = self.kafka.map(|kafka| log_bytes(&kafka.folder().path().join("data"))).transpose()?;
        Ok(Reading {
            at: Instant::now(),
            cpu_seconds: self.cpu().await?,
            rows: row.get::<_, Option<i64>>(0).unwrap_or_default(),
            wal_bytes: row.get(1),
            flushes: flushes.get(0),
            kafka_bytes: kafka_bytes.unwrap_or_default(),
            batches,
            items,
        })
    }

    async fn cpu(&self) -> anyhow::Result<BTreeMap<Part, f64>> {
        let postmaster = self.postgres.process_id().context("PostgreSQL does not run")?;
        let (rest, vacuum) = postgres(postmaster)?;
        let mut cpu = BTreeMap::from([
            (Part::PostgreSql, rest),
            (Part::Vacuum, vacuum),
            (Part::Generator, seconds(std::process::id())?.own),
        ]);
        if let Some(kafka) = self.kafka {
            cpu.insert(Part::Kafka, seconds(u32::try_from(kafka.process_id()?)?)?.own);
        }
        for (service, replica) in self.services() {
            cpu.insert(Part::Service(service), seconds(replica.process_id().await)?.own);
        }
        Ok(cpu)
    }

    /// Waits until PostgreSQL has tidied up after what was written, so that a load of some `seconds`, or the floor, does not
    /// pay for it.
    pub async fn wait_for_vacuum(&self, seconds: u32) -> anyhow::Result<()> {
        eprintln!("PostgreSQL tidies up …");
        let client = self.database.connect().await?;
        let deadline = Instant::now() + VACUUM_DEADLINE;
        let quiet = VACUUM_QUIET.min(Duration::from_secs(seconds.into()));
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < quiet {
            if Instant::now() > deadline {
                eprintln!(
                    "PostgreSQL still tidies up after {} s; what comes next pays for some of it",
                    VACUUM_DEADLINE.as_secs()
                );
                break;
            }
            if client.query_one(VACUUMS, &[]).await?.get::<_, i64>(0) > 0 {
                quiet_since = Instant::now();
            }
            sleep(VACUUM_LOOK).await;
        }
        Ok(())
    }

    /// Has the services' largest resident sets counted from now on, `proc_pid_clear_refs(5)`.
    pub async fn forget_peak_memory(&self) -> anyhow::Result<()> {
        for (_, replica) in self.services() {
            fs::write(format!("/proc/{}/clear_refs", replica.process_id().await), "5")?;
        }
        Ok(())
    }

    /// The largest resident set that a service has had, in bytes.
    pub async fn peak_memory(&self) -> anyhow::Result<u64> {
        let mut peak = 0;
        for (_, replica) in self.services() {
            let status = fs::read_to_string(format!("/proc/{}/status", replica.process_id().await))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak memory")?;
            let kilobytes: u64 = line.trim_end_matches("kB").trim().parse()?;
            peak = peak.max(kilobytes * 1024);
        }
        Ok(peak)
    }

    fn services(&self) -> impl Iterator<Item = (Service, &Replica)> {
        self.system.into_iter().flat_map(|system| Service::ALL.map(|service| (service, system.replica(service, 0))))
    }

    /// Batches, and the items in them, of every journal.
    async fn batches(&self) -> anyhow::Result<(f64, f64)> {
        let (mut batches, mut items) = (0.0, 0.0);
        for (_, replica) in self.services() {
            let metrics = replica.client()?.get("/actuator/prometheus").await?.expect(200)?.text();
            batches += sum(&metrics, "ordersystem_journal_batch_items_count");
            items += sum(&metrics, "ordersystem_journal_batch_items_sum");
        }
        Ok((batches, items))
    }
}

impl Reading {
    /// What happened from `earlier` to this one.
    pub fn since(&self, earlier: &Self) -> Cost {
        let cpu = |(part, now): (&Part, &f64)| {
            // A process that was started again meanwhile counts from its start.
            let before = earlier.cpu_seconds.get(part).copied().filter(|before| before <= now);
            (*part, now - before.unwrap_or_default())
        };
        let batches = self.batches - earlier.batches;
        Cost {
            seconds: (self.at - earlier.at).as_secs_f64(),
            cpu_seconds: self.cpu_seconds.iter().map(cpu).collect(),
            rows: count(self.rows - earlier.rows),
            wal_bytes: count(self.wal_bytes - earlier.wal_bytes),
            flushes: count(self.flushes - earlier.flushes),
            kafka_bytes: count(self.kafka_bytes.cast_signed() - earlier.kafka_bytes.cast_signed()),
            items_per_batch: if batches > 0.0 { (self.items - earlier.items) / batches } else { 0.0 },
        }
    }
}

impl Cost {
    /// CPU of the system itself, in seconds: everything but the generator.
    pub fn system_cpu(&self) -> f64 {
        self.cpu_seconds.iter().filter(|(part, _)| **part != Part::Generator).map(|(_, seconds)| seconds).sum()
    }

    /// CPU of everything.
    pub fn all_cpu(&self) -> f64 {
        self.cpu_seconds.values().sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "no counter of a run reaches 2^52")]
fn count(value: i64) -> f64 {
    value as f64
}

/// Whether the memory that its sessions share is in huge pages.
pub fn has_huge_pages(postgres: &Server) -> anyhow::Result<bool> {
    let postmaster = postgres.process_id().context("PostgreSQL does not run")?;
    Ok(fs::read_to_string(format!("/proc/{postmaster}/maps"))?.contains("/anon_hugepage"))
}

/// The sum of a counter over its labels.
fn sum(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// CPU of a process, in seconds.
struct Seconds {
    own: f64,
    /// Of its children that have ended.
    ended_children: f64,
}

/// From `/proc/PID/stat`, `proc_pid_stat(5)`: fields 14 to 17, behind the name in brackets.
fn seconds(process: u32) -> anyhow::Result<Seconds> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).with_context(|| format!("no process {process}"))?;
    let (_, fields) = stat.rsplit_once(')').context("a name stands in brackets")?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    let [user, system, children_user, children_system] = ticks[..] else {
        anyhow::bail!("/proc/{process}/stat has too few fields");
    };
    let ticks_per_second = count(i64::try_from(rustix::param::clock_ticks_per_second())?);
    Ok(Seconds {
        own: (user + system) / ticks_per_second,
        ended_children: (children_user + children_system) / ticks_per_second,
    })
}

/// CPU of PostgreSQL, in seconds, without its vacuum and of that alone. Those of its children that end under load are the workers
/// of vacuum: sessions last as long as whoever has them.
fn postgres(postmaster: u32) -> anyhow::Result<(f64, f64)> {
    let own = seconds(postmaster)?;
    let (mut rest, mut vacuum) = (own.own, own.ended_children);
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    for child in children.split_whitespace() {
        // One may end meanwhile; then its time is that of an ended child, at the next look.
        let Ok(cpu) = seconds(child.parse()?) else { continue };
        let is_vacuum =
            fs::read_to_string(format!("/proc/{child}/cmdline")).is_ok_and(|title| title.contains(VACUUM_TITLE));
        *(if is_vacuum { &mut vacuum } else { &mut rest }) += cpu.own;
    }
    Ok((rest, vacuum))
}

/// Bytes of the log segments below `folder`.
fn log_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                bytes += path.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}
