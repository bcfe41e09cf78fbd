//! `make bench`: the whole system, fresh, under the loads that it has to bear, and what that costs beside the floor.
//!
//! PostgreSQL, Kafka, the four services as processes of their own and the generator share this machine. For each transport
//! the loads follow one another on the same data, each once PostgreSQL has tidied up after the one before; the audit judges
//! the books after each.

mod floor;
mod meter;
mod profile;
mod report;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use ordersystem::postgres::Options;
use tests::kafka::Kafka;
use tests::postgres::Server;
use tests::system::{Setup, System, Transport};

use floor::{Floor, Leftovers};
use meter::Meter;
use profile::{Load, Measured};
use report::Report;

/// How often a new and a full store are compared.
const PAIRS: usize = 3;

/// The whole system under load, and what it costs
#[derive(Clone, Debug, Parser)]
struct Settings {
    /// Seconds to measure each load
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Seconds to warm each transport up
    #[arg(long, default_value_t = 120)]
    warmup: u32,
    /// File to write the figures to as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Loads: orders a second, `flat-out`, `hot` (one product in every order), or `away` (no broker for a while). The floor is
    /// measured after the last, so that is the one to compare it with
    #[arg(long, value_delimiter = ',', default_value = "20,1000,3000,away,hot,flat-out")]
    loads: Vec<Load>,
    /// Orders that are stored, over Kafka, before the flat-out load is repeated; 0 to leave that out
    #[arg(long, default_value_t = 1_000_000)]
    stored: u32,
    /// Transports: `kafka`, `log`
    #[arg(long, value_delimiter = ',', default_value = "kafka,log")]
    transports: Vec<String>,
    /// Lanes of the system: few on a small machine, as each is a request of its own
    #[arg(long, default_value_t = 2)]
    lanes: u16,
    /// Connections of the generator
    #[arg(long, default_value_t = 240)]
    connections: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let mut report = Report::default();
    for name in &settings.transports {
        let transport = match name.as_str() {
            "kafka" => Transport::Kafka,
            "log" => Transport::Log,
            other => anyhow::bail!("{other} is no transport: kafka, log"),
        };
        let (runs, floor) = measure(&settings, transport).await.with_context(|| format!("over {name}"))?;
        report.add(name, runs, floor);
    }
    println!("{report}");
    if let Some(file) = &settings.json {
        std::fs::write(file, report.to_json()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Every load over one transport, on a database and a broker of its own, and the floor beside them.
async fn measure(settings: &Settings, transport: Transport) -> anyhow::Result<(Vec<Measured>, Option<Floor>)> {
    let postgres = Server::start(Options { huge_pages: true, ..Options::default() }).await?;
    let pages =
        if meter::has_huge_pages(&postgres)? { "huge pages" } else { "small pages: huge ones were not to be had" };
    eprintln!("PostgreSQL's buffers are in {pages}");
    let kafka = match transport {
        Transport::Kafka => Some(Kafka::start().await?),
        Transport::Log => None,
    };
    let system = start(settings, transport, &postgres, kafka.as_ref()).await?;
    let meter = Meter::of(&system, &postgres, kafka.as_ref());
    profile::warm_up(settings, &system, settings.warmup).await?;
    let mut runs = Vec::new();
    for load in settings.loads.iter().filter(|load| kafka.is_some() || **load != Load::Away) {
        meter.wait_for_vacuum(settings.seconds).await?;
        runs.push(profile::run(settings, *load, &system, &meter).await?);
    }
    let Some(kafka) = &kafka else { return Ok((runs, None)) };
    meter.wait_for_vacuum(settings.seconds).await?;
    let floor = floor(&system, &postgres, kafka).await?;
    drop(system);
    if settings.stored > 0 {
        runs.extend(full_store(settings, transport, &postgres, kafka).await?);
    }
    Ok((runs, Some(floor)))
}

/// The load on a new store and then on a full one, in the same minute, as the machine is another one ten minutes later:
/// of [`PAIRS`] such pairs the one whose ratio is the median.
async fn full_store(
    settings: &Settings,
    transport: Transport,
    postgres: &Server,
    kafka: &Kafka,
) -> anyhow::Result<[Measured; 2]> {
    let full = start(settings, transport, postgres, Some(kafka)).await?;
    profile::fill(settings, &full).await?;
    let meter = Meter::of(&full, postgres, Some(kafka));
    let mut pairs = Vec::with_capacity(PAIRS);
    for _ in 0..PAIRS {
        meter.wait_for_vacuum(settings.seconds).await?;
        let new = start(settings, transport, postgres, Some(kafka)).await?;
        profile::warm_up(settings, &new, settings.warmup).await?;
        let beside = profile::run(settings, Load::New, &new, &Meter::of(&new, postgres, Some(kafka))).await?;
        new.terminate().await?;
        pairs.push([beside, profile::place(settings, Load::Stored, &full, &meter).await?]);
    }
    profile::audit(&full).await?;
    let share = |[new, full]: &[Measured; 2]| full.share_of(new);
    pairs.sort_by(|one, other| share(one).total_cmp(&share(other)));
    Ok(pairs.swap_remove(PAIRS / 2))
}

/// The four services, a process each, on a database of their own.
async fn start(
    settings: &Settings,
    transport: Transport,
    postgres: &Server,
    kafka: Option<&Kafka>,
) -> anyhow::Result<System> {
    let setup = Setup::from(transport).database(postgres.create_database().await?).lanes(settings.lanes);
    let setup = match kafka {
        Some(kafka) => setup.kafka(kafka.bootstrap()),
        None => setup,
    };
    System::services(setup.variable("RUST_LOG", "warn,process::serve=info"), 1).await
}

async fn floor(system: &System, postgres: &Server, kafka: &Kafka) -> anyhow::Result<Floor> {
    eprintln!("the floor …");
    let orders = profile::orders(system).await?;
    let leftovers = Leftovers::of(system, kafka, orders).await?;
    system.terminate().await?;
    let copy = system.database().copy().await?;
    leftovers.write(postgres, &copy, kafka).await
}
