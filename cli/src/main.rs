//! `ordersystem`: one binary with a subcommand per process, and the user's tools.

use std::process::ExitCode;
use std::thread::available_parallelism;
use std::{env, io};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use journal::{JournalSettings, Transport};
use ordersystem::{
    audit::AuditSettings,
    bench::BenchSettings,
    rebuild::RebuildSettings,
    roles::{self, RolesSettings},
    service::ServiceSettings,
    up::{self, STOP_DEADLINE, UpSettings},
};
use process::{ListenSettings, Process, Service, telemetry::TelemetrySettings};
use tikv_jemallocator::Jemalloc;
use tokio::runtime::{Builder, Runtime};

/// How many threads the runtime's tasks share; it reads this itself.
const WORKER_THREADS: &str = "TOKIO_WORKER_THREADS";

/// A record is made by one thread and dropped by another, which glibc's allocator spends twice the time on. It takes the
/// place of C's `malloc` too, so librdkafka has it as well.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// An event-driven order system: orders, stock, payments and notices that settle together or not at all
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    telemetry: TelemetrySettings,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole system on this machine
    Up(Box<UpSettings>),
    /// Run the order service
    Order(Box<ServiceSettings<order::Settings>>),
    /// Run the inventory service
    Inventory(Box<ServiceSettings<inventory::Settings>>),
    /// Run the payment service
    Payment(Box<ServiceSettings<payment::Settings>>),
    /// Run the notification service
    Notification(Box<ServiceSettings<notification::Settings>>),
    /// Run the operator: order systems in a Kubernetes cluster
    Operator(OperatorSettings),
    /// Print the `CustomResourceDefinition` of `OrderSystem`
    Crd,
    /// Print SQL that gives each service a database role of its own, which gets at its own tables only
    Roles(RolesSettings),
    /// Derive every balance again from the events and say whether the books balance
    Audit(AuditSettings),
    /// Rebuild a list of a running or stopped system from its events, beside the live one, compare, and swap it in
    ///
    /// Exits 0 when that is done, however many rows differed, or with --check when none did; 1 when --check found rows
    /// that differ, or when it could not be done, which standard error tells: then everything is as before; 2 when the
    /// arguments are wrong. What was granted by hand on the tables of a view is not carried over.
    Rebuild(RebuildSettings),
    /// Send orders to a running system and measure it
    Bench(BenchSettings),
}

impl Command {
    /// Whether it runs one of the four services in a process of its own.
    fn is_a_service(&self) -> bool {
        matches!(self, Self::Order(_) | Self::Inventory(_) | Self::Payment(_) | Self::Notification(_))
    }
}

/// Settings of the operator's process.
#[derive(Args)]
struct OperatorSettings {
    #[command(flatten)]
    operator: operator::Settings,
    #[command(flatten)]
    listen: ListenSettings,
}

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = process::telemetry::start(cli.telemetry.log_format)
        .map_err(anyhow::Error::from)
        .and_then(|()| runtime(&cli.command).context("cannot start the runtime"))
        .and_then(|runtime| runtime.block_on(run(cli.command)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A service shares its machine with others, and one task of it settles everything. With half of the cores for the rest, an
/// order takes a fifteenth less CPU than with all, flat out on two, and the process a tenth less memory.
fn runtime(command: &Command) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all();
    if command.is_a_service() && env::var_os(WORKER_THREADS).is_none() {
        builder.worker_threads(available_parallelism()?.get().div_ceil(2));
    }
    builder.build()
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(settings) => up::run(*settings, process("up")?).await?,
        Command::Order(settings) => {
            let (process, transport) = prepare("order", &settings, &settings.service.journal)?;
            let service = order::start(&settings.service, &transport, &process).await?;
            serve(vec![service], &settings.listen, process).await?;
        }
        Command::Inventory(settings) => {
            let (process, transport) = prepare("inventory", &settings, &settings.service.journal)?;
            let service = inventory::start(&settings.service, &transport, &process).await?;
            serve(vec![service], &settings.listen, process).await?;
        }
        Command::Payment(settings) => {
            let (process, transport) = prepare("payment", &settings, &settings.service.journal)?;
            let service = payment::start(&settings.service, &transport, &process).await?;
            serve(vec![service], &settings.listen, process).await?;
        }
        Command::Notification(settings) => {
            let (process, transport) = prepare("notification", &settings, &settings.service.journal)?;
            let service = notification::start(&settings.service, &transport, &process).await?;
            serve(vec![service], &settings.listen, process).await?;
        }
        Command::Operator(settings) => {
            let process = process("operator")?;
            operator::start(&settings.operator, &process).await?;
            serve(Vec::new(), &settings.listen, process).await?;
        }
        Command::Crd => print!("{}", operator::crd()),
        Command::Roles(settings) => print!("{}", roles::sql(&settings)),
        Command::Audit(settings) => return ordersystem::audit::run_and_print(settings).await,
        Command::Rebuild(settings) => return ordersystem::rebuild::run_and_print(&settings).await,
        Command::Bench(settings) => {
            let report = ordersystem::bench::run(settings).await?;
            return Ok(report.print());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn process(name: &'static str) -> anyhow::Result<Process> {
    let process = Process::new(name);
    process.on_signals().context("cannot listen for signals")?;
    Ok(process)
}

fn prepare<S: Args>(
    name: &'static str,
    settings: &ServiceSettings<S>,
    journal: &JournalSettings,
) -> anyhow::Result<(Process, Transport)> {
    Ok((process(name)?, Transport::new(&settings.kafka, journal.lanes, false)))
}

async fn serve(services: Vec<Service>, listen: &ListenSettings, process: Process) -> anyhow::Result<()> {
    let served = match listen.bind().await {
        Ok(listener) => process::serve(listener, services, process.clone()).await,
        Err(error) => Err(error),
    };
    let finished = process.finish(STOP_DEADLINE).await;
    served?;
    finished.map_err(anyhow::Error::from)
}
