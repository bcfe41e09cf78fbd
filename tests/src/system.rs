//! A running order system: the program as its users start it, on a real database, over either transport.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use contract::env;
use ordersystem::audit::{self, AuditSettings, Output};
use tokio::sync::Mutex as AsyncMutex;

use crate::http::Client;
use crate::kafka::Kafka;
use crate::postgres::TestDatabase;
use crate::program::Program;
use crate::shop::Shop;
use crate::{Folder, eventually, unique_name};

/// How long a system may take until it is ready: two cores may be starting a dozen processes.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// How long the audit may wait for what is on its way, in seconds.
const AUDIT_WAIT_SECONDS: &str = "30";

/// How long the audit may take, its wait included.
const AUDIT_DEADLINE: Duration = Duration::from_secs(60);

/// What `up` says when it is ready, before its address.
const READY: &str = "ordersystem is ready: ";

/// What a service says when it listens, behind its address.
const SERVING: &str = "serving HTTP address=";

/// The manifest of a system that `up` runs; what it leaves open is added below.
const MANIFEST: &str = "apiVersion: ordersystem.dev/v1alpha1\nkind: OrderSystem\n";

/// How the services hear of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// They read each other's journals.
    Log,
    /// Over the broker that the tests of this process share, unless [`Setup::kafka`] names another.
    Kafka,
}

/// One of the four services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Orders, their history and their lists.
    Order,
    /// Stock and its movements.
    Inventory,
    /// Payments.
    Payment,
    /// Notices.
    Notification,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Order, Self::Inventory, Self::Payment, Self::Notification];

    /// The subcommand that runs it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::Notification => "notification",
        }
    }
}

/// What a system is to run on and how. A [`Transport`] alone will do.
#[derive(Debug)]
pub struct Setup {
    transport: Transport,
    kafka: Option<String>,
    database: Option<TestDatabase>,
    lanes: Option<u16>,
    payment_timeout: Option<&'static str>,
    payment_attempts: Option<u8>,
    variables: Vec<(&'static str, String)>,
}

impl From<Transport> for Setup {
    fn from(transport: Transport) -> Self {
        Self {
            transport,
            kafka: None,
            database: None,
            lanes: None,
            payment_timeout: None,
            payment_attempts: None,
            variables: Vec::new(),
        }
    }
}

impl Setup {
    /// Over the broker at `bootstrap`, such as a test's own.
    #[must_use]
    pub fn kafka(self, bootstrap: &str) -> Self {
        Self { transport: Transport::Kafka, kafka: Some(bootstrap.to_owned()), ..self }
    }

    /// On `database`, such as one of a test's own server; it goes with the system.
    #[must_use]
    pub fn database(self, database: TestDatabase) -> Self {
        Self { database: Some(database), ..self }
    }

    /// With so many lanes.
    #[must_use]
    pub fn lanes(self, lanes: u16) -> Self {
        Self { lanes: Some(lanes), ..self }
    }

    /// How long an order waits for stock and payment, such as `1s`.
    #[must_use]
    pub fn payment_timeout(self, timeout: &'static str) -> Self {
        Self { payment_timeout: Some(timeout), ..self }
    }

    /// Declined attempts after which an order is rejected.
    #[must_use]
    pub fn payment_attempts(self, attempts: u8) -> Self {
        Self { payment_attempts: Some(attempts), ..self }
    }

    /// An environment variable of every process of the system.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }
}

/// A running order system. Its processes are killed with this value, and its database goes.
#[derive(Debug)]
pub struct System {
    name: String,
    // Before the database: its processes end before it is dropped.
    replicas: [Vec<Arc<Replica>>; 4],
    database: TestDatabase,
    /// Of the manifest.
    _folder: Folder,
}

impl System {
    /// Starts `ordersystem up`: the four services in one process.
    pub async fn up(setup: impl Into<Setup>) -> anyhow::Result<Self> {
        let (name, database, setup) = prepare(setup.into()).await?;
        let folder = Folder::new("system")?;
        let file = folder.path().join("system.yaml");
        fs::write(&file, manifest(&name, &setup))?;
        let replica = Replica::start("up", READY, |command| {
            command.arg("--file").arg(file).args(["--listen", "127.0.0.1:0", "--database", database.url()]);
            configure(command, &setup);
        });
        let replica = Arc::new(replica.await?);
        replica.wait_until_ready().await?;
        Ok(Self { name, replicas: [(); 4].map(|()| vec![Arc::clone(&replica)]), database, _folder: folder })
    }

