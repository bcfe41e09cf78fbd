//! Orders while everything goes wrong that can go wrong, and the judge of what came of it.
//!
//! A load of clients, each of which remembers what it asked for and what it was told; a nemesis that harms replicas,
//! broker, database, network and topics as a seed says; then everything is mended, and the books, the clients' memory,
//! the provider's list and the notices have to agree.

mod crash;
mod ends;
mod facts;
mod history;
mod judge;
mod load;
mod nemesis;
mod observer;
mod plan;
mod proxy;
mod random;
mod script;
mod site;
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use journal::faults::Safeguard;
use ordersystem::audit::{self, AuditSettings, Output, Report};
use ordersystem::location::Location;

use history::History;
use load::Load;
use nemesis::Nemesis;
pub use plan::Kind;
use site::Site;

pub use ends::{Ends, every_place};

use crate::postgres::TestDatabase;
use crate::system::System;

/// How long the system may take to come to rest once everything is mended. What the provider was asked in vain is asked
/// again after half a minute at most.
pub const REST: Duration = Duration::from_mins(3);

/// How long something may be on its way while things go wrong, in seconds: it is no time that counts then.
const ANY_TIME: u64 = 24 * 60 * 60;

/// The pause between two audits of the running system.
const AUDIT_PAUSE: Duration = Duration::from_secs(15);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What everything follows from.
    pub seed: u64,
    /// How long.
    pub time: Duration,
    /// How much longer, if something that is to go wrong has not come about by then: a slow machine gets through less.
    pub grace: Duration,
    /// Clients that come each second.
    pub per_second: u32,
    /// How long the system may take to come to rest once everything is mended.
    pub patience: Duration,
    /// What goes wrong; everything, if nothing is named.
    pub only: &'static [Kind],
    /// The safeguard that the services do without.
    pub left_out: Option<Safeguard>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What it was.
    pub settings: Settings,
    /// How often each fault was brought about.
    pub faults: BTreeMap<Kind, u32>,
    /// How long things went wrong.
    pub harmed: Duration,
    /// Orders that clients sent.
    pub sent: usize,
    /// Orders that were acknowledged.
    pub acknowledged: usize,
    /// Answers that clients compared with earlier ones.
    pub reads: u64,
    /// Audits of the running system.
    pub audits: u32,
    /// How long the system took to come to rest.
    pub rest: Duration,
    /// The last audit.
    pub report: Report,
    /// What must not be.
    pub contradictions: Vec<String>,
}

/// Lets clients and nemesis work at a new system, mends it, and judges.
pub async fn run(settings: Settings) -> anyhow::Result<Outcome> {
    let site = Site::start(settings.left_out.map(Safeguard::name)).await?;
    run_at(&site, settings).await
}

async fn run_at(site: &Site, settings: Settings) -> anyhow::Result<Outcome> {
    let load = Load::new(site.system.shop(), settings.seed);
    load.stock().await?;
    let nemesis = Nemesis::new(site, settings.seed, settings.only);
    let auditor = Auditor::start(site.system.database());
    let end = Instant::now() + settings.time;
    let harm = async {
        let begun = Instant::now();
        nemesis.run(end, end + settings.grace).await?;
        let harmed = begun.elapsed();
        eprintln!("mending everything …");
        site.heal().await?;
        eprintln!("everything is mended; waiting for the last clients …");
        anyhow::Ok(harmed)
    };
    let harmed = load.run(settings.per_second, harm).await?;
    nemesis.look_after_all().await?;
    let (audits, mut contradictions) = auditor.finish();
    contradictions.extend(nemesis.ended_by_themselves());
    eprintln!("waiting until the system is at rest …");
    let begun = Instant::now();
    let history = load.into_history();
    let (report, found) = judged(&site.system, &history, settings.patience).await?;
    contradictions.extend(found);
    if report.dead_letters > 0 {
        contradictions.push(format!("{} records could not be read or settled", report.dead_letters));
    }
    site.observer.read_log(&*site.server.lock().await);
    contradictions.extend(site.observer.contradictions(site.system.database()).await?);
    Ok(Outcome {
        settings,
        faults: nemesis.done(),
        harmed,
        sent: history.orders.len(),
        acknowledged: history.acknowledged(),
        reads: history.reads,
        audits,
        rest: begun.elapsed(),
        report,
        contradictions,
    })
}

