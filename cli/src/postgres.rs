//! A PostgreSQL of our own, for `ordersystem up` without `--database` and for tests.
//!
//! Its folder is `postgres` below the data folder: data, password, port and log, found again at the next start. It runs
//! as a child process, as another account when we are root. A child outlives a parent that is killed, so whoever starts
//! it next stops it in good order first and starts its own: then its settings and log are the new owner's. A lock on
//! the folder tells such an orphan from the PostgreSQL of an owner that is alive, which is never touched.

mod account;
mod binaries;
mod data;
mod error;
mod fetch;
mod home;
mod huge_pages;
mod memory;
mod postmaster;
mod server;
mod write_back;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Config, NoTls};

use account::Account;
use binaries::Programs;
pub use error::Error;
use home::{Home, Lock};
use huge_pages::HugePages;
use server::{CRASH, Failure, FailureKind, STOP, Server, Step};

/// The one user that there is.
const USER: &str = "ordersystem";

/// The database that everything is kept in.
const DATABASE: &str = "ordersystem";

/// The database that there always is.
const FIRST_DATABASE: &str = "postgres";

/// How long a start may take: after a crash up to 2 GB of log are replayed first.
const READY_DEADLINE: Duration = Duration::from_mins(5);

/// How often to try whether it accepts connections.
const READY_POLL: Duration = Duration::from_millis(50);

/// How long one try may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Starts in a row that may fail for a reason that passes. Left-over sessions are gone within a second or two.
const STARTS: u32 = 20;

/// How often to look whether it has ended by itself: soon enough for a message, seldom enough to cost nothing.
const ENDED_POLL: Duration = Duration::from_millis(500);

/// The wait between two such starts.
const RESTART_PAUSE: Duration = Duration::from_millis(250);

/// Where PostgreSQL's programs come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binaries {
    /// From the PATH if there is a version that fits, else fetched.
    #[default]
    PathElseFetched,
    /// From the PATH or not at all.
    Path,
    /// Fetched once and kept in the user's cache folder, whatever is on the PATH.
    Fetched,
}

/// How to run it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where its programs come from. Data is always run by the major version that wrote it.
    pub binaries: Binaries,
    /// Addresses to listen on beside 127.0.0.1, such as a bridge over which pods come.
    pub also_listen: Vec<IpAddr>,
    /// Whether its buffers are to be in huge pages where we may have Linux make them, which only root may: it takes a tenth
    /// less CPU then, and up to 1.2 GB at once.
    pub huge_pages: bool,
}

/// A running PostgreSQL. Dropping it stops it in good order, which may block for seconds: prefer [`Postgres::stop`].
#[derive(Debug)]
pub struct Postgres {
    access: Access,
    /// None if another process owns it.
    owned: Option<Owned>,
}

/// The server that ends with us. The fields' order is that of their end: the lock is given back last.
#[derive(Debug)]
struct Owned {
    server: Server,
    _lock: Lock,
}

impl Postgres {
    /// Starts it on the data below `data_dir`, which is created at the first start, and waits until it accepts
    /// connections and has its database. See the module for what happens to one that still runs there.
    pub async fn start(data_dir: &Path, options: &Options) -> Result<Self, Error> {
        let account = Account::choose(data_dir)?;
        let home = Home::prepare(data_dir, account)?;
        let lock = home.lock()?;
        stop_orphan(&home).await?;
        let programs = binaries::find(options.binaries, account, &home).await?;
        if home.major().is_none() {
            data::create(&programs, account, &home).await?;
        }
        let (server, access) = launch(&programs, account, &home, options).await?;
        access.create_database().await?;
        let owned = Some(Owned { server, _lock: lock });
        Ok(Self { access, owned })
    }

    /// The PostgreSQL on the data below `data_dir`: the one that runs, which is its owner's to stop, or else one
    /// started for as long as this value lives. An error if there is no data.
    pub async fn attach(data_dir: &Path, options: &Options) -> Result<Self, Error> {
        let Some(home) = Home::find(data_dir) else {
            let dir = data_dir.to_path_buf();
            return Err(Error::NoData { dir });
        };
        match Self::start(data_dir, options).await {
            Err(Error::InUse { .. }) => Self::of_another(&home).await,
            started => started,
        }
    }

