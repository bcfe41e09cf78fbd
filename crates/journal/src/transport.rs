//! How records get from one service's journal to another's: over Kafka, or straight from the source's event table. The
//! rules are the same: a lane's records come in the order of their sequences, perhaps more than once, perhaps with a gap
//! that the receiver notices.

pub(crate) mod kafka;
pub(crate) mod log;
pub(crate) mod membership;

use std::sync::Arc;

use contract::{Lane, Lanes, Topic};
use tokio::sync::{mpsc, oneshot};

pub use log::LogHub;

pub(crate) use crate::batch::{Body, Incoming};
use crate::{inbox::Position, settings::KafkaSettings};

/// What carries records between the services. Made once for a process and given to each of its services.
#[derive(Clone)]
pub enum Transport {
    /// Kafka's topics.
    Kafka(Arc<KafkaSettings>),
    /// The sources' own event tables.
    Log(Arc<LogHub>),
}

impl Transport {
    /// Kafka when brokers are set, else the sources' event tables. `alone` says that every service of the system runs in
    /// this process, so that nobody else needs to be woken.
    pub fn new(kafka: &KafkaSettings, lanes: Lanes, alone: bool) -> Self {
        if kafka.bootstrap_servers.is_some() {
            Self::Kafka(Arc::new(kafka.clone()))
        } else {
            Self::Log(LogHub::new(lanes, alone))
        }
    }
}

/// Records that came in under one assignment of lanes. What is still on its way when the assignment changes is recognised
/// by its generation and dropped; the new owner reads it again.
pub(crate) struct Delivery {
    pub generation: u64,
    pub records: Vec<Incoming>,
}

/// Where a lane of a source goes on.
pub(crate) type Positions = Vec<(Topic, Lane, Position)>;

/// What the one who watches over ownership asks of the writer.
pub(crate) enum Control {
    /// These lanes are ours from now on.
    Assign {
        lanes: Vec<Lane>,
        generation: u64,
        unless_owned_by: Option<Vec<String>>,
        reply: oneshot::Sender<Positions>,
    },
    /// These lanes are not ours any more.
    Revoke { lanes: Vec<Lane>, reply: oneshot::Sender<()> },
}

/// The two channels into the writer.
#[derive(Clone)]
pub(crate) struct Intake {
    pub controls: mpsc::Sender<Control>,
    pub deliveries: mpsc::Sender<Delivery>,
}

/// Deliveries that wait for the writer. With the records each may hold, this bounds what a consumer keeps in memory.
pub(crate) const WAITING_DELIVERIES: usize = 4;
/// The most records of one delivery.
pub(crate) const DELIVERY_RECORDS: usize = 512;
