//! `ordersystem up`: the four services in one process behind one address, on a database of their own if none is given.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use contract::Lanes;
use contract::env::payment_timeout;
use journal::{DatabaseSettings, JournalSettings, KafkaSettings, Transport};
use order::settings::{DEFAULT_PAYMENT_ATTEMPTS, DEFAULT_PAYMENT_TIMEOUT};
use process::{Process, Service};
use tokio::net::TcpListener;

use crate::{
    manifest::{DEFAULT_LANES, Manifest},
    postgres::{self, Binaries, Options, Postgres},
};

/// The system's name when no manifest gives one.
const DEFAULT_NAME: &str = "ordersystem";
/// How long everything may take to stop after the last request.
pub const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Settings of `ordersystem up`.
#[derive(Args, Clone, Debug)]
pub struct UpSettings {
    /// OrderSystem manifest to read, the same that the operator takes
    #[arg(short = 'f', long = "file", value_name = "ORDERSYSTEM.yaml")]
    pub file: Option<PathBuf>,
    /// Folder that everything is kept in, and found again at the next start
    #[arg(long, value_name = "DIR", default_value = ".ordersystem")]
    pub data: PathBuf,
    /// Address to serve HTTP on
    #[arg(long, env = contract::env::LISTEN, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// PostgreSQL connection URL; without it, `up` runs a PostgreSQL of its own in DIR
    #[arg(long, env = contract::env::DATABASE_URL, value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,
    /// PEM file with the certificate authority of PostgreSQL's certificate; without it, the system's authorities
    #[arg(long, env = contract::env::DATABASE_CA_FILE, value_name = "FILE")]
    pub database_ca_file: Option<PathBuf>,
    /// Where Kafka is
    #[command(flatten)]
    pub kafka: KafkaSettings,
}

/// How a PostgreSQL of our own is run.
const OWN: Options = Options { binaries: Binaries::PathElseFetched, also_listen: Vec::new(), huge_pages: true };

/// Runs the system until it is told to stop.
pub async fn run(settings: UpSettings, process: Process) -> anyhow::Result<()> {
    let manifest = settings.file.as_deref().map(Manifest::read).transpose()?;
    if let Some(unused) = manifest.as_ref().map(|manifest| manifest.unused.join(", ")).filter(|list| !list.is_empty()) {
        tracing::info!(unused, "the manifest has settings that only a cluster can use");
    }
    // Before anything is started: a taken address is the likeliest thing to go wrong.
    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr()?;
    let mut database = match &settings.database {
        Some(url) => Database::Given(url.clone()),
        None => Database::Own(Postgres::start(&settings.data, &OWN).await?),
    };
    let url = database.url();
    let outcome = tokio::select! {
        served = serve(&settings, manifest.as_ref(), url, listener, address, &process) => served,
        reason = database.ended() => Err(reason.into()),
    };
    let finished = process.finish(STOP_DEADLINE).await;
    if let Database::Own(postgres) = database {
        postgres.stop().await?;
    }
    outcome?;
    finished.map_err(anyhow::Error::from)
}

enum Database {
    Given(String),
    Own(Postgres),
}

impl Database {
    fn url(&self) -> String {
        match self {
            Self::Given(url) => url.clone(),
            Self::Own(postgres) => postgres.url(),
        }
    }

    /// Waits until it ends by itself, if it is ours.
    async fn ended(&mut self) -> postgres::Error {
        match self {
            Self::Given(_) => std::future::pending().await,
            Self::Own(postgres) => postgres.ended().await,
        }
    }
}

async fn serve(
    settings: &UpSettings,
    manifest: Option<&Manifest>,
    database_url: String,
    listener: TcpListener,
    address: SocketAddr,
    process: &Process,
) -> anyhow::Result<()> {
    let lanes = match manifest {
        Some(manifest) => manifest.lanes,
        None => Lanes::new(DEFAULT_LANES)?,
    };
    let journal = JournalSettings {
        name: manifest.map_or_else(|| DEFAULT_NAME.to_owned(), |manifest| manifest.name.clone()),
        lanes,
        database: DatabaseSettings { database_url, database_ca_file: settings.database_ca_file.clone() },
    };
    let transport = Transport::new(&settings.kafka, lanes, true);
    let services = start(&journal, manifest, &transport, process).await?;
    let process_ready = process.clone();
    let kept = settings.database.is_none().then(|| settings.data.clone());
    process.spawn("ready line", async move { announce(address, kept, &process_ready).await });
    process::serve(listener, services, process.clone()).await?;
    Ok(())
}

/// Starts the four services, each as its own subcommand would.
async fn start(
    journal: &JournalSettings,
    manifest: Option<&Manifest>,
    transport: &Transport,
    process: &Process,
) -> anyhow::Result<Vec<Service>> {
    let timeout = manifest.and_then(|manifest| manifest.payment_timeout);
    let attempts = manifest.and_then(|manifest| manifest.payment_attempts);
    let orders = order::Settings {
        journal: journal.clone(),
        payment_timeout: timeout.map_or_else(|| payment_timeout(DEFAULT_PAYMENT_TIMEOUT), Ok)?,
        payment_attempts: attempts.unwrap_or(DEFAULT_PAYMENT_ATTEMPTS),
    };
    Ok(vec![
        order::start(&orders, transport, process).await?,
        inventory::start(&inventory::Settings { journal: journal.clone() }, transport, process).await?,
        payment::start(&payment::Settings { journal: journal.clone() }, transport, process).await?,
        notification::start(&notification::Settings { journal: journal.clone() }, transport, process).await?,
    ])
}

/// How often readiness is looked at until the ready line is printed.
const READY_POLL: Duration = Duration::from_millis(20);

/// Prints the one line that says where the system is, once it is ready.
async fn announce(address: SocketAddr, data: Option<PathBuf>, process: &Process) {
    while process.health().readiness().status != process::health::Status::Up {
        tokio::select! {
            () = process.stop().cancelled() => return,
            () = tokio::time::sleep(READY_POLL) => {}
        }
    }
    let kept = data.map(|data| format!(", data in {}", data.display())).unwrap_or_default();
    println!("ordersystem is ready: http://{address} (try it at http://{address}/docs{kept})");
}
