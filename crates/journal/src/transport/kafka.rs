//! The `kafka` transport: librdkafka's producer and consumer, told to leave offsets and order to us.

mod inlet;
mod outlet;
mod reach;
mod silence;

use std::time::Duration;

use contract::{Lanes, Topic, topic};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
};

pub(crate) use inlet::Inlet;
pub use outlet::ProducerError;
pub(crate) use outlet::{KafkaOutlet, OutletParts};

use crate::settings::KafkaSettings;

/// Records that the producer keeps while brokers are slow or away: a quarter of a second's worth at ten thousand a second.
/// What does not fit is read from the database later.
const PRODUCER_QUEUE_RECORDS: u32 = 2_500;
/// The same in payload, for records that are large: librdkafka does not count their headers.
const PRODUCER_QUEUE_KIB: u32 = 4 * 1024;
/// How long a record waits for others of its batch, which are handed over within less.
const LINGER_MILLISECONDS: &str = "0.3";
/// Records of each lane that a consumer keeps ahead of the writer: two batches' worth. After an outage every queue is full.
const CONSUMER_QUEUE_RECORDS: u32 = 2_000;
/// The same in bytes, of all lanes together.
const CONSUMER_QUEUE_KIB: u32 = 2 * 1024;
/// How long a consumer whose queue is full waits before it looks whether there is room to fetch. The writer is done with a
/// queue this small long before librdkafka's default, a second, is over.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(20);
/// How long a consumer may be silent before its lanes are given to another.
const SESSION_MS: u32 = 6_000;
/// How long the cluster may take to create topics.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What every client of ours has in common.
fn client_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", settings.bootstrap_servers.as_deref().unwrap_or_default())
        .set("client.id", "ordersystem")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000");
    let tls = settings.kafka_tls || settings.kafka_ca_file.is_some() || settings.kafka_certificate_file.is_some();
    let protocol = match (tls, settings.kafka_sasl_mechanism.is_some()) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    let files = [
        (
            "ssl.ca.location",
            settings.kafka_ca_file.clone().or_else(|| tls.then(|| openssl_probe::probe().cert_file).flatten()),
        ),
        ("ssl.certificate.location", settings.kafka_certificate_file.clone()),
        ("ssl.key.location", settings.kafka_key_file.clone()),
    ];
    for (name, file) in files {
        if let Some(file) = file {
            config.set(name, file.to_string_lossy());
        }
    }
    if let Some(mechanism) = settings.kafka_sasl_mechanism {
        config.set("sasl.mechanism", mechanism.as_str());
        config.set("sasl.username", settings.kafka_sasl_username.as_deref().unwrap_or_default());
        config.set("sasl.password", settings.kafka_sasl_password.as_deref().unwrap_or_default());
    }
    config
}

/// Requests on their way to one broker at once: one for each lane of a small system. What is appended meanwhile goes
/// together into the next.
const IN_FLIGHT: u32 = 6;

/// A producer's settings. Kafka's idempotence is not asked for: a lane's sequence says what is missing, twice or out of
/// turn, whatever the brokers did. With it, librdkafka has one request of a lane on its way at a time, and its thread
/// spins until the answer comes (confluentinc/librdkafka#4989): 47,000 calls of `poll` a second at 1,000 orders a second,
/// 3,000 without it.
fn producer_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = client_config(settings);
    config
        .set("acks", "all")
        .set("enable.idempotence", "false")
        .set("max.in.flight.requests.per.connection", IN_FLIGHT.to_string())
        .set("linger.ms", LINGER_MILLISECONDS)
        .set("compression.type", "lz4")
        .set("message.timeout.ms", "0")
        .set("queue.buffering.max.messages", PRODUCER_QUEUE_RECORDS.to_string())
        .set("queue.buffering.max.kbytes", PRODUCER_QUEUE_KIB.to_string());
    config
}

