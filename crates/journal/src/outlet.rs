//! The way out of a journal: what was committed goes to the transport, in the order of its lane.

use std::sync::Arc;

use contract::{Lane, Record, Topic};

use crate::{
    hints::Notifier,
    transport::{LogHub, kafka::KafkaOutlet},
};

/// Where a journal's committed events go.
pub(crate) enum Outlet {
    /// To Kafka's topics.
    Kafka(Arc<KafkaOutlet>),
    /// Nowhere: readers look into the event table; they are only woken.
    Log {
        hub: Arc<LogHub>,
        /// What this journal feeds; nothing for a view.
        feeds: Option<Topic>,
        /// Readers in other processes.
        others: Option<Notifier>,
    },
}

impl Outlet {
    /// Publishes what a batch appended.
    pub fn committed(&self, appended: Vec<Record>) {
        if appended.is_empty() {
            return;
        }
        match self {
            Self::Kafka(kafka) => kafka.committed(&appended),
            Self::Log { hub, feeds: Some(topic), others } => {
                hub.appended(*topic, appended);
                if let Some(others) = others {
                    others.appended();
                }
            }
            Self::Log { .. } => {}
        }
    }

    /// Asks a source to send a lane again from `seq` on.
    pub fn ask_again(&self, source: Topic, lane: Lane, seq: i64) {
        // Over the log a reader that misses something reads it by itself.
        if let Self::Kafka(kafka) = self {
            kafka.ask_again(source, lane, seq);
        }
    }

    /// A consumed lane is durable up to before `offset`.
    pub fn read_up_to(&self, source: Topic, lane: Lane, offset: i64) {
        if let Self::Kafka(kafka) = self {
            kafka.read_up_to(source, lane, offset);
        }
    }

    /// Dead letters were stored.
    pub fn letters_waiting(&self) {
        if let Self::Kafka(kafka) = self {
            kafka.letters_waiting();
        }
    }

    /// A lane is ours, published up to one sequence and written up to another.
    pub fn own(&self, lane: Lane, published: i64, last: i64) {
        if let Self::Kafka(kafka) = self {
            kafka.own(lane, published, last);
        }
    }

    /// A lane is not ours any more.
    pub fn disown(&self, lane: Lane) {
        if let Self::Kafka(kafka) = self {
            kafka.disown(lane);
        }
    }

    /// The last sequence of a lane that is known to be published; 0 when that is not known.
    pub fn published(&self, lane: Lane) -> i64 {
        match self {
            Self::Kafka(kafka) => kafka.published(lane),
            Self::Log { .. } => 0,
        }
    }

    /// Waits a little for what is on its way.
    pub async fn drain(&self) {
        if let Self::Kafka(kafka) = self {
            kafka.drain().await;
        }
    }
}
