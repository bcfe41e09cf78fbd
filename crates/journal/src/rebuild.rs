//! Rebuilding a view beside the live one: its tables are made anew in a schema of their own, filled from the source's
//! events by the model that fills the live ones, compared, and swapped in. The live view goes on meanwhile, and so do its
//! readers.
//!
//! * Events are replayed in rounds, each up to where the live view stands, until little is left.
//! * What is there is compared row by row as of one moment, in a snapshot, which holds nobody up.
//! * The swap is one short transaction. It locks the lanes of the live view, so that no batch of it runs, replays up to
//!   exactly its positions, and only then waits for the tables. Every wait in it has a bound; one that is over leaves
//!   everything as it was.
//!
//! Lanes, positions and dead letters of the live view stay as they are: only the service's own tables are exchanged. What
//! somebody granted on those by hand goes with them, and a relation made on top of them by hand is in the way.

mod compare;
mod progress;
mod replay;
mod shadow;
mod swap;

use contract::{Lane, Topic};

use crate::{Database, Model, Opening, UnreadableRow};

pub use compare::{Difference, Discrepancy};
pub use progress::Missing;

use shadow::Shadow;

/// Events that may be left when the live view is stopped for the swap: some ten milliseconds' work.
const NEAR_EVENTS: u64 = 1_000;
/// Rounds after which a view that still moves on by more than that is given up. A rebuild is many times faster than what
/// it rebuilds, so that each round is a fraction of the one before.
const MAX_ROUNDS: u32 = 50;

/// What is to become of the rebuilt tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The live ones are compared with them, no more.
    Compare,
    /// They take the place of the live ones.
    Swap,
}

/// What a rebuild did and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Events that were replayed.
    pub events: u64,
    /// Those among them that the model could not read and that were passed over.
    pub unreadable: u64,
    /// Rows of the rebuilt tables when they were compared.
    pub rows: u64,
    /// Rows that were missing, extra or other in the live tables.
    pub differing: u64,
    /// The first of them, as many as are told by example.
    pub examples: Vec<Difference>,
    /// Events that the live view had not applied yet and the rebuilt one therefore lacks as well.
    pub behind: u64,
    /// Whether the rebuilt tables are the live ones now.
    pub swapped: bool,
}

/// Why a view was not rebuilt. Everything is as before then, except after [`RebuildError::Unsure`].
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// No service has made the view.
    #[error("there is no view {0} in this database; its service makes it when it starts")]
    NoView(&'static str),
    /// Someone else rebuilds the view at this moment.
    #[error("another rebuild of {0} is under way")]
    UnderWay(&'static str),
    /// The live tables are those of another version.
    #[error(
        "the tables of {schema} are of another version, at step {found} instead of {wanted}; rebuild with the version of its service"
    )]
    OtherVersion {
        /// The view.
        schema: &'static str,
        /// Migration steps that the live tables have.
        found: i64,
        /// Migration steps that this version knows.
        wanted: i64,
    },
    /// Another user owns the live tables and would lose them.
    #[error("the tables of {schema} belong to the user {owner}; connect as that user")]
    ForeignOwner {
        /// The view.
        schema: &'static str,
        /// Who owns them.
        owner: String,
    },
    /// An event is not there any more.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The view does not say how far it is.
    #[error("{schema} keeps no position in lane {lane} of {topic}")]
    NoPosition {
        /// The view.
        schema: &'static str,
        /// The source.
        topic: Topic,
        /// The lane.
        lane: Lane,
    },
    /// The view moves on as fast as it is rebuilt.
    #[error("{0} moves on as fast as it is rebuilt")]
    TooFast(&'static str),
    /// Lanes or tables were not let go in time.
    #[error(
        "someone uses the tables of {0} and does not let them go, such as an `ordersystem audit` or a backup; try again later"
    )]
    InUse(&'static str),
    /// The swap took so long that it was given up.
    #[error("the swap took longer than {0} s")]
    TooLong(u64),
    /// The connection was lost while the swap was committed: the live tables are either the old or the rebuilt ones.
    #[error("the connection was lost during the swap: the tables of {0} are the old or the rebuilt ones")]
    Unsure(&'static str),
    /// The database cannot be reached.
    #[error("cannot connect to the database")]
    Connect(#[source] tokio_postgres::Error),
    /// The schema beside the live one cannot be made.
    #[error("cannot make the tables")]
    Make(#[source] tokio_postgres::Error),
    /// It cannot be told how far the live view is.
    #[error("cannot read the positions")]
    Positions(#[source] tokio_postgres::Error),
    /// Events cannot be read or projected.
    #[error("cannot replay the events")]
    Replay(#[source] tokio_postgres::Error),
    /// The model cannot read a row of its own.
    #[error(transparent)]
    Row(#[from] UnreadableRow),
    /// The tables cannot be compared.
    #[error("cannot compare the tables")]
    Compare(#[source] tokio_postgres::Error),
    /// The tables cannot be swapped.
    #[error("cannot swap the tables")]
    Swap(#[source] tokio_postgres::Error),
}

/// Rebuilds a view in `database` by the model that fills it, while its service runs or not.
///
/// # Panics
///
/// If `opening` publishes: a journal that others read is no view.
pub async fn rebuild<M: Model>(
    database: &Database,
    opening: Opening,
    model: &M,
    aim: Aim,
) -> Result<Rebuilt, RebuildError> {
    assert!(opening.publishes.is_none(), "{} is no view", opening.schema);
    let mut shadow = Shadow::make(database, opening, model).await?;
    let rebuilt = shadow.rebuild(aim).await;
    if !rebuilt.as_ref().is_ok_and(|rebuilt| rebuilt.swapped) {
        shadow.remove().await;
    }
    rebuilt
}

impl<M: Model> Shadow<'_, M> {
    async fn rebuild(&mut self, aim: Aim) -> Result<Rebuilt, RebuildError> {
        self.catch_up().await?;
        let compared = self.compare().await?;
        let (swapped, behind) = match aim {
            Aim::Compare => (false, compared.behind),
            Aim::Swap => (true, self.swap().await?),
        };
        let (events, unreadable) = (self.progress.events, self.progress.unreadable);
        let (rows, differing, examples) = (compared.rows, compared.differing, compared.examples);
        Ok(Rebuilt { events, unreadable, rows, differing, examples, behind, swapped })
    }

    /// Replays until little is left of the way to where the live view stands.
    async fn catch_up(&mut self) -> Result<(), RebuildError> {
        for _ in 0..MAX_ROUNDS {
            let target = self.live().await?.applied;
            let distance = self.progress.distance(&target);
            self.replay(&target).await?;
            if distance <= NEAR_EVENTS {
                return Ok(());
            }
        }
        Err(RebuildError::TooFast(self.opening.schema))
    }
}
