//! Where a system's database is, as the tools are told that work on it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use journal::{Database, DatabaseSettings};

use crate::postgres::{Options, Postgres};

/// The folder of `ordersystem up` when none is named.
const DEFAULT_DATA: &str = ".ordersystem";

/// Where a system's database is.
#[derive(Args, Clone, Debug, Default)]
pub struct Location {
    /// PostgreSQL connection URL of the system
    #[arg(long, env = contract::env::DATABASE_URL, hide_env_values = true)]
    pub database: Option<String>,
    /// PEM file with the certificate authority of PostgreSQL's certificate; without it, the system's authorities
    #[arg(long, env = contract::env::DATABASE_CA_FILE)]
    pub database_ca_file: Option<PathBuf>,
    /// Folder of an `ordersystem up`, running or stopped, instead; .ordersystem if there is no --database either
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Location {
    /// The database at `url`.
    pub fn of(url: impl Into<String>) -> Self {
        Self { database: Some(url.into()), ..Self::default() }
    }

    /// Does `work` on the database. One that has to be started for that is stopped afterwards.
    pub async fn with_database<T>(&self, work: impl AsyncFnOnce(Database) -> anyhow::Result<T>) -> anyhow::Result<T> {
        match (&self.data, &self.database) {
            (None, Some(url)) => work(self.at(url.clone())?).await,
            (data, _) => {
                let data = data.as_deref().unwrap_or(Path::new(DEFAULT_DATA));
                let postgres = Postgres::attach(data, &Options::default()).await?;
                let done = match self.at(postgres.url()) {
                    Ok(database) => work(database).await,
                    Err(error) => Err(error),
                };
                postgres.stop().await?;
                done
            }
        }
    }

    fn at(&self, database_url: String) -> anyhow::Result<Database> {
        let settings = DatabaseSettings { database_url, database_ca_file: self.database_ca_file.clone() };
        Database::new(&settings).context("cannot use the database")
    }
}
