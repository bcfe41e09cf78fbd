//! Real PostgreSQL for tests.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use ordersystem::postgres::{Options, Postgres};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use crate::Folder;

/// How long removing a database may take; a checkpoint is part of it.
const DROP_DEADLINE: Duration = Duration::from_secs(20);

static SHARED: OnceCell<Server> = OnceCell::const_new();

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A database for one test, empty at first. It is dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    server: String,
}

impl TestDatabase {
    /// A new database on the server that the tests of this process share.
    pub async fn create() -> anyhow::Result<Self> {
        Server::shared().await?.create_database().await
    }

    /// `postgres://USER:PASSWORD@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL for pods, by this machine's `address` for them, which its server must listen on
    /// ([`Options::also_listen`]).
    pub fn url_at(&self, address: Ipv4Addr) -> String {
        self.url.replacen(&format!("@{}:", Ipv4Addr::LOCALHOST), &format!("@{address}:"), 1)
    }

    /// Its URL for who comes by another port of this machine, such as a proxy's.
    pub fn url_by(&self, port: u16) -> anyhow::Result<String> {
        let (before, after) =
            self.url.split_once(&format!("@{}:", Ipv4Addr::LOCALHOST)).context("it has an address")?;
        let (_, database) = after.split_once('/').context("a URL ends in its database")?;
        Ok(format!("{before}@{}:{port}/{database}", Ipv4Addr::LOCALHOST))
    }

    /// Its URL as for a database on another machine, `host`, which its certificate has to name; with more of a query.
    pub fn url_as(&self, host: &str, query: &str) -> String {
        let here = Ipv4Addr::LOCALHOST;
        format!("{}?hostaddr={here}{query}", self.url.replacen(&format!("@{here}:"), &format!("@{host}:"), 1))
    }

    /// A new database with the same content. Nothing may be connected to this one meanwhile.
    pub async fn copy(&self) -> anyhow::Result<Self> {
        create_database(&self.server, &self.name).await
    }

    /// A connection to it, to look at what the system wrote.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        connect(&self.url).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let server = self.server.clone();
        // On a thread and runtime of its own, because the test's runtime waits for this very call.
        let dropped = std::thread::spawn(move || drop_database(&server, &statement)).join();
        if let Ok(Err(error)) = dropped {
            // The server may have been killed by the test; the folder goes in the end, and the database with it.
            println!("database {} was not dropped: {error:#}", self.name);
        }
    }
}

/// A PostgreSQL server. It stops with this value, and its data goes with it.
#[derive(Debug)]
pub struct Server {
    options: Options,
    url: String,
    // Before its folder: it stops before its data is removed.
    running: Option<Postgres>,
    folder: Folder,
}

impl Server {
    /// The server that the tests of this process share: not to be killed.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        SHARED.get_or_try_init(|| Self::start(Options::default())).await
    }

    /// A server of a test's own, which may kill it.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        Self::start_in(Folder::new("postgres")?, options).await
    }

    /// Like [`start`](Self::start), in a folder that may be a volume of its own.
    pub async fn start_in(folder: Folder, options: Options) -> anyhow::Result<Self> {
        let postgres = Postgres::start(folder.path(), &options).await?;
        Ok(Self { options, url: postgres.url(), running: Some(postgres), folder })
    }

    /// The URL of its first database, which is the same after every start.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder that it was given, as `ordersystem up --data DIR` is.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("postgres/log")).unwrap_or_default()
    }

    /// The id of its first process, if it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.running.as_ref()?.process_id()
    }

    /// A new database for one test.
    pub async fn create_database(&self) -> anyhow::Result<TestDatabase> {
        create_database(&self.url, "template1").await
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let running = self.running.take().context("it does not run")?;
        Ok(running.kill().await?)
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let running = self.running.take().context("it does not run")?;
        Ok(running.stop().await?)
    }

    /// Starts it again if it does not answer: it may have ended by itself, or be at its end.
    pub async fn revive(&mut self) -> anyhow::Result<()> {
        if self.running.is_some() {
            if connect(&self.url).await.is_ok() {
                return Ok(());
            }
            self.kill().await?;
        }
        self.start_again().await
    }

    /// Starts it again on its data, at its address.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let postgres = Postgres::start(self.folder.path(), &self.options).await?;
        let url = postgres.url();
        self.running = Some(postgres);
        anyhow::ensure!(url == self.url, "another program took its port: it is now at {url}");
        Ok(())
    }
}

async fn create_database(server: &str, template: &str) -> anyhow::Result<TestDatabase> {
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let (address, _) = server.rsplit_once('/').context("a URL ends in its database")?;
    let client = connect(server).await?;
    client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await?;
    let url = format!("{address}/{name}");
    Ok(TestDatabase { name, url, server: server.to_owned() })
}

/// A connection to the database at `url`; it closes when its client is dropped.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::main(flavor = "current_thread")]
async fn drop_database(server: &str, statement: &str) -> anyhow::Result<()> {
    let dropped = async { Ok(connect(server).await?.batch_execute(statement).await?) };
    tokio::time::timeout(DROP_DEADLINE, dropped).await?
}
