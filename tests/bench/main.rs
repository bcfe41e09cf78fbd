//! `make bench`: the whole system, fresh, under the loads that it has to bear, and what that costs beside the floor.
//!
//! PostgreSQL, Kafka, the four services as processes of their own and the generator share this machine. For each transport
//! the loads follow one another on the same data; the audit judges the books after each.

mod floor;
mod meter;
mod profile;
mod report;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tests::kafka::Kafka;
use tests::postgres::Server;
use tests::system::{Setup, System, Transport};

use floor::{Floor, Leftovers};
use meter::Meter;
use profile::{Load, Measured};
use report::Report;

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
    /// Loads: orders a second, or `flat-out`
    #[arg(long, value_delimiter = ',', default_value = "20,1000,3000,flat-out")]
    loads: Vec<Load>,
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
    let postgres = Server::start(ordersystem::postgres::Options::default()).await?;
    let kafka = match transport {
        Transport::Kafka => Some(Kafka::start().await?),
        Transport::Log => None,
    };
    let setup = Setup::from(transport).database(postgres.create_database().await?).lanes(settings.lanes);
    let setup = match &kafka {
        Some(kafka) => setup.kafka(kafka.bootstrap()),
        None => setup,
    };
    let system = System::services(setup.variable("RUST_LOG", "warn,process::serve=info"), 1).await?;
    let meter =
        Meter { system: Some(&system), postgres: &postgres, database: system.database(), kafka: kafka.as_ref() };
    profile::warm_up(settings, &system).await?;
    let mut runs = Vec::new();
    for load in &settings.loads {
        runs.push(profile::run(settings, *load, &system, &meter).await?);
    }
    let floor = match &kafka {
        Some(kafka) => Some(floor(&system, &postgres, kafka).await?),
        None => None,
    };
    Ok((runs, floor))
}

async fn floor(system: &System, postgres: &Server, kafka: &Kafka) -> anyhow::Result<Floor> {
    eprintln!("the floor …");
    let orders = profile::orders(system).await?;
    let leftovers = Leftovers::of(system, kafka, orders).await?;
    system.terminate().await?;
    let copy = system.database().copy().await?;
    leftovers.write(postgres, &copy, kafka).await
}
