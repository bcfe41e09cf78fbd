//! What the broker reports of each lane.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use contract::{Lane, Lanes, envelope};
use rdkafka::{
    ClientContext, Message,
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers},
    producer::{DeliveryResult, ProducerContext},
};
use tokio::sync::Notify;

use crate::{
    faults::{self, CrashPoint},
    outgoing::Outgoing,
};

/// What the delivery reports and the writer share.
pub(super) struct Relay {
    lanes: Mutex<Vec<Outgoing>>,
    pub work: Notify,
    pub broken: AtomicBool,
    /// The client says that no broker can be reached.
    pub away: AtomicBool,
}

impl Relay {
    /// No lane is ours yet.
    pub fn new(lanes: Lanes) -> Self {
        let lanes = lanes.all().map(|_| Outgoing::default()).collect();
        Self {
            lanes: Mutex::new(lanes),
            work: Notify::new(),
            broken: AtomicBool::new(false),
            away: AtomicBool::new(false),
        }
    }

    pub fn lanes(&self) -> MutexGuard<'_, Vec<Outgoing>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The producer is of no use any more.
    pub fn breaks(&self) {
        self.broken.store(true, Ordering::Release);
        self.work.notify_one();
    }

    /// Goes back to `seq`: it and what follows is sent again, from the database. `false` if the lane was there already.
    fn go_back(&self, lane: Lane, seq: i64) -> bool {
        let went = self.lanes().get_mut(lane.index()).is_some_and(|state| state.go_back(seq));
        self.work.notify_one();
        went
    }
}

/// What a delivery report is about: a lane and a sequence in one word. Zero is a message that is not an event.
pub(super) fn opaque(lane: Lane, seq: i64) -> usize {
    (lane.index() + 1) << SEQ_BITS | usize::try_from(seq).unwrap_or(0)
}

/// Bits of the sequence in a delivery report: enough for 10,000 events a second for 800 years.
const SEQ_BITS: u32 = 48;

/// What becomes of messages, told to the relay.
pub(super) struct Reports {
    pub relay: Arc<Relay>,
    pub schema: &'static str,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "producer");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.relay.away.store(true, Ordering::Release);
        }
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            tracing::warn!(schema = self.schema, %error, reason, "producer cannot go on and is made anew");
            self.relay.breaks();
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let Some(index) = (opaque >> SEQ_BITS).checked_sub(1) else {
            return;
        };
        let lane = Lane(u16::try_from(index).unwrap_or(0));
        let seq = i64::try_from(opaque & ((1 << SEQ_BITS) - 1)).unwrap_or(0);
        match result {
            Ok(message) => {
                faults::reached(CrashPoint::Delivered, self.schema, || kind(message));
                if let Some(state) = self.relay.lanes().get_mut(index) {
                    state.acknowledged(seq);
                }
            }
            Err((error, message)) => {
                if self.relay.go_back(lane, seq) {
                    tracing::warn!(topic = message.topic(), %lane, seq, %error, "delivery failed; the lane goes back");
                }
            }
        }
    }
}

/// The kind of a delivered event, without what all have in common.
fn kind<'m>(message: &'m BorrowedMessage<'_>) -> Option<&'m str> {
    let mut headers = message.headers()?.iter();
    let kind = headers.find(|header| header.key == envelope::TYPE)?.value?;
    str::from_utf8(kind).ok()?.strip_prefix(envelope::TYPE_PREFIX)
}
