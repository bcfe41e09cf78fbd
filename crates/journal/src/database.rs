//! Connections to PostgreSQL: dedicated ones for the hot path, a pool for reads, both bound to one schema.

mod trust;

use std::{str::FromStr, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Timeouts};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::{MakeTlsConnector, TlsStream};
use tokio_postgres::{Client, Config, Connection, Socket};

use crate::settings::DatabaseSettings;
use trust::Trust;

/// Connections that reads of one schema share. Ten serve thousands of point reads a second; more would only queue in
/// PostgreSQL instead of here.
const READ_CONNECTIONS: usize = 10;
/// How long a read waits for a connection before its request is answered 503.
const READ_WAIT: Duration = Duration::from_secs(2);
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may be silent before its connection counts as lost.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a transaction may wait for its client. A process that is stopped in the middle of a batch holds its lanes'
/// locks; after this time PostgreSQL ends the transaction, so that another process can take the lanes over.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(3);
/// How long one statement may run on a writer's connection, lock waits included.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// What holds for every connection. Statements are short; compiling them costs more than running them. That something is
/// there already is no news to anybody.
const OPTIONS: &str = "-c jit=off -c client_min_messages=warning";

/// What reads along an index.
const ALONG_INDEX: &str = "-c enable_bitmapscan=off -c enable_sort=off";

/// A connection that still has to be driven.
pub(crate) type Driven = Connection<Socket, TlsStream<Socket>>;

/// Why the database's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseSettingsError {
    /// The URL cannot be parsed. It holds a password, so it is not shown.
    #[error("the database URL cannot be read: {0}")]
    Url(tokio_postgres::Error),
    /// The certificate authority cannot be loaded.
    #[error("TLS to the database cannot be set up: {0}")]
    Tls(openssl::error::ErrorStack),
    /// The pool cannot be built.
    #[error("the read pool cannot be built: {0}")]
    Pool(deadpool_postgres::BuildError),
}

/// A PostgreSQL database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: MakeTlsConnector,
    trust: Trust,
}

impl Database {
    /// The database that `settings` name. Nothing is connected yet.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, DatabaseSettingsError> {
        let mut config =
            Config::from_str(&trust::understood(&settings.database_url)).map_err(DatabaseSettingsError::Url)?;
        let trust = Trust::of(&settings.database_url, &config, settings.database_ca_file.is_some());
        config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(TCP_USER_TIMEOUT).ssl_mode(trust.mode);
        let tls = connector(settings, trust.is_verified).map_err(DatabaseSettingsError::Tls)?;
        Ok(Self { config, tls: MakeTlsConnector::new(tls), trust })
    }

    /// Says so in the log when somebody between us and the database could listen or answer in its place.
    pub(crate) async fn warn_if_exposed(&self, client: &Client, schema: &str) -> Result<(), tokio_postgres::Error> {
        if !self.trust.is_remote {
            return Ok(());
        }
        let sql = "SELECT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)";
        let is_encrypted: bool = client.query_one(sql, &[]).await?.get(0);
        let hint = "`sslmode=require` in its URL insists on TLS and a good certificate";
        if !is_encrypted {
            tracing::warn!(schema, hint, "the connection to the database is not encrypted");
        } else if !self.trust.is_verified {
            tracing::warn!(schema, hint, "the database's certificate is not checked");
        }
        Ok(())
    }

    /// A connection for a journal's writer, in `schema`.
    ///
    /// Plans are generic and never scan a table: statements are prepared when tables are still empty, and a plan made
    /// then would otherwise stay.
    pub(crate) async fn connect_writer(&self, schema: &str) -> Result<Client, tokio_postgres::Error> {
        let milliseconds = |duration: Duration| duration.as_millis();
        let (idle, statement) = (milliseconds(IDLE_IN_TRANSACTION), milliseconds(STATEMENT_TIMEOUT));
        let options = format!(
            "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off \
             -c idle_in_transaction_session_timeout={idle} -c statement_timeout={statement}"
        );
        self.connect_in(schema, "-writer", &options).await
    }

    /// A connection to read the events of `schema` with, again and again.
    ///
    /// Plans are generic and follow the index, for the reasons of [`Self::connect_writer`] and [`Self::pool`].
    pub(crate) async fn connect_reader(&self, schema: &str) -> Result<Client, tokio_postgres::Error> {
        let options = format!("-c plan_cache_mode=force_generic_plan -c enable_seqscan=off {ALONG_INDEX}");
        self.connect_in(schema, "-reader", &options).await
    }

    /// A connection of a service's own, in `schema`.
    pub async fn connect_to(&self, schema: &str) -> Result<Client, tokio_postgres::Error> {
        self.connect_in(schema, "", "").await
    }

    /// A connection whose messages the caller reads.
    pub(crate) async fn connect_driven(&self) -> Result<(Client, Driven), tokio_postgres::Error> {
        self.with_options("-c application_name=ordersystem-hints").connect(self.tls.clone()).await
    }

    async fn connect_in(&self, schema: &str, purpose: &str, options: &str) -> Result<Client, tokio_postgres::Error> {
        let config = self.with_options(&format!("{} {options}", bound(schema, purpose)));
        let (client, driven) = config.connect(self.tls.clone()).await?;
        tokio::spawn(drive(driven));
        Ok(client)
    }

    fn with_options(&self, options: &str) -> Config {
        let mut config = self.config.clone();
        let given = self.config.get_options().unwrap_or_default();
        config.options(format!("{given} {OPTIONS} {options}"));
        config
    }

    /// A pool for reads in `schema`.
    ///
    /// A page of a list is read along its index from where the page before ended. PostgreSQL guesses badly how many rows a
    /// range of uuids holds, and would rather gather and sort all of it.
    pub fn pool(&self, schema: &str) -> Result<Pool, DatabaseSettingsError> {
        let config = self.with_options(&format!("{} {ALONG_INDEX}", bound(schema, "-reads")));
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        Pool::builder(Manager::from_config(config, self.tls.clone(), recycling))
            .max_size(READ_CONNECTIONS)
            .timeouts(Timeouts { wait: Some(READ_WAIT), create: Some(CONNECT_TIMEOUT), recycle: Some(READ_WAIT) })
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(DatabaseSettingsError::Pool)
    }
}

