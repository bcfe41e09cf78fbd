//! How a fact is kept and passed on.
//!
//! A service's journal is a table of events in PostgreSQL, divided into lanes. Within a lane every event has a sequence,
//! 1, 2, 3 … without a gap and in the order of the commits. What one service appends, others consume lane by lane; a
//! consumer stores the last sequence it applied in the transaction of its effects and applies exactly the next, so
//! effects happen once whatever the [`Transport`] loses, repeats or delays.
//!
//! * [`Model`] is what a service gives: which rows a batch touches, how a command is decided, what is written.
//! * [`Journal`] is what it gets: [`Journal::submit`] for its own callers, while consumed records lead to the same batch.

mod batch;
mod cells;
mod columns;
mod database;
pub mod faults;
mod hints;
mod holding;
pub mod idempotency;
mod inbox;
mod metrics;
mod model;
mod opening;
mod outgoing;
mod outlet;
mod reads;
mod rebuild;
mod recent;
mod record;
mod schema;
mod session;
mod settings;
mod transport;
mod writer;

/// The lane protocol itself, which knows of no clock, database or broker: what the writer and the relay decide by, for
/// whoever runs it in another world.
pub mod protocol {
    pub use crate::batch::{AppendedElsewhere, Batch, Body, Incoming, Item, Letter, Origin, Reach, Taken};
    pub use crate::holding::Holding;
    pub use crate::inbox::{Inbox, Position, Verdict};
    pub use crate::outgoing::{Fresh, Outgoing};
}

use std::sync::Arc;

use contract::{Lane, Lanes};
pub use deadpool_postgres::Pool;
use process::{Component, Problem};
use tokio::sync::{mpsc, oneshot, watch};

pub use cells::Cells;
pub use database::{Database, DatabaseSettingsError, Migration, migrate};
pub use model::{Decision, Loaded, Model, Query, Unreadable, UnreadableRow};
pub use opening::{Batching, FOLLOWING, GATHERING, OpenError, Opening, PROMPT};
pub use reads::{ReadError, StoredEvent, events};
pub use rebuild::{Aim, Difference, Discrepancy, Missing, RebuildError, Rebuilt, rebuild};
pub use recent::Recent;
pub use record::from_row as record_from_row;
pub use schema::EVENT_COLUMNS;
pub use settings::{DatabaseSettings, JournalSettings, KafkaSettings, SaslMechanism};
pub use transport::{
    LogHub, Transport,
    kafka::{ProducerError, TopicsError},
};

use metrics::JournalMetrics;
use writer::Submission;

/// The lanes that this replica owns, in order.
pub type OwnedLanes = Arc<[Lane]>;

/// Why a command was not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More commands wait than there is room for.
    #[error("too much to do")]
    Overloaded,
    /// The database or the broker is away.
    #[error("the database or the broker is away")]
    Unavailable,
    /// The command cannot be settled; the log says why.
    #[error("the command cannot be settled")]
    Failed,
}

impl Refused {
    /// The problem that a caller over HTTP is told.
    pub fn problem(self) -> Problem {
        match self {
            Self::Overloaded => Problem::overloaded(),
            Self::Unavailable => Problem::unavailable(),
            Self::Failed => Problem::internal(),
        }
    }
}

/// A service's journal. Cheap to clone.
pub struct Journal<M: Model> {
    commands: mpsc::Sender<Submission<M>>,
    lanes: Lanes,
    owned: watch::Receiver<OwnedLanes>,
    reads: Pool,
    schema: &'static str,
    needs: Arc<[Component]>,
    metrics: JournalMetrics,
}

impl<M: Model> Clone for Journal<M> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            lanes: self.lanes,
            owned: self.owned.clone(),
            reads: self.reads.clone(),
            schema: self.schema,
            needs: Arc::clone(&self.needs),
            metrics: self.metrics.clone(),
        }
    }
}

impl<M: Model> Journal<M> {
    /// Settles a command in `lane`, which must be the lane of everything the command appends to. It is durable when this
    /// returns. `trace` is the W3C trace context of the request.
    pub async fn submit(&self, lane: Lane, command: M::Command, trace: Option<Box<str>>) -> Result<M::Answer, Refused> {
        if !self.needs.iter().all(Component::is_up) {
            return Err(Refused::Unavailable);
        }
        let (answer, answered) = oneshot::channel();
        self.commands.try_send(Submission { lane, command, trace, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Refused::Unavailable,
        })?;
        self.metrics.queued.inc();
        answered.await.unwrap_or(Err(Refused::Unavailable))
    }

    /// The system's lanes.
    pub fn lanes(&self) -> Lanes {
        self.lanes
    }

    /// The lanes that this replica owns; changes as replicas come and go.
    pub fn owned(&self) -> watch::Receiver<OwnedLanes> {
        self.owned.clone()
    }

    /// Connections for reads in this journal's schema.
    pub fn reads(&self) -> &Pool {
        &self.reads
    }

    /// The schema of this journal.
    pub fn schema(&self) -> &'static str {
        self.schema
    }
}