/// Waits so long until the system is at rest, and finds everything that must not be.
async fn judged(system: &System, history: &History, patience: Duration) -> anyhow::Result<(Report, Vec<String>)> {
    let report = audit::run(audited(system.database(), Some(patience.as_secs()))).await?;
    let mut found = broken(&report);
    found.extend(judge::contradictions(history, &facts::read(system.database()).await?));
    Ok((report, found))
}

fn audited(database: &TestDatabase, wait: Option<u64>) -> AuditSettings {
    let location = Location::of(database.url());
    AuditSettings { location, settled: false, wait, patience: ANY_TIME, output: Output::Json }
}

fn broken(report: &Report) -> Vec<String> {
    let broken = report.invariants.iter().filter(|judged| !judged.holds);
    broken.map(|judged| format!("the books do not balance: {judged}")).collect()
}

/// Audits the system again and again while it runs, on a thread of its own: it is much work, and the proxies must not wait
/// for it.
struct Auditor {
    working: thread::JoinHandle<(u32, Vec<String>)>,
    stop: std::sync::mpsc::Sender<()>,
}

impl Auditor {
    fn start(database: &TestDatabase) -> Self {
        let settings = audited(database, None);
        let (stop, stopped) = channel();
        Self { working: thread::spawn(move || audit_again_and_again(&settings, &stopped)), stop }
    }

    /// How many audits it were, and what was broken.
    fn finish(self) -> (u32, Vec<String>) {
        drop(self.stop);
        self.working.join().unwrap_or_else(|_| (0, vec!["the auditor panicked".to_owned()]))
    }
}

fn audit_again_and_again(settings: &AuditSettings, stopped: &Receiver<()>) -> (u32, Vec<String>) {
    let (mut audits, mut found) = (0, Vec::new());
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return (0, vec!["the auditor has no runtime".to_owned()]);
    };
    while stopped.recv_timeout(AUDIT_PAUSE) == Err(RecvTimeoutError::Timeout) {
        // The database may be away, or go away meanwhile.
        if let Ok(report) = runtime.block_on(audit::run(settings.clone())) {
            audits += 1;
            found.extend(broken(&report).into_iter().map(|what| format!("while it ran: {what}")));
        }
    }
    (audits, found)
}

impl Outcome {
    /// Whether nothing was wrong.
    pub fn holds(&self) -> bool {
        self.contradictions.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { seed, time, .. } = self.settings;
        let faults: u32 = self.faults.values().sum();
        writeln!(f, "seed {seed}: {faults} faults in {:.0} s", self.harmed.as_secs_f64())?;
        for (kind, times) in &self.faults {
            writeln!(f, "  {times:>5} {}", kind.name())?;
        }
        let Self { sent, acknowledged, reads, audits, rest, .. } = self;
        writeln!(
            f,
            "{sent} orders sent, {acknowledged} acknowledged, {reads} answers compared, {audits} audits meanwhile"
        )?;
        writeln!(f, "at rest {:.1} s after everything was mended", rest.as_secs_f64())?;
        write!(f, "{}", self.report)?;
        writeln!(f, "violations: {}", self.contradictions.len())?;
        for contradiction in &self.contradictions {
            writeln!(f, "  {contradiction}")?;
        }
        if !self.holds() {
            writeln!(f, "again: make faults SECONDS={} SEED={seed}", time.as_secs())?;
        }
        Ok(())
    }
}
