//! `ordersystem audit`: derives every balance, row and view again from the events, and says whether the books balance.
//!
//! Everything is read as of one moment, also across services, while the system runs on. What a service has not heard of
//! yet is no contradiction: it is judged by what it has applied, and what is on its way is counted. Reading goes through
//! every table once, in the order of the orders' ids, so that what is in memory does not grow with the number of orders.

mod books;
mod captures;
mod case;
mod consumers;
mod deadlines;
mod difference;
mod dossier;
mod folds;
mod holds;
mod invariant;
mod ledger;
mod moment;
mod notices;
mod products;
mod report;
mod rest;
mod sequences;
mod shelf;
mod snapshot;
mod tables;
mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum, value_parser};
use journal::Database;
use tokio_postgres::Client;

use crate::location::Location;

pub use case::Case;
pub use dossier::{Dossier, Told};
pub use invariant::Invariant;
pub use moment::{Moment, PATIENCE_SECONDS};
pub(crate) use report::counted;
pub use report::{InFlight, Judged, Lag, Report};
pub use tables::{Duty, Key};
pub use verdict::EXAMPLES;

use books::Books;
use dossier::Shelves;
use ledger::Sums;
use snapshot::Snapshot;
use verdict::Verdicts;

/// The longest that can be waited for rest, in seconds: a day.
const MAX_WAIT_SECONDS: u64 = 24 * 60 * 60;

/// Orders after which a line tells that the audit goes on: some ten seconds' work.
const PROGRESS_ORDERS: u64 = 100_000;

/// Settings of `ordersystem audit`.
#[derive(Args, Clone, Debug)]
pub struct AuditSettings {
    /// Where the system's database is
    #[command(flatten)]
    pub location: Location,
    /// Expect the system to be at rest: whatever is in flight, and every order that is not settled, is broken at once. A
    /// running system may keep a message for a minute, and an order until a minute after its deadline
    #[arg(long)]
    pub settled: bool,
    /// Wait up to so long until nothing is in flight and every order is settled, then audit as with --settled
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(..=MAX_WAIT_SECONDS))]
    pub wait: Option<u64>,
    /// How long a message or an order may be late before that is broken
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE_SECONDS, value_parser = value_parser!(u64).range(..=MAX_WAIT_SECONDS))]
    pub patience: u64,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person to read
    Text,
    /// A JSON object
    Json,
}

/// Audits, prints the report, and fails unless every invariant holds. An error means that it could not audit.
pub async fn run_and_print(settings: AuditSettings) -> anyhow::Result<ExitCode> {
    let output = settings.output;
    let report = run(settings).await?;
    match output {
        Output::Text => print!("{report}"),
        Output::Json => println!("{}", report.to_json()?),
    }
    Ok(if report.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Audits the system that `settings` name.
pub async fn run(settings: AuditSettings) -> anyhow::Result<Report> {
    settings.location.with_database(async |database| audit(&database, &settings).await).await
}

async fn audit(database: &Database, settings: &AuditSettings) -> anyhow::Result<Report> {
    let client = database.connect_to(order::SCHEMA).await;
    let mut client = client.context("cannot connect to the database")?;
    if let Some(seconds) = settings.wait {
        rest::wait(&mut client, Duration::from_secs(seconds)).await?;
    }
    judge(&mut client, settings.settled || settings.wait.is_some(), settings.patience).await
}

/// Reads everything as of one moment and judges it.
async fn judge(client: &mut Client, settled: bool, patience: u64) -> anyhow::Result<Report> {
    let snapshot = Snapshot::of(client).await?;
    let at = snapshot.at().await?;
    let lanes = consumers::lanes(&snapshot).await?;
    let (counts, reached) = (consumers::counts(&snapshot).await?, consumers::reached(&snapshot).await?);
    let moment = Moment::new(at, lanes, settled, patience, &reached);
    let mut verdicts = Verdicts::default();
    consumers::judge_lanes(&counts, lanes, &mut verdicts);
    consumers::judge_consumers(&reached, &moment, &mut verdicts);
    let counted = read(&snapshot, &moment, &mut verdicts).await?;
    let invariants: Vec<Judged> =
        verdicts.into_each().map(|(invariant, verdict)| Judged::of(invariant, verdict)).collect();
    Ok(Report {
        holds: invariants.iter().all(|judged| judged.holds),
        at,
        settled,
        orders: counted.orders,
        events: counts.iter().map(|count| count.events.unsigned_abs()).sum(),
        dead_letters: consumers::dead_letters(&snapshot).await?,
        in_flight: InFlight {
            orders: counted.open_orders,
            payments: counted.open_payments,
            ..consumers::in_flight(&reached, at)
        },
        invariants,
    })
}

/// What is counted while orders are read.
#[derive(Default)]
struct Counted {
    orders: u64,
    open_orders: u64,
    open_payments: u64,
}

/// Reads every table and judges what is in it.
async fn read(snapshot: &Snapshot<'_>, moment: &Moment, verdicts: &mut Verdicts) -> anyhow::Result<Counted> {
    let (mut books, mut sums, mut counted) = (Books::default(), Sums::default(), Counted::default());
    // Products first: their changes would otherwise wait for them until the end.
    let deeds = products::read_streams(snapshot, moment, &mut books, verdicts).await?;
    deeds.judge(snapshot, verdicts).await?;
    let mut shelves = Shelves::open(snapshot, verdicts).await?;
    while let Some(dossier) = shelves.next(snapshot, verdicts).await? {
        judge_order(&dossier, moment, verdicts);
        enter(&dossier, &mut books, &mut sums, verdicts);
        counted.count(&dossier);
    }
    products::close(snapshot, books, verdicts).await?;
    sums.judge(verdicts);
    Ok(counted)
}

fn judge_order(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    holds::judge(dossier, moment, verdicts);
    captures::judge(dossier, moment, verdicts);
    ledger::judge(dossier, verdicts);
    sequences::judge(dossier, moment, verdicts);
    folds::judge(dossier, moment, verdicts);
    deadlines::judge(dossier, moment, verdicts);
    notices::judge(dossier, moment, verdicts);
}

fn enter(dossier: &Dossier, books: &mut Books, sums: &mut Sums, verdicts: &mut Verdicts) {
    for told in &dossier.stock {
        books.enter(&told.event, verdicts);
    }
    for hold in &dossier.hold {
        books.enter_hold(hold);
    }
    sums.add(&dossier.postings);
}

impl Counted {
    fn count(&mut self, dossier: &Dossier) {
        let is_open = dossier.made.as_ref().is_some_and(|order| order.shown.status.is_open());
        let asks = |account: &payment::payment::Account| account.next_call().is_some();
        self.orders += u64::from(!dossier.order.is_empty());
        if !dossier.order.is_empty() && self.orders.is_multiple_of(PROGRESS_ORDERS) {
            tracing::info!(orders = self.orders, "auditing");
        }
        self.open_orders += u64::from(is_open);
        self.open_payments += u64::from(dossier.account.iter().any(asks));
    }
}