/// How long brokers may keep a fetch that finds nothing.
const FETCH_WAIT: Duration = Duration::from_millis(50);
/// The same for a consumer that gathers, which is not answered for less than [`GATHERED_BYTES`].
const GATHERED_WAIT: Duration = Duration::from_millis(250);
/// Bytes that are worth an answer to a consumer that gathers: some hundreds of records. It would be answered for each few
/// otherwise, which costs the broker more than the records.
const GATHERED_BYTES: u32 = 256 * 1024;

/// A consumer's settings. `longest_gap` is how far apart its journal's batches may be; one that gathers is answered no more
/// often than it can use.
fn consumer_config(settings: &KafkaSettings, group: &str, longest_gap: Duration) -> ClientConfig {
    let mut config = client_config(settings);
    let (wait, bytes) = if longest_gap > FETCH_WAIT { (GATHERED_WAIT, GATHERED_BYTES) } else { (FETCH_WAIT, 1) };
    config
        .set("fetch.wait.max.ms", wait.as_millis().to_string())
        .set("fetch.min.bytes", bytes.to_string())
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        // Range gives the same lane of every topic to the same member, which a batch over several sources needs.
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", SESSION_MS.to_string())
        .set("heartbeat.interval.ms", "500")
        .set("queued.min.messages", CONSUMER_QUEUE_RECORDS.to_string())
        .set("queued.max.messages.kbytes", CONSUMER_QUEUE_KIB.to_string())
        .set("fetch.queue.backoff.ms", FULL_QUEUE_PAUSE.as_millis().to_string());
    config
}

/// Why topics are not as they have to be.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// Nobody answers, or we are not let in.
    #[error("Kafka at {brokers} cannot be used: {reason}")]
    Unreachable {
        /// The brokers.
        brokers: String,
        /// What the client says.
        reason: String,
    },
    /// The cluster cannot be reached or refuses.
    #[error("Kafka cannot be asked: {0}")]
    Kafka(#[from] KafkaError),
    /// The cluster refuses to create a topic.
    #[error("topic {topic} cannot be created: {code}")]
    Refused {
        /// The topic.
        topic: String,
        /// Why.
        code: RDKafkaErrorCode,
    },
    /// A topic has another number of partitions than the system has lanes.
    #[error("topic {topic} has {found} partitions, the system {expected} lanes")]
    Partitions {
        /// The topic.
        topic: String,
        /// Its partitions.
        found: usize,
        /// The system's lanes.
        expected: usize,
    },
}

/// Sees to it that every topic is there with a partition per lane; creates those that are missing.
pub(crate) async fn ensure_topics(settings: &KafkaSettings, system: &str, lanes: Lanes) -> Result<(), TopicsError> {
    let config = client_config(settings);
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let mut names: Vec<String> = Topic::ALL.iter().map(|topic| topic.name(system)).collect();
    let first = names.first().cloned().unwrap_or_default();
    let reached = tokio::task::spawn_blocking(move || reach::reach(&config, &first));
    reached.await.map_err(|_| KafkaError::Canceled)??;
    let replicas = settings.kafka_replication_factor;
    names.push(topic::resend(system));
    names.push(topic::dead_letters(system));
    let partitions = i32::from(lanes.count());
    let new: Vec<_> =
        names.iter().map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(replicas))).collect();
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    for outcome in admin.create_topics(&new, &options).await? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicsError::Refused { topic, code }),
        }
    }
    tokio::task::spawn_blocking(move || check_partitions(&admin, &names, usize::from(lanes.count())))
        .await
        .map_err(|_| KafkaError::Canceled)?
}

fn check_partitions(
    admin: &AdminClient<DefaultClientContext>,
    names: &[String],
    expected: usize,
) -> Result<(), TopicsError> {
    for name in names {
        let metadata = admin.inner().fetch_metadata(Some(name), ADMIN_TIMEOUT)?;
        let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        // A topic that was created a moment ago may not have reached this broker yet; then there is nothing to compare.
        if found != 0 && found != expected {
            return Err(TopicsError::Partitions { topic: name.clone(), found, expected });
        }
    }
    Ok(())
}