/// Binds a connection to a schema, and says in `pg_stat_activity` what it is for.
fn bound(schema: &str, purpose: &str) -> String {
    format!("-c application_name={schema}{purpose} -c search_path={schema}")
}

/// Drives a connection until it ends; whoever uses its client learns of the end there.
async fn drive(connection: Driven) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "database connection ended");
    }
}

fn connector(settings: &DatabaseSettings, verified: bool) -> Result<SslConnector, openssl::error::ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    let system = openssl_probe::probe().cert_file;
    if let Some(file) = settings.database_ca_file.as_ref().or(system.as_ref()) {
        builder.set_ca_file(file)?;
    }
    if !verified {
        // It takes what the server offers, as libpq does: that guards against listeners, not impostors.
        builder.set_verify(SslVerifyMode::NONE);
    }
    Ok(builder.build())
}

/// The steps that make a schema what this version needs: each runs once, in order, in one transaction under a lock that
/// all processes share.
pub struct Migration<'m> {
    /// Whose steps these are.
    pub part: &'static str,
    /// The steps, oldest first; what is released is never changed, only added to.
    pub steps: &'m [&'static str],
}

/// The statement that makes `schema` if it is not there. `CREATE SCHEMA IF NOT EXISTS` asks for the right to make schemas
/// even when there is nothing to make, and a service need not have it.
fn laid(schema: &str) -> String {
    format!("DO $$ BEGIN IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA {schema}; END IF; END $$;")
}

/// Makes `schema` if it is missing, and brings it up to date. One that cannot be brought there is left as it was.
pub async fn migrate(
    database: &Database,
    schema: &str,
    migrations: &[Migration<'_>],
) -> Result<(), tokio_postgres::Error> {
    let mut client = database.connect_to(schema).await?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock(hashtext($1))", &[&"ordersystem migrations"]).await?;
    transaction
        .batch_execute(&format!(
            "{}
             CREATE TABLE IF NOT EXISTS migration (part text, step int4, at timestamptz DEFAULT now(), PRIMARY KEY (part, step));",
            laid(schema)
        ))
        .await?;
    for migration in migrations {
        for (number, step) in (1_i32..).zip(migration.steps) {
            let done = "INSERT INTO migration (part, step) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            if transaction.execute(done, &[&migration.part, &number]).await? == 1 {
                transaction.batch_execute(step).await?;
            }
        }
    }
    transaction.commit().await
}
