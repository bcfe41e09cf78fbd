//! Whether the brokers let us in, and if not, why. A question that is not answered is silent about the cause, which
//! comes beside it, as an event of the client.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::TopicsError;

/// How long brokers may take to come, as long as nothing says that they never will.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one question waits for its answer.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Pause between two questions, for what is refused at once.
const PAUSE: Duration = Duration::from_millis(100);
/// Events that are looked at after a question: more than a second's.
const MAX_EVENTS: usize = 100;

/// A cause of silence that the client has told.
#[derive(Clone, Debug, Default)]
struct Cause {
    reason: String,
    /// Whether it takes another log-in or certificate, however long one waits.
    is_final: bool,
}

/// The last cause of silence, or the first that does not go away.
#[derive(Default)]
struct Causes(Mutex<Cause>);

impl ClientContext for Causes {
    fn error(&self, error: KafkaError, reason: &str) {
        let mut cause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down is only the sum of what is said of each.
        if let Some(code) = error.rdkafka_error_code().filter(|code| *code != Code::AllBrokersDown)
            && !cause.is_final
        {
            let is_final = matches!(code, Code::Authentication | Code::SSL);
            *cause = Cause { reason: reason.to_owned(), is_final };
        }
    }
}

impl ConsumerContext for Causes {}

impl Causes {
    fn last(&self) -> Cause {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits until a broker answers. A log-in or certificate that is refused is given up at once: it takes another one.
/// `topic` need not be there.
pub(super) fn reach(config: &ClientConfig, topic: &str) -> Result<(), TopicsError> {
    // Its log lines would be events too, and come before those that matter.
    let mut config = config.clone();
    config.set_log_level(RDKafkaLogLevel::Emerg);
    let consumer: BaseConsumer<Causes> = config.create_with_context(Causes::default())?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Err(silence) = consumer.fetch_metadata(Some(topic), ATTEMPT) else { return Ok(()) };
        serve(&consumer);
        let cause = consumer.context().last();
        if cause.is_final || Instant::now() >= deadline {
            let reason = if cause.reason.is_empty() { silence.to_string() } else { cause.reason };
            let brokers = config.get("bootstrap.servers").unwrap_or_default().to_owned();
            return Err(TopicsError::Unreachable { brokers, reason });
        }
        thread::sleep(PAUSE);
    }
}

/// Hands the client's events to its context.
fn serve(consumer: &BaseConsumer<Causes>) {
    for _ in 0..MAX_EVENTS {
        if consumer.poll(Duration::ZERO).is_none() {
            return;
        }
    }
}
