//! A librdkafka client that is only asked, and that can say why it has no answer.
//!
//! A question that times out is silent about the cause; that comes beside it, as events of the client. So these are kept
//! for as long as nothing succeeds.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
};

use super::TopicsError;

/// How long brokers may take for an answer, with everything that comes before it: names, connections, log-ins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long when something is known to be in the way, such as a refused connection: another look comes soon enough.
const TROUBLE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the first attempt of these lasts, and the next twice as long: in between there may be a cause to give up for.
const FIRST_ATTEMPT: Duration = Duration::from_secs(1);
/// How long to wait when a broker says "not now".
const NOT_NOW_PAUSE: Duration = Duration::from_millis(100);
/// How long a cause is believed: librdkafka repeats the same one after 30 seconds.
const TROUBLE_MEMORY: Duration = Duration::from_secs(45);
/// How long nobody may answer until the client is of no more use. From brokers that answer with an empty list of brokers,
/// as those do that are about to stop, librdkafka concludes that it may forget all of them, also those that it was
/// configured with (confluentinc/librdkafka#5301, open in 2.15). Only another client begins with them again.
const SILENCE: Duration = Duration::from_secs(10);
/// Different causes that are kept; more than one per broker of a cluster says no more.
const MAX_TROUBLES: usize = 16;
/// Events that are looked at before or after a question: more than a minute's without brokers.
const MAX_EVENTS: usize = 500;

/// A client of librdkafka.
pub(super) struct Client {
    brokers: String,
    /// There until it is dropped.
    consumer: Option<BaseConsumer<Troubles>>,
    /// Since when no question was answered, if the last one was not.
    silent_since: Mutex<Option<Instant>>,
}

impl Client {
    pub fn new(brokers: &str, config: &ClientConfig) -> Result<Self, TopicsError> {
        let consumer = config.create_with_context(Troubles::default());
        let consumer = consumer.map_err(|error| unusable(brokers, &error))?;
        Ok(Self { brokers: brokers.to_owned(), consumer: Some(consumer), silent_since: Mutex::default() })
    }

    /// Whether another client should take its place.
    pub fn is_lost(&self) -> bool {
        self.silent_since().is_some_and(|since| since.elapsed() >= SILENCE)
    }

    fn silent_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until there is an answer or it seems that there will be none. `what` is what the question is about, such as
    /// `topic shop.orders`.
    pub fn ask<T>(
        &self,
        what: &str,
        question: impl Fn(&BaseConsumer<Troubles>, Duration) -> KafkaResult<T>,
    ) -> Result<T, TopicsError> {
        let Some(consumer) = &self.consumer else { return Err(TopicsError::Interrupted) };
        let begin = Instant::now();
        let mut attempt = FIRST_ATTEMPT;
        loop {
            let answer = question(consumer, attempt.min(ANSWER_TIMEOUT.saturating_sub(begin.elapsed())));
            serve(consumer);
            let code = match answer {
                Ok(answer) => {
                    consumer.context().all().clear();
                    *self.silent_since() = None;
                    return Ok(answer);
                }
                Err(error) => silence_of(what, &error)?,
            };
            let cause = consumer.context().worst();
            if begin.elapsed() + NOT_NOW_PAUSE >= cause.as_ref().map_or(ANSWER_TIMEOUT, Trouble::patience) {
                self.silent_since().get_or_insert(begin);
                return Err(self.silence(code, cause));
            }
            thread::sleep(NOT_NOW_PAUSE);
            attempt *= 2;
        }
    }

    /// Why there was no answer.
    fn silence(&self, code: Code, cause: Option<Trouble>) -> TopicsError {
        let brokers = self.brokers.clone();
        match cause {
            Some(Trouble { code: Code::Authentication, detail }) => {
                TopicsError::AuthenticationFailed { brokers, detail }
            }
            Some(Trouble { code: Code::SSL, detail }) => TopicsError::Tls { brokers, detail },
            Some(Trouble { detail, .. }) => TopicsError::Unreachable { brokers, detail },
            None => TopicsError::Unreachable { brokers, detail: code.to_string() },
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let consumer = self.consumer.take();
        // Closing takes a while, and can hang when brokers are away; nobody waits for it.
        let closing = thread::Builder::new().name("kafka-close".to_owned()).spawn(move || drop(consumer));
        if let Err(error) = closing {
            tracing::warn!(%error, "a thread to close a Kafka client could not be started");
        }
    }
}

/// Why the client could not be made. The value of a setting may be a secret and is left out.
fn unusable(brokers: &str, error: &KafkaError) -> TopicsError {
    let detail = match error {
        KafkaError::ClientConfig(_, _, key, _) => format!("the value of {key} cannot be used"),
        error => error.to_string(),
    };
    TopicsError::Settings { brokers: brokers.to_owned(), detail }
}

/// The kind of silence that an error is, unless it is an answer.
fn silence_of(what: &str, error: &KafkaError) -> Result<Code, TopicsError> {
    match error.rdkafka_error_code() {
        Some(code) if is_silence(code) => Ok(code),
        Some(code) => Err(TopicsError::answered(what, code)),
        None => Err(TopicsError::Refused { what: what.to_owned(), detail: error.to_string() }),
    }
}

/// Whether this is the lack of an answer, for now, rather than an answer.
pub(super) fn is_silence(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::WaitingForCoordinator
            | Code::Partial
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
    )
}