    async fn of_another(home: &Home) -> Result<Self, Error> {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            // Its owner may be starting it, so it may have no port yet, or still the port before.
            let access = Access::of(home, home.last_port().unwrap_or_default())?;
            match access.connect(Ipv4Addr::LOCALHOST.into(), DATABASE).await {
                Ok(_) => return Ok(Self { access, owned: None }),
                Err(error) if Instant::now() > deadline => return Err(Error::NotReady(error)),
                Err(_) => tokio::time::sleep(READY_POLL).await,
            }
        }
    }

    /// The database, for programs on this machine: `postgres://USER:PASSWORD@127.0.0.1:PORT/DATABASE`. The same after
    /// every start, unless another program took the port meanwhile.
    pub fn url(&self) -> String {
        self.access.url(Ipv4Addr::LOCALHOST.into())
    }

    /// The database, for who comes by another address of [`Options::also_listen`].
    pub fn url_at(&self, address: IpAddr) -> String {
        self.access.url(address)
    }

    /// The id of its first process, if it is ours.
    pub fn process_id(&self) -> Option<u32> {
        self.owned.as_ref().map(|owned| owned.server.process_id())
    }

    /// Waits until it ends by itself and says why; for ever if it is another's.
    pub async fn ended(&mut self) -> Error {
        let Some(owned) = &mut self.owned else {
            return std::future::pending().await;
        };
        loop {
            if let Some(failure) = owned.server.failure() {
                return failure.into();
            }
            tokio::time::sleep(ENDED_POLL).await;
        }
    }

    /// Stops it in good order: sessions are cut and everything is written. It is not ours to stop if it was another's.
    pub async fn stop(self) -> Result<(), Error> {
        self.end(STOP).await
    }

    /// Ends it at once, as a crash would (`pg_ctl stop -m immediate`), for tests. The next start recovers.
    pub async fn kill(self) -> Result<(), Error> {
        self.end(CRASH).await
    }

    async fn end(self, steps: &'static [Step]) -> Result<(), Error> {
        let Some(Owned { server, _lock }) = self.owned else {
            return Ok(());
        };
        blocking(move || server.end(steps)).await
    }
}

/// How to get in.
struct Access {
    password: String,
    port: u16,
}

impl fmt::Debug for Access {
    /// Without the password, which belongs into no log.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Access").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Access {
    fn of(home: &Home, port: u16) -> Result<Self, Error> {
        let password = home.password()?;
        Ok(Self { password, port })
    }

    fn url(&self, address: IpAddr) -> String {
        let Self { password, port } = self;
        let host = SocketAddr::new(address, *port);
        format!("postgres://{USER}:{password}@{host}/{DATABASE}")
    }

    async fn connect(&self, address: IpAddr, database: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = Config::new()
            .host(address.to_string())
            .port(self.port)
            .user(USER)
            .password(&self.password)
            .dbname(database)
            .connect_timeout(CONNECT_DEADLINE)
            .connect(NoTls)
            .await?;
        // It ends with its client, and reports what goes wrong to the client's own calls.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Whether the server can be reached at each of `addresses`: PostgreSQL is content with one address out of many,
    /// but who asked for these is not.
    async fn check(&self, addresses: &[IpAddr]) -> Result<(), Error> {
        for &address in addresses {
            let reached = self.connect(address, FIRST_DATABASE).await;
            reached.map_err(|source| Error::NotListening { address, source })?;
        }
        Ok(())
    }

    async fn create_database(&self) -> Result<(), Error> {
        let create = async {
            let client = self.connect(Ipv4Addr::LOCALHOST.into(), FIRST_DATABASE).await?;
            let known = client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE]);
            if known.await?.is_none() {
                client.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
            }
            Ok(())
        };
        create.await.map_err(Error::CreateDatabase)
    }
}

async fn stop_orphan(home: &Home) -> Result<(), Error> {
    let Some(orphan) = postmaster::running(home) else {
        return Ok(());
    };
    tracing::info!(process = orphan.as_raw_pid(), "stopping the PostgreSQL of a process that was killed");
    let home = home.clone();
    blocking(move || server::end(orphan, STOP, || postmaster::running(&home).is_none())).await
}

/// Starts the server and waits until it is ready, again and again while what is in its way goes away by itself.
async fn launch(
    programs: &Programs,
    account: Account,
    home: &Home,
    Options { also_listen, huge_pages, .. }: &Options,
) -> Result<(Server, Access), Error> {
    let buffers = memory::buffers();
    // Until it has taken them.
    let _allowed = huge_pages.then(|| HugePages::allow(buffers));
    let mut starts_left = STARTS;
    loop {
        postmaster::disown(home)?;
        let mut server = Server::spawn(programs, account, home, also_listen, buffers)?;
        let access = Access::of(home, server.port())?;
        let Err(failure) = ready(&mut server, &access).await? else {
            access.check(also_listen).await?;
            return Ok((server, access));
        };
        match failure.kind {
            FailureKind::PortTaken if starts_left > 1 => home.forget_port()?,
            FailureKind::SessionsLeft if starts_left > 1 => tokio::time::sleep(RESTART_PAUSE).await,
            _ => return Err(failure.into()),
        }
        starts_left -= 1;
    }
}

/// Waits until the server accepts connections or has ended.
async fn ready(server: &mut Server, access: &Access) -> Result<Result<(), Failure>, Error> {
    let deadline = Instant::now() + READY_DEADLINE;
    while let Err(error) = access.connect(Ipv4Addr::LOCALHOST.into(), FIRST_DATABASE).await {
        if let Some(failure) = server.failure() {
            return Ok(Err(failure));
        }
        if Instant::now() > deadline {
            return Err(Error::NotReady(error));
        }
        tokio::time::sleep(READY_POLL).await;
    }
    Ok(Ok(()))
}

/// Runs what waits for a process on a thread of its own.
async fn blocking(end: impl FnOnce() -> Result<(), Error> + Send + 'static) -> Result<(), Error> {
    match tokio::task::spawn_blocking(end).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