    /// Starts `replicas` of each of the four services, each a process of its own, and waits until all are ready.
    pub async fn services(setup: impl Into<Setup>, replicas: usize) -> anyhow::Result<Self> {
        let (name, database, setup) = prepare(setup.into()).await?;
        let mut all: [Vec<Arc<Replica>>; 4] = Default::default();
        for (service, started) in Service::ALL.into_iter().zip(&mut all) {
            for _ in 0..replicas {
                let replica = Replica::start(service.name(), SERVING, |command| {
                    command.args(["--listen", "127.0.0.1:0", "--name", &name, "--database", database.url()]);
                    command.envs(environment(service, &setup));
                    configure(command, &setup);
                });
                started.push(Arc::new(replica.await?));
            }
        }
        for replica in all.iter().flatten() {
            replica.wait_until_ready().await?;
        }
        Ok(Self { name, replicas: all, database, _folder: Folder::new("system")? })
    }

    /// A way in for one test: it keeps its own connections.
    pub fn shop(&self) -> Shop {
        let doors = self.replicas.each_ref().map(|replicas| replicas.iter().map(|one| Arc::clone(&one.door)).collect());
        Shop::new(doors)
    }

    /// The process that `up` runs, or the first replica of the order service.
    pub fn process(&self) -> &Replica {
        self.replica(Service::Order, 0)
    }

    /// The replica `number`, counted from 0, of `service`.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn replica(&self, service: Service, number: usize) -> &Replica {
        &self.replicas[service as usize][number]
    }

    /// The system's name, which its topics begin with: `<name>.orders`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its database.
    pub fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// Waits until no message and no request to the payment provider is on its way. Orders may still wait for whoever is
    /// to pay them.
    pub async fn at_rest(&self) -> anyhow::Result<()> {
        let settings = AuditSettings {
            database: Some(self.database.url().to_owned()),
            database_ca_file: None,
            data: None,
            settled: false,
            wait: None,
            output: Output::Json,
        };
        eventually(AUDIT_DEADLINE, "nothing is in flight", async || {
            let in_flight = audit::run(settings.clone()).await?.in_flight;
            ensure!(in_flight.messages == 0 && in_flight.payments == 0, "{in_flight:?}");
            Ok(())
        })
        .await
    }

    /// Waits until the system is at rest and every order settled, and fails unless `ordersystem audit` says that its books balance.
    pub async fn audit(&self) -> anyhow::Result<()> {
        self.audit_with(&["--wait", AUDIT_WAIT_SECONDS]).await
    }

    /// Like [`audit`](Self::audit), for a system that others use at this moment: what is on its way is no fault.
    pub async fn audit_in_use(&self) -> anyhow::Result<()> {
        self.audit_with(&[]).await
    }

    async fn audit_with(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut audit = Program::start("audit", |command| {
            command.args(["--database", self.database.url()]).args(arguments)
        })?;
        let status = audit.ended(AUDIT_DEADLINE).await?;
        ensure!(status.success(), "the audit says no ({status}): {}", audit.log());
        Ok(())
    }
}

/// One process of a system, to be mistreated. While it is down, no [`Shop`] goes there.
#[derive(Debug)]
pub struct Replica {
    program: AsyncMutex<Program>,
    /// What it says in front of its address.
    greeting: &'static str,
    door: Arc<Door>,
}

impl Replica {
    async fn start(
        subcommand: &str,
        greeting: &'static str,
        configure: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        let mut program = Program::start(subcommand, |command| {
            configure(command);
            command
        })?;
        let address = address(&mut program, greeting).await?;
        let door = Arc::new(Door::default());
        door.open(address);
        Ok(Self { program: AsyncMutex::new(program), greeting, door })
    }

