//! Records that no service of ours wrote, in the topics that all of them read.
//!
//! Whoever may write to these topics can forge the next event of a lane, and is believed: that is for the broker's access
//! rules to prevent. Everything else is here.

use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use chrono::DateTime;
use contract::order::{Expired, OrderEvent};
use contract::{Envelope, Lane, Record, Topic, topic};
use journal::Decision;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tests::eventually;
use tests::kafka::Kafka;
use tests::random::Random;
use tests::system::System;
use uuid::Uuid;

use super::requests::spoil;
use super::{READ_DEADLINE, batch};

/// How long the broker may take.
pub const BROKER_DEADLINE: Duration = Duration::from_secs(30);
/// Lanes of the system.
const LANES: u16 = 6;
/// Sequences that a lane may really come to here: none of those is forged.
const REAL: std::ops::Range<i64> = 1..1_000_000;
/// Who reads what.
const READERS: [(Topic, &[&str]); 3] = [
    (Topic::Orders, &["inventory", "notifications", "orders_view", "payments"]),
    (Topic::Inventory, &["orders", "inventory_view"]),
    (Topic::Payments, &["orders"]),
];

/// A message in the making.
struct Forged {
    headers: Vec<(String, Vec<u8>)>,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// Sends so many records, and waits until every reader is past them.
pub async fn send(system: &System, count: u64, random: &mut Random) -> anyhow::Result<()> {
    let bootstrap = Kafka::shared().await?.bootstrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("linger.ms", "20").create()?;
    for _ in 0..count {
        let lane = Lane(u16::try_from(random.below(u64::from(LANES)))?);
        if random.chance(50) {
            let request = request(random);
            let forged = Forged { headers: Vec::new(), key: Vec::new(), value: Some(request) };
            produce(&producer, &topic::resend(system.name()), lane, &forged)?;
        } else {
            let (topic, _) = *random.pick(&READERS);
            produce(&producer, &topic.name(system.name()), lane, &forged(topic, lane, random))?;
        }
    }
    // What leaves a gap is not passed before something else follows.
    for (topic, _) in READERS {
        for lane in (0..LANES).map(Lane) {
            let last = Forged { headers: Vec::new(), key: Vec::new(), value: None };
            produce(&producer, &topic.name(system.name()), lane, &last)?;
        }
    }
    producer.flush(BROKER_DEADLINE)?;
    until_read(system, bootstrap).await
}

/// Sends every reader a message with a header of this name in each lane, waits until it is past them, and tells what each
/// says of those that it buried.
pub async fn send_named(system: &System, header: &[u8]) -> anyhow::Result<Vec<Vec<String>>> {
    let bootstrap = Kafka::shared().await?.bootstrap();
    for (topic, _) in READERS {
        for lane in (0..LANES).map(Lane) {
            batch::send(bootstrap, &topic.name(system.name()), lane, header).await?;
        }
    }
    until_read(system, bootstrap).await?;
    let database = system.database().connect().await?;
    let mut buried = Vec::new();
    for reader in READERS.iter().flat_map(|(_, readers)| *readers) {
        let rows = database.query(&format!("SELECT reason FROM {reader}.dead_letter"), &[]).await?;
        buried.push(rows.iter().map(|row| row.get(0)).collect());
    }
    Ok(buried)
}

/// Something that is not the next event of a lane.
fn forged(topic: Topic, lane: Lane, random: &mut Random) -> Forged {
    loop {
        let forged = attempt(topic, lane, random);
        let headers = forged.headers.iter().map(|(name, value)| (&**name, &**value));
        match Record::read(&Envelope::of(headers), forged.value.as_deref()) {
            Ok(record) if record.lane == lane && REAL.contains(&record.seq) => {}
            _ => return forged,
        }
    }
}

fn attempt(topic: Topic, lane: Lane, random: &mut Random) -> Forged {
    let record = record(lane, random);
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    record.headers(topic, |name, value| headers.push((name.to_owned(), value.to_owned())));
    let mut forged = Forged { headers, key: record.key().as_bytes().to_vec(), value: Some(record.data.to_vec()) };
    for _ in 0..random.below(3) {
        let place = random.index(forged.headers.len().max(1));
        match random.below(9) {
            0 => forged.value = None,
            1 => forged.value = forged.value.map(|value| spoil(value, random)),
            2 => forged.value = Some(vec![b'['; random.index(50_000)]),
            3 => forged.headers.clear(),
            4 => forged.key = spoil(forged.key, random),
            5 if place < forged.headers.len() => drop(forged.headers.remove(place)),
            6 if place < forged.headers.len() => forged.headers[place].1 = vec![0; random.index(300)],
            _ if place < forged.headers.len() => {
                let value = std::mem::take(&mut forged.headers[place].1);
                forged.headers[place].1 = spoil(value, random);
            }
            _ => {}
        }
    }
    forged
}

/// A record whose envelope is good, and whose place in the lane, or lane, is not.
fn record(lane: Lane, random: &mut Random) -> Record {
    let event = OrderEvent::Expired(Expired { customer_id: "ann".parse().unwrap_or_else(|_| unreachable!("an id")) });
    let mut appended = Vec::new();
    let lane = if random.chance(300) { Lane(u16::try_from(random.below(70_000)).unwrap_or(9)) } else { lane };
    Decision::new(DateTime::UNIX_EPOCH, lane, &mut appended).append(Uuid::now_v7(), 1, &event);
    let seq = *random.pick(&[i64::MIN, -1, 0, 1_000_000_000, i64::MAX]);
    let kind = (*random.pick(&["order.expired.v1", "order.placed.v1", "order.expired.v99", "", "a\0b"])).into();
    Record { seq, kind, ..appended.remove(0) }
}

/// Something like a request to send a lane again.
fn request(random: &mut Random) -> Vec<u8> {
    let from = *random.pick(&["-1", "0", "1", "9223372036854775807", "1e99", "\"1\"", "null", "[]"]);
    let source = *random.pick(&["orders", "inventory", "payments", "nobody", "\\u0000"]);
    let request = format!(r#"{{"source":"{source}","lane":1,"from":{from}}}"#).into_bytes();
    if random.chance(500) { spoil(request, random) } else { request }
}

fn produce(producer: &BaseProducer, topic: &str, lane: Lane, forged: &Forged) -> anyhow::Result<()> {
    loop {
        let mut headers = OwnedHeaders::new();
        for (name, value) in &forged.headers {
            headers = headers.insert(Header { key: name, value: Some(value) });
        }
        let mut record = BaseRecord::to(topic).partition(lane.as_i32()).key(&forged.key).headers(headers);
        if let Some(value) = &forged.value {
            record = record.payload(value);
        }
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(anyhow!(error).context("a record cannot be produced")),
        }
    }
}

/// Waits until every reader has passed what is in its lanes.
async fn until_read(system: &System, bootstrap: &str) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let database = system.database().connect().await?;
    for (topic, readers) in READERS {
        let mut ends = Vec::new();
        for lane in (0..LANES).map(Lane) {
            let (_, end) = consumer.fetch_watermarks(&topic.name(system.name()), lane.as_i32(), BROKER_DEADLINE)?;
            ends.push(end);
        }
        for reader in readers {
            let passed = format!("SELECT next_offset FROM {reader}.inbox_lane WHERE source = $1 ORDER BY lane");
            eventually(READ_DEADLINE, "every record is read", async || {
                let rows = database.query(&passed, &[&topic.code()]).await?;
                let passed: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
                let is_past = passed.iter().zip(&ends).all(|(passed, end)| passed >= end);
                ensure!(is_past && passed.len() == ends.len(), "{reader} is at {passed:?} of {ends:?} in {topic}");
                Ok(())
            })
            .await
            .with_context(|| system.name().to_owned())?;
        }
    }
    Ok(())
}
