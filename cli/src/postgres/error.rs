//! What can go wrong between a data folder and a PostgreSQL that answers.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::binaries::OLDEST_MAJOR;
use super::server::Failure;

/// The step that failed. Hints are on a line of their own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder, or a program, cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its owner is alive.
    #[error(
        "{} is in use by process {owner}\nStop that one, or choose another folder with `--data DIR`.",
        dir.display()
    )]
    InUse {
        /// The folder of the PostgreSQL.
        dir: PathBuf,
        /// The id of the process that owns it.
        owner: String,
    },
    /// There is nothing to attach to.
    #[error("there is no data in {}\n`ordersystem up --data DIR` makes it.", dir.display())]
    NoData {
        /// The data folder.
        dir: PathBuf,
    },
    /// We are root and there is nobody else to be.
    #[error(
        "PostgreSQL does not run as root, and /etc/passwd has no account `postgres` or `nobody` to run it as\n\
        Run this as another user, or add one: `useradd --system postgres`."
    )]
    NoAccount,
    /// No program that fits, and none may be fetched.
    #[error("no `postgres` {} with its `initdb` on the PATH", Wanted(*major))]
    NotOnPath {
        /// The major version that wrote the data, if there is data.
        major: Option<u32>,
    },
    /// The download failed.
    #[error(
        "PostgreSQL {major} could not be fetched: {reason}\n\
        Put a `postgres` of that version on the PATH, or use a database of yours with `--database URL`."
    )]
    Fetch {
        /// Which version.
        major: u32,
        /// Why not.
        reason: String,
    },
    /// The archive is not what it should be.
    #[error("PostgreSQL could not be unpacked to {}: {reason}", home.display())]
    Unpack {
        /// Where to.
        home: PathBuf,
        /// Why not.
        reason: String,
    },
    /// `initdb` failed.
    #[error("PostgreSQL's data could not be made: {reason}")]
    CreateData {
        /// In its own words.
        reason: String,
    },
    /// The server ended by itself.
    #[error("PostgreSQL ended: {reason}")]
    Ended {
        /// In its own words.
        reason: String,
    },
    /// It runs but does not answer.
    #[error("PostgreSQL did not accept connections in time")]
    NotReady(#[source] tokio_postgres::Error),
    /// It answers, but not at every address.
    #[error("PostgreSQL does not listen on {address}")]
    NotListening {
        /// Where it should.
        address: IpAddr,
        /// What came of trying.
        source: tokio_postgres::Error,
    },
    /// The database could not be created.
    #[error("the database could not be created")]
    CreateDatabase(#[source] tokio_postgres::Error),
    /// It survived every signal.
    #[error("PostgreSQL does not end: process {process}")]
    Stop {
        /// The id of its first process.
        process: i32,
    },
}

impl Error {
    /// Turns an I/O error at `path` into one that names it.
    pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::File { path: path.to_path_buf(), source }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let reason = failure.words;
        Self::Ended { reason }
    }
}

/// Which versions would do, in words.
struct Wanted(Option<u32>);

impl fmt::Display for Wanted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(major) => write!(out, "of version {major}, which wrote the data,"),
            None => write!(out, "of version {OLDEST_MAJOR} or later"),
        }
    }
}
