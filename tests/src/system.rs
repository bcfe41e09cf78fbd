//! A running order system: the program as its users start it, on a real database, over either transport.

mod replica;
mod setup;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use futures_util::future::try_join_all;
use ordersystem::audit::{self, AuditSettings, Output};
use ordersystem::location::Location;

use crate::postgres::TestDatabase;
use crate::program::Program;
use crate::shop::Shop;
use crate::{Folder, eventually, unique_name};

pub(crate) use replica::Door;
pub use replica::Replica;
pub use setup::{Setup, Transport};

/// How long the audit may wait for what is on its way, in seconds.
const AUDIT_WAIT_SECONDS: &str = "30";

/// How long the audit may take, its wait included.
const AUDIT_DEADLINE: Duration = Duration::from_mins(1);

/// What `up` says when it is ready, before its address.
const READY: &str = "ordersystem is ready: ";

/// What a service says when it listens, before its address.
const SERVING: &str = "serving HTTP address=";

/// One of the four services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// A running order system. Its processes are killed with this value, and its database goes.
#[derive(Debug)]
pub struct System {
    name: String,
    // Before the database: its processes end before it is dropped.
    replicas: [Vec<Arc<Replica>>; 4],
    database: TestDatabase,
    /// Of the manifest.
    _folder: Option<Folder>,
}

impl System {
    /// Starts `ordersystem up`: the four services in one process.
    pub async fn up(setup: impl Into<Setup>) -> anyhow::Result<Self> {
        let (name, mut setup) = (unique_name(), setup.into());
        let database = setup.complete().await?;
        let folder = Folder::new("system")?;
        let file = folder.path().join("system.yaml");
        fs::write(&file, setup.manifest(&name))?;
        let url = setup.url(&database)?;
        let replica = Replica::start(setup.executable(), "up", READY, |command| {
            command.arg("--file").arg(file).args(["--listen", "127.0.0.1:0", "--database", &url]);
            setup.configure(command);
        });
        let replica = Arc::new(replica.await?);
        Ok(Self { name, replicas: [(); 4].map(|()| vec![Arc::clone(&replica)]), database, _folder: Some(folder) })
    }

    /// Starts `replicas` of each of the four services, each a process of its own, and waits until all are ready.
    pub async fn services(setup: impl Into<Setup>, replicas: usize) -> anyhow::Result<Self> {
        let (name, mut setup) = (unique_name(), setup.into());
        let database = setup.complete().await?;
        let start = async |service: Service| {
            let url = setup.url_of(service, &database)?;
            let replica = Replica::start(setup.executable(), service.name(), SERVING, |command| {
                command.args(["--listen", "127.0.0.1:0", "--name", &name, "--database", &url]);
                command.envs(setup.environment(service));
                setup.configure(command);
            });
            replica.await.map(Arc::new)
        };
        let all = Service::ALL.map(|service| try_join_all((0..replicas).map(|_| start(service))));
        let mut all = try_join_all(all).await?.into_iter();
        let replicas = [(); 4].map(|()| all.next().unwrap_or_default());
        Ok(Self { name, replicas, database, _folder: None })
    }

    /// Ends every process in good order.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        let all = self.replicas.iter().flatten().map(|replica| replica.terminate());
        try_join_all(all).await.map(drop)
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

    /// Waits until no message and no request to the payment provider is on its way and the books balance. Orders may still
    /// wait for whoever is to pay them.
    pub async fn at_rest(&self) -> anyhow::Result<()> {
        let settings = AuditSettings {
            location: Location::of(self.database.url()),
            settled: false,
            patience: audit::PATIENCE_SECONDS,
            wait: None,
            output: Output::Json,
        };
        eventually(AUDIT_DEADLINE, "nothing is in flight", async || {
            let report = audit::run(settings.clone()).await?;
            let in_flight = &report.in_flight;
            ensure!(report.holds && in_flight.messages == 0 && in_flight.payments == 0, "{report}");
            Ok(())
        })
        .await
    }

    /// Waits until the system is at rest and every order settled, and fails unless `ordersystem audit` says that its
    /// books balance.
    pub async fn audit(&self) -> anyhow::Result<()> {
        self.audit_within(AUDIT_DEADLINE).await
    }

    /// Like [`audit`](Self::audit), for a system that holds so much that its audit takes longer.
    pub async fn audit_within(&self, deadline: Duration) -> anyhow::Result<()> {
        self.audit_with(&["--wait", AUDIT_WAIT_SECONDS], deadline).await
    }

    /// Like [`audit`](Self::audit), for a system that others use at this moment: what is on its way is no fault.
    pub async fn audit_in_use(&self) -> anyhow::Result<()> {
        self.audit_with(&[], AUDIT_DEADLINE).await
    }

    async fn audit_with(&self, arguments: &[&str], deadline: Duration) -> anyhow::Result<()> {
        let mut audit =
            Program::start("audit", |command| command.args(["--database", self.database.url()]).args(arguments))?;
        let status = audit.ended(deadline).await?;
        ensure!(status.success(), "the audit says no ({status}): {}", audit.log());
        Ok(())
    }
}
