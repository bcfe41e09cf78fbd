//! What a system is to run on, and how its processes are told.

use std::process::Command;

use anyhow::Context;
use contract::env;

use super::Service;
use crate::kafka::Kafka;
use crate::postgres::TestDatabase;
use crate::program::ORDERSYSTEM;

/// How a manifest begins.
const MANIFEST: &str = "apiVersion: ordersystem.dev/v1alpha1\nkind: OrderSystem\n";

/// How the services hear of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// They read each other's journals.
    Log,
    /// Over the broker that the tests of this process share, unless [`Setup::kafka`] names another.
    Kafka,
}

/// What a system is to run on and how. A [`Transport`] alone will do.
#[derive(Debug)]
pub struct Setup {
    transport: Transport,
    program: &'static str,
    kafka: Option<String>,
    database_port: Option<u16>,
    database: Option<TestDatabase>,
    users: Option<fn(Service) -> String>,
    lanes: Option<u16>,
    payment_timeout: Option<&'static str>,
    payment_attempts: Option<u8>,
    variables: Vec<(&'static str, String)>,
}

impl From<Transport> for Setup {
    fn from(transport: Transport) -> Self {
        Self {
            transport,
            program: ORDERSYSTEM,
            kafka: None,
            database_port: None,
            database: None,
            users: None,
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

    /// With another program than users start.
    #[must_use]
    pub fn program(self, program: &'static str) -> Self {
        Self { program, ..self }
    }

    /// Its processes reach the database by this port of the machine, such as a proxy's.
    #[must_use]
    pub fn database_by(self, port: u16) -> Self {
        Self { database_port: Some(port), ..self }
    }

    /// On `database`, such as one of a test's own server; it goes with the system.
    #[must_use]
    pub fn database(self, database: TestDatabase) -> Self {
        Self { database: Some(database), ..self }
    }

    /// Each service's own process goes to the database as another user, `USER:PASSWORD`.
    #[must_use]
    pub fn users(self, users: fn(Service) -> String) -> Self {
        Self { users: Some(users), ..self }
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

    /// Finds what is left open: the broker and the database, which it hands on.
    pub(super) async fn complete(&mut self) -> anyhow::Result<TestDatabase> {
        if self.transport == Transport::Kafka && self.kafka.is_none() {
            self.kafka = Some(Kafka::shared().await?.bootstrap().to_owned());
        }
        match self.database.take() {
            Some(database) => Ok(database),
            None => TestDatabase::create().await,
        }
    }

    /// The program that its processes run.
    pub(super) fn executable(&self) -> &'static str {
        self.program
    }

    /// The database's URL for its processes.
    pub(super) fn url(&self, database: &TestDatabase) -> anyhow::Result<String> {
        self.database_port.map_or_else(|| Ok(database.url().to_owned()), |port| database.url_by(port))
    }

    /// The database's URL for the process of a service.
    pub(super) fn url_of(&self, service: Service, database: &TestDatabase) -> anyhow::Result<String> {
        let url = self.url(database)?;
        let Some(users) = self.users else { return Ok(url) };
        let (_, address) = url.split_once('@').context("a URL names its user")?;
        Ok(format!("postgres://{}@{address}", users(service)))
    }

    /// The manifest, as a user would write it.
    pub(super) fn manifest(&self, name: &str) -> String {
        let lanes = self.lanes.map(|lanes| format!("lanes: {lanes}"));
        let timeout = self.payment_timeout.map(|timeout| format!("paymentTimeout: {timeout}"));
        let attempts = self.payment_attempts.map(|attempts| format!("paymentAttempts: {attempts}"));
        let orders: Vec<String> = timeout.into_iter().chain(attempts).collect();
        let orders = format!("orders: {{{}}}", orders.join(", "));
        let spec: Vec<String> = lanes.into_iter().chain([orders]).collect();
        format!("{MANIFEST}metadata: {{name: {name}}}\nspec: {{{}}}\n", spec.join(", "))
    }

    /// What a service's own process is told by its environment instead.
    pub(super) fn environment(&self, service: Service) -> impl Iterator<Item = (&'static str, String)> {
        let lanes = self.lanes.map(|lanes| (env::LANES, lanes.to_string()));
        let timeout = self.payment_timeout.map(|timeout| (env::PAYMENT_TIMEOUT, timeout.to_owned()));
        let attempts = self.payment_attempts.map(|attempts| (env::PAYMENT_ATTEMPTS, attempts.to_string()));
        let orders = timeout.into_iter().chain(attempts).filter(move |_| service == Service::Order);
        lanes.into_iter().chain(orders)
    }

    /// What every process is told.
    pub(super) fn configure(&self, command: &mut Command) {
        command.env("RUST_LOG", log_filter());
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        if let Some(bootstrap) = &self.kafka {
            command.args(["--kafka", bootstrap]);
        }
    }
}

/// What whoever runs the tests wants logged, and the line that says where a service listens.
fn log_filter() -> String {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    format!("{wanted},process::serve=info")
}
