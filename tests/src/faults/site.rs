//! Where it happens: a broker, a database and two replicas of each service, behind proxies and on volumes of their own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use ordersystem::postgres::Options;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::observer::Observer;
use super::plan::{Link, REPLICAS};
use super::proxy::Proxy;
use crate::kafka::Kafka;
use crate::postgres::Server;
use crate::program::ORDERSYSTEM_FAULTS;
use crate::system::{Replica, Service, Setup, System, Transport};
use crate::{Folder, eventually};

/// Lanes of the system: few enough that each is always in use.
pub const LANES: u16 = 4;

/// How long an order waits for stock and payment.
const PAYMENT_TIMEOUT: &str = "40s";

/// How long what was down may take to be up again, on a busy machine.
const UP_DEADLINE: Duration = Duration::from_mins(2);

/// The pause before another attempt to start something.
const PAUSE: Duration = Duration::from_millis(300);

/// The broker, the database and the system, and what stands between them.
#[derive(Debug)]
pub struct Site {
    /// The order system. First, so that its processes end before what they rest on.
    pub system: System,
    /// The broker.
    pub kafka: Kafka,
    /// The database's server; nobody else may hold it for long.
    pub server: Arc<Mutex<Server>>,
    /// What is between the services and the broker.
    broker_link: Proxy,
    /// What is between the services and the database.
    database_link: Proxy,
    /// Who looks over the database's shoulder.
    pub observer: Observer,
}

impl Site {
    /// Starts everything. `left_out` is the safeguard that the services do without.
    pub async fn start(left_out: Option<&str>) -> anyhow::Result<Self> {
        let (broker_link, database_link) = (Proxy::start().await?, Proxy::start().await?);
        let kafka = Kafka::start_behind(broker_link.port(), Folder::volume("kafka")?).await?;
        broker_link.lead_to(port_of(kafka.bootstrap())?);
        let server = Server::start_in(Folder::volume("postgres")?, Options::default()).await?;
        let database = server.create_database().await?;
        let (address, _) = database.url().rsplit_once('/').context("a URL ends in its database")?;
        database_link.lead_to(port_of(address)?);
        let setup = Setup::from(Transport::Kafka)
            .kafka(&format!("127.0.0.1:{}", broker_link.port()))
            .database(database)
            .database_by(database_link.port())
            .program(ORDERSYSTEM_FAULTS)
            .lanes(LANES)
            .payment_timeout(PAYMENT_TIMEOUT);
        let setup = match left_out {
            Some(safeguard) => setup.variable(journal::faults::SABOTAGE, safeguard),
            None => setup,
        };
        let system = System::services(setup, REPLICAS).await?;
        let observer = Observer::install(system.database()).await?;
        Ok(Self { system, kafka, server: Arc::new(Mutex::new(server)), broker_link, database_link, observer })
    }

    /// What is between the services and one of the things that they rest on.
    pub fn link(&self, link: Link) -> &Proxy {
        match link {
            Link::Broker => &self.broker_link,
            Link::Database => &self.database_link,
        }
    }

    /// Starts a replica that has ended, again and again until it says where it answers: it cannot start while what it
    /// rests on is away.
    pub async fn revive(&self, replica: &Replica) -> anyhow::Result<()> {
        eventually(UP_DEADLINE, "a replica starts", async || {
            if replica.has_ended().await?.is_some()
                && let Err(error) = replica.launch_again(None).await
            {
                sleep(PAUSE).await;
                return Err(error);
            }
            Ok(())
        })
        .await
    }

    /// Starts the database again if it does not run, and waits until it answers.
    pub async fn revive_database(&self) -> anyhow::Result<()> {
        let mut server = self.server.lock().await;
        self.observer.read_log(&server);
        eventually(UP_DEADLINE, "the database starts", async || server.revive().await).await
    }

    /// Starts the broker again if it does not run.
    pub async fn revive_broker(&self) -> anyhow::Result<()> {
        eventually(UP_DEADLINE, "the broker starts", async || {
            if !self.kafka.runs() {
                self.kafka.start_again().await?;
            }
            Ok(())
        })
        .await
    }

    /// Every replica of a service.
    pub fn replicas(&self, service: Service) -> impl Iterator<Item = &Replica> {
        (0..REPLICAS).map(move |number| self.system.replica(service, number))
    }

    /// Mends everything, and waits until every replica is ready.
    pub async fn heal(&self) -> anyhow::Result<()> {
        self.broker_link.heal();
        self.database_link.heal();
        self.kafka.folder().make_room()?;
        self.server.lock().await.folder().make_room()?;
        self.revive_broker().await?;
        self.revive_database().await?;
        let all = Service::ALL.into_iter().flat_map(|service| self.replicas(service));
        try_join_all(all.map(|replica| self.revived(replica))).await?;
        Ok(())
    }

    async fn revived(&self, replica: &Replica) -> anyhow::Result<()> {
        self.revive(replica).await?;
        eventually(UP_DEADLINE, "a replica is ready", async || {
            ensure!(replica.has_ended().await?.is_none(), "it ended by itself: {}", replica.log_since_start().await);
            replica.client()?.get("/actuator/health/readiness").await?.expect(200).map(drop)
        })
        .await
    }
}

fn port_of(address: &str) -> anyhow::Result<u16> {
    let (_, port) = address.rsplit_once(':').context("an address has a port")?;
    Ok(port.parse()?)
}