/// Hands the client's events to its context.
fn serve(consumer: &BaseConsumer<Troubles>) {
    for _ in 0..MAX_EVENTS {
        if consumer.poll(Duration::ZERO).is_none() {
            return;
        }
    }
}

/// A cause of silence.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    code: Code,
    detail: String,
}

impl Trouble {
    /// How long it may go away by itself.
    fn patience(&self) -> Duration {
        if rank(self.code) >= rank(Code::SSL) { Duration::ZERO } else { TROUBLE_TIMEOUT }
    }
}

/// How telling an error is.
fn rank(code: Code) -> u8 {
    match code {
        Code::Authentication => 3,
        Code::SSL => 2,
        Code::Resolve => 1,
        _ => 0,
    }
}

/// The causes of silence since something succeeded, each with when it was last seen.
#[derive(Default)]
pub(super) struct Troubles(Mutex<BTreeMap<String, (Code, Instant)>>);

impl Troubles {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, (Code, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most telling; of several alike always the same, as it goes into a status that must not change all the time.
    fn worst(&self) -> Option<Trouble> {
        let mut all = self.all();
        all.retain(|_, (_, seen)| seen.elapsed() < TROUBLE_MEMORY);
        let worst = all.iter().rev().max_by_key(|(_, (code, _))| rank(*code));
        worst.map(|(detail, (code, _))| Trouble { code: *code, detail: detail.clone() })
    }

    fn note(&self, code: Code, text: &str) {
        let mut all = self.all();
        let cause = essence(text).to_owned();
        if all.len() < MAX_TROUBLES || all.contains_key(&cause) {
            all.insert(cause, (code, Instant::now()));
        }
    }
}

impl ClientContext for Troubles {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
        match error.rdkafka_error_code() {
            // The sum of what every broker's own error says.
            None | Some(Code::AllBrokersDown) => {}
            Some(code) => self.note(code, reason),
        }
    }
}

impl ConsumerContext for Troubles {}

/// An error's text without the broker's name before it and the time that it took after it, which differ each time.
fn essence(text: &str) -> &str {
    let text = text.split_once(": ").filter(|(broker, _)| broker.contains("://")).map_or(text, |(_, rest)| rest);
    text.rsplit_once(" (after ").map_or(text, |(rest, _)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_reduced_to_what_stays_the_same() {
        let text = "sasl_ssl://kafka:9093/bootstrap: Connect to ipv4#10.0.0.1:9093 failed: Connection refused \
                    (after 3ms in state CONNECT, 2 identical error(s) suppressed)";
        assert_eq!(essence(text), "Connect to ipv4#10.0.0.1:9093 failed: Connection refused");
        assert_eq!(essence("Failed to resolve 'kafka:9092'"), "Failed to resolve 'kafka:9092'");
    }

    #[test]
    fn the_most_telling_cause_is_given() {
        let troubles = Troubles::default();
        troubles.note(Code::BrokerTransportFailure, "Connection refused");
        troubles.note(Code::Authentication, "wrong password");
        troubles.note(Code::Resolve, "no such host");
        let worst = troubles.worst().expect("there are some");
        assert_eq!(worst, Trouble { code: Code::Authentication, detail: "wrong password".to_owned() });
        assert_eq!(worst.patience(), Duration::ZERO);
    }

    #[test]
    fn of_causes_alike_it_is_always_the_same() {
        let causes = ["Connect to 10.0.0.1 failed", "Connect to 10.0.0.2 failed"];
        for order in [[0, 1], [1, 0]] {
            let troubles = Troubles::default();
            for cause in order {
                troubles.note(Code::BrokerTransportFailure, causes[cause]);
            }
            assert_eq!(troubles.worst().expect("there are some").detail, causes[0]);
        }
    }

    #[test]
    fn no_more_causes_are_kept_than_can_be_told() {
        let troubles = Troubles::default();
        for broker in 0..100 {
            troubles.note(Code::BrokerTransportFailure, &format!("Connect to {broker} failed"));
        }
        assert_eq!(troubles.all().len(), MAX_TROUBLES);
    }

    #[test]
    fn a_setting_that_is_refused_does_not_tell_its_value() {
        let mut config = ClientConfig::new();
        config.set("socket.timeout.ms", "hunter2");
        let error = Client::new("kafka:9092", &config).err().expect("it is no number");
        assert_eq!(error.reason(), "InvalidSettings");
        assert!(error.to_string().contains("socket.timeout.ms") && !error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_certificate_that_is_none_is_refused_at_once() {
        let mut config = ClientConfig::new();
        config.set("security.protocol", "ssl").set("ssl.ca.pem", "no certificate");
        let error = Client::new("kafka:9092", &config).err().expect("it is no certificate");
        assert_eq!(error.reason(), "InvalidSettings");
        assert!(error.to_string().contains("ssl.ca.pem"), "{error}");
    }
}
