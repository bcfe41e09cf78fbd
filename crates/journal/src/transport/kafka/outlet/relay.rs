//! How far each lane has come, and what the broker reports of it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use contract::{Lane, Lanes, envelope};
use rdkafka::{
    ClientContext, Message,
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers},
    producer::{DeliveryResult, ProducerContext},
};
use tokio::sync::Notify;

use crate::faults::{self, CrashPoint};

/// How long a lane is quiet before its last event is sent again, and how long at most between two such repeats.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_mins(1);

/// A lane's way to the broker.
#[derive(Default)]
pub(super) struct LaneState {
    pub owned: bool,
    /// The last sequence handed to the producer.
    pub sent: i64,
    /// The last sequence that the broker acknowledged.
    pub acked: i64,
    /// The last sequence known to be written.
    pub end: i64,
    /// Memory does not have what comes next: read it from the database.
    pub behind: bool,
    pub went_back_at: Option<Instant>,
    pub rest: Option<Rest>,
}

impl LaneState {
    /// Whether the lane has been quiet for so long that its last event is due to be sent once more.
    pub fn repeats(&mut self, now: Instant) -> bool {
        if !self.owned || self.behind || self.sent == 0 {
            self.rest = None;
            return false;
        }
        match &mut self.rest {
            Some(rest) if rest.seq == self.sent => {
                let due = now >= rest.repeat_at;
                if due {
                    rest.pause = (rest.pause * 2).min(LONGEST_REST);
                    rest.repeat_at = now + rest.pause;
                }
                due
            }
            rest => {
                *rest = Some(Rest { seq: self.sent, repeat_at: now + SHORTEST_REST, pause: SHORTEST_REST });
                false
            }
        }
    }
}

/// A lane at its end. Brokers that lost what they had acknowledged leave no gap when nothing follows; so the last event
/// is sent again, less and less often: a duplicate to whoever has it, a gap to whoever misses what was before.
pub(super) struct Rest {
    seq: i64,
    repeat_at: Instant,
    pause: Duration,
}

/// What the delivery reports and the writer share.
pub(super) struct Relay {
    lanes: Mutex<Vec<LaneState>>,
    pub work: Notify,
    pub broken: AtomicBool,
    /// The client says that no broker can be reached.
    pub away: AtomicBool,
}

impl Relay {
    /// No lane is ours yet.
    pub fn new(lanes: Lanes) -> Self {
        let lanes = lanes.all().map(|_| LaneState::default()).collect();
        Self {
            lanes: Mutex::new(lanes),
            work: Notify::new(),
            broken: AtomicBool::new(false),
            away: AtomicBool::new(false),
        }
    }

    pub fn lanes(&self) -> MutexGuard<'_, Vec<LaneState>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes back to `seq`: it and what follows is sent again, from the database.
    fn go_back(&self, lane: Lane, seq: i64) {
        if let Some(state) = self.lanes().get_mut(lane.index()) {
            state.sent = state.sent.min(seq - 1);
            state.behind = true;
        }
        self.work.notify_one();
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
            self.relay.broken.store(true, Ordering::Release);
            self.relay.work.notify_one();
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let Some(index) = (opaque >> SEQ_BITS).checked_sub(1) else {
            return;
        };
        let seq = i64::try_from(opaque & ((1 << SEQ_BITS) - 1)).unwrap_or(0);
        match result {
            Ok(message) => {
                faults::reached(CrashPoint::Delivered, self.schema, || kind(message));
                if let Some(state) = self.relay.lanes().get_mut(index) {
                    state.acked = state.acked.max(seq);
                }
            }
            Err((error, message)) => {
                tracing::warn!(topic = message.topic(), lane = index, seq, %error, "delivery failed; the lane goes back");
                self.relay.go_back(Lane(u16::try_from(index).unwrap_or(0)), seq);
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