    /// Speaks to this very replica.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.door.address().context("it is down")?))
    }

    /// Waits until it says that it is ready.
    pub async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let client = self.client()?;
        let ready = async || client.get("/actuator/health/readiness").await?.expect(200).map(drop);
        eventually(READY_DEADLINE, "a replica is ready", ready).await
    }

    /// Ends it as kill -9 does.
    pub async fn kill_9(&self) -> anyhow::Result<()> {
        self.door.close();
        self.program.lock().await.kill_9().await
    }

    /// Ends it in good order, which has to succeed.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        self.door.close();
        let status = self.program.lock().await.terminate().await?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    /// Starts it again after it has ended, at another address, and waits until it is ready.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        let mut program = self.program.lock().await;
        program.start_again()?;
        self.door.open(address(&mut program, self.greeting).await?);
        self.wait_until_ready().await
    }

    /// Stops it in its tracks (SIGSTOP), until [`cont`](Self::cont).
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.door.close();
        self.program.lock().await.stop()
    }

    /// Lets it go on after [`stop`](Self::stop).
    pub async fn cont(&self) -> anyhow::Result<()> {
        let mut program = self.program.lock().await;
        program.cont()?;
        self.door.open(address(&mut program, self.greeting).await?);
        Ok(())
    }

    /// What it has written, over all its starts.
    pub async fn log(&self) -> String {
        self.program.lock().await.log()
    }

    /// What it has written, unless somebody mistreats it at this moment.
    pub(crate) fn log_now(&self) -> Option<String> {
        Some(self.program.try_lock().ok()?.log())
    }
}

/// Where a replica answers, unless it is down.
#[derive(Debug, Default)]
pub(crate) struct Door(Mutex<Option<String>>);

impl Door {
    pub(crate) fn address(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open(&self, address: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The name, the database and the complete setup of a new system.
async fn prepare(mut setup: Setup) -> anyhow::Result<(String, TestDatabase, Setup)> {
    if setup.transport == Transport::Kafka && setup.kafka.is_none() {
        setup.kafka = Some(Kafka::shared().await?.bootstrap().to_owned());
    }
    let database = match setup.database.take() {
        Some(database) => database,
        None => TestDatabase::create().await?,
    };
    Ok((unique_name(), database, setup))
}

/// The manifest, as a user would write it.
fn manifest(name: &str, setup: &Setup) -> String {
    let lanes = setup.lanes.map(|lanes| format!("lanes: {lanes}"));
    let timeout = setup.payment_timeout.map(|timeout| format!("paymentTimeout: {timeout}"));
    let attempts = setup.payment_attempts.map(|attempts| format!("paymentAttempts: {attempts}"));
    let orders: Vec<String> = timeout.into_iter().chain(attempts).collect();
    let orders = format!("orders: {{{}}}", orders.join(", "));
    let spec: Vec<String> = lanes.into_iter().chain([orders]).collect();
    format!("{MANIFEST}metadata: {{name: {name}}}\nspec: {{{}}}\n", spec.join(", "))
}

/// What a service's own process is told by its environment.
fn environment(service: Service, setup: &Setup) -> impl Iterator<Item = (&'static str, String)> {
    let lanes = setup.lanes.map(|lanes| (env::LANES, lanes.to_string()));
    let timeout = setup.payment_timeout.map(|timeout| (env::PAYMENT_TIMEOUT, timeout.to_owned()));
    let attempts = setup.payment_attempts.map(|attempts| (env::PAYMENT_ATTEMPTS, attempts.to_string()));
    let orders = timeout.into_iter().chain(attempts).filter(move |_| service == Service::Order);
    lanes.into_iter().chain(orders)
}

/// What every process of a system is told.
fn configure(command: &mut Command, setup: &Setup) {
    command.env("RUST_LOG", log_filter());
    command.envs(setup.variables.iter().map(|(name, value)| (*name, value)));
    if let Some(bootstrap) = &setup.kafka {
        command.args(["--kafka", bootstrap]);
    }
}

/// What whoever runs the tests wants logged, and the line that says where a service listens.
fn log_filter() -> String {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    format!("{wanted},process::serve=info")
}

/// The address that a program says after `greeting`, since its last start.
async fn address(program: &mut Program, greeting: &str) -> anyhow::Result<String> {
    let line = program.says(greeting, READY_DEADLINE).await?;
    let (_, said) = line.split_once(greeting).context("it says so")?;
    let address = said.split_whitespace().next().context("an address follows")?;
    Ok(if address.starts_with("http") { address.to_owned() } else { format!("http://{address}") })
}
