//! Messages, as they are, through a producer and consumers.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use contract::Topic;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tests::kafka::Kafka;

/// How many journals consume each topic: order and inventory have views beside their own.
const READERS: [(Topic, usize); 4] =
    [(Topic::Orders, 4), (Topic::Inventory, 2), (Topic::Payments, 1), (Topic::Notifications, 0)];
/// How long reading or writing all of it may take.
const DEADLINE: Duration = Duration::from_mins(2);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// How long a topic may take to be there.
const ADMIN_DEADLINE: Duration = Duration::from_secs(30);

/// The messages of all topics.
pub struct Messages(Vec<Kept>);

struct Kept {
    /// Where they came from.
    topic: String,
    readers: usize,
    partitions: i32,
    messages: Vec<OwnedMessage>,
}

impl Messages {
    /// Reads this share of every topic of the system `name`.
    pub fn read(kafka: &Kafka, name: &str, share: f64) -> anyhow::Result<Self> {
        let kept = READERS.map(|(topic, readers)| {
            let from = topic.name(name);
            let (partitions, messages) = read(kafka, &from, share).with_context(|| format!("cannot read {from}"))?;
            Ok(Kept { topic: from, readers, partitions, messages })
        });
        kept.into_iter().collect::<anyhow::Result<_>>().map(Self)
    }

    /// Makes the topics that it is written to in this round.
    pub async fn make_room(&self, kafka: &Kafka, round: usize) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = client(kafka).create()?;
        let new: Vec<_> = self.0.iter().map(|kept| (kept.copy(round), kept.partitions)).collect();
        let new = new.iter().map(|(topic, partitions)| NewTopic::new(topic, *partitions, TopicReplication::Fixed(1)));
        let topics: Vec<NewTopic<'_>> = new.collect();
        let options = AdminOptions::new().operation_timeout(Some(ADMIN_DEADLINE));
        for made in admin.create_topics(&topics, &options).await? {
            made.map_err(|(topic, error)| anyhow::anyhow!("cannot make {topic}: {error}"))?;
        }
        Ok(())
    }

    /// Produces all messages while they are consumed, as the services' clients do, and waits until both are done.
    pub fn write(&self, kafka: &Kafka, round: usize) -> anyhow::Result<()> {
        thread::scope(|scope| {
            let readers = self.0.iter().flat_map(|kept| std::iter::repeat_n(kept, kept.readers));
            let readers: Vec<_> = readers.map(|kept| scope.spawn(move || kept.consume(kafka, round))).collect();
            produce(kafka, round, &self.0)?;
            for reader in readers {
                reader.join().map_err(|_| anyhow::anyhow!("a consumer panicked"))??;
            }
            Ok(())
        })
    }
}

impl Kept {
    /// The topic that they are written to in this round.
    fn copy(&self, round: usize) -> String {
        format!("floor.{round}.{}", self.topic)
    }

    fn consume(&self, kafka: &Kafka, round: usize) -> anyhow::Result<()> {
        let consumer = consumer(kafka, &self.copy(round), self.partitions)?;
        let (deadline, mut seen) = (Instant::now() + DEADLINE, 0);
        while seen < self.messages.len() {
            ensure!(Instant::now() < deadline, "{seen} of {} messages of {}", self.messages.len(), self.topic);
            seen += usize::from(consumer.poll(POLL).transpose()?.is_some());
        }
        Ok(())
    }
}

fn produce(kafka: &Kafka, round: usize, all: &[Kept]) -> anyhow::Result<()> {
    let producer: ThreadedProducer<DefaultProducerContext> = client(kafka)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .set("compression.type", "lz4")
        .create()?;
    let copies: Vec<String> = all.iter().map(|kept| kept.copy(round)).collect();
    let messages = all.iter().zip(&copies).flat_map(|(kept, topic)| kept.messages.iter().map(move |one| (topic, one)));
    for (topic, message) in messages {
        let headers = message.headers().map_or_else(OwnedHeaders::new, |headers| {
            headers.iter().fold(OwnedHeaders::new_with_capacity(headers.count()), OwnedHeaders::insert)
        });
        let record = BaseRecord::to(topic).partition(message.partition()).headers(headers);
        let mut record = record.key(message.key().unwrap_or_default()).payload(message.payload().unwrap_or_default());
        while let Err((error, refused)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            thread::sleep(Duration::from_millis(1));
            record = refused;
        }
    }
    Ok(producer.flush(DEADLINE)?)
}

/// The number of partitions, and of each the first messages.
fn read(kafka: &Kafka, topic: &str, share: f64) -> anyhow::Result<(i32, Vec<OwnedMessage>)> {
    let probe: BaseConsumer = client(kafka).set("group.id", "floor").create()?;
    let metadata = probe.fetch_metadata(Some(topic), ADMIN_DEADLINE)?;
    let partitions = i32::try_from(metadata.topics().first().context("no such topic")?.partitions().len())?;
    let mut left = Vec::new();
    for partition in 0..partitions {
        let (low, high) = probe.fetch_watermarks(topic, partition, ADMIN_DEADLINE)?;
        left.push(part(high - low, share));
    }
    let consumer = consumer(kafka, topic, partitions)?;
    let (deadline, mut messages) = (Instant::now() + DEADLINE, Vec::new());
    while left.iter().any(|left| *left > 0) {
        ensure!(Instant::now() < deadline, "it takes too long");
        let Some(message) = consumer.poll(POLL).transpose()? else { continue };
        let left = &mut left[usize::try_from(message.partition())?];
        if *left > 0 {
            *left -= 1;
            messages.push(message.detach());
        }
    }
    Ok((partitions, messages))
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a share of a run's messages")]
fn part(messages: i64, share: f64) -> i64 {
    (messages as f64 * share).round() as i64
}

/// A consumer of all of a topic, from its beginning.
fn consumer(kafka: &Kafka, topic: &str, partitions: i32) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = client(kafka)
        .set("group.id", "floor")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "50")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

fn client(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    config
}
