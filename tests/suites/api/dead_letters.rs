//! Records that cannot be read: they go to the dead letters, and their lane moves on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use contract::topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tests::kafka::Kafka;
use tests::shop::{self, SETTLE_DEADLINE};
use tests::system::{Setup, System, Transport};
use tests::{eventually, unique_name};

/// How long the broker may take for one request.
const BROKER_DEADLINE: Duration = Duration::from_secs(30);

/// Who reads the topic of orders; each has dead letters of its own.
const READERS: [&str; 4] = ["inventory", "notifications", "orders_view", "payments"];

/// An event whose envelope is good and whose data is not what its kind says, as a faulty release would write it. Every
/// reader of the orders reads this kind.
const BROKEN_EVENT: &str = r#"
    WITH head AS (UPDATE orders.lane_head SET last_seq = last_seq + 1 WHERE lane = 0 RETURNING last_seq)
    INSERT INTO orders.event (lane, seq, version, stream_id, event_id, at, kind, data)
    SELECT 0, last_seq, 1, gen_random_uuid(), gen_random_uuid(), now(), 'order.cancelled.v1', '{"customerId": 7}'
    FROM head"#;

/// A system with one lane, so that whatever follows has to come past the dead letter.
async fn system(transport: Transport) -> anyhow::Result<System> {
    System::up(Setup::from(transport).lanes(1)).await
}

/// Settles an order, which takes every service.
async fn an_order_settles(system: &System) -> anyhow::Result<()> {
    let shop = system.shop();
    shop.put_stock("later", 100).await?;
    let order = shop.placed(&shop::order(&[("later", 1)], Some("tok_ok"))).await?;
    ensure!(shop.settled(&order).await?["status"] == "confirmed");
    shop.until_payment(&order, "captured").await.map(drop)
}

/// Waits until each reader of the orders has `count` dead letters, and hands on their reasons.
async fn until_buried(system: &System, count: usize) -> anyhow::Result<BTreeSet<String>> {
    let database = system.database().connect().await?;
    let mut reasons = BTreeSet::new();
    for reader in READERS {
        let letters = format!("SELECT reason FROM {reader}.dead_letter WHERE source = 1 AND lane = 0");
        let rows = eventually(SETTLE_DEADLINE, "readers have their dead letters", async || {
            let rows = database.query(&letters, &[]).await?;
            ensure!(rows.len() == count, "{reader} has {} of {count}", rows.len());
            Ok(rows)
        });
        for row in rows.await? {
            reasons.insert(row.try_get(0)?);
        }
    }
    Ok(reasons)
}

#[tokio::test]
async fn a_record_that_nobody_can_read_is_put_aside_and_its_lane_moves_on() -> anyhow::Result<()> {
    let system = system(Transport::Kafka).await?;
    an_order_settles(&system).await?;

    produce(&system, b"\xffgarbage", &[]).await?;
    let elsewhere = [
        ("ce_id", "0197aaaa-0000-7000-8000-000000000001"),
        ("ce_type", "ordersystem.order.expired.v1"),
        ("ce_source", "/ordersystem/orders"),
        ("ce_subject", "0197aaaa-0000-7000-8000-000000000000"),
        ("ce_time", "2026-01-01T00:00:00Z"),
        ("ce_sequence", "1"),
        ("ce_lane", "5"),
        ("ce_laneseq", "1"),
        ("ce_correlationid", "0197aaaa-0000-7000-8000-000000000000"),
    ];
    produce(&system, br#"{"customerId": "ann"}"#, &elsewhere).await?;

    let reasons = until_buried(&system, 2).await?;
    assert_eq!(
        reasons.iter().map(String::as_str).collect::<Vec<_>>(),
        ["header ce_type is missing", "it says lane 5 and came in lane 0"]
    );
    an_order_settles(&system).await?;
    let letters = dead_letters(&system, 2 * READERS.len()).await?;
    let readers: BTreeSet<_> = letters.iter().map(|letter| letter.reader.as_str()).collect();
    assert_eq!(readers, BTreeSet::from(READERS));
    for letter in &letters {
        assert_eq!(letter.source, "orders");
        assert!(reasons.contains(&letter.reason), "{letter:?}");
    }
    assert!(letters.iter().any(|letter| letter.payload == b"\xffgarbage"), "{letters:?}");
    system.audit().await
}

#[tokio::test]
async fn an_event_whose_data_is_broken_is_put_aside_and_its_lane_moves_on() -> anyhow::Result<()> {
    for transport in [Transport::Log, Transport::Kafka] {
        let system = system(transport).await?;
        an_order_settles(&system).await?;

        system.database().connect().await?.batch_execute(BROKEN_EVENT).await?;
        // The next order follows it in the same lane.
        an_order_settles(&system).await?;

        let reasons = until_buried(&system, 1).await?;
        assert!(reasons.iter().all(|reason| reason.contains("order.cancelled.v1")), "{reasons:?}");
        // No audit: the event is there, and it is not what any row or view was made of.
    }
    Ok(())
}

/// Sends a record to the topic of orders.
async fn produce(system: &System, payload: &[u8], headers: &[(&str, &str)]) -> anyhow::Result<()> {
    let producer: BaseProducer = client().await?.set("acks", "all").create()?;
    let name = topic::Topic::Orders.name(system.name());
    let headers = headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(*value) }));
    let record = BaseRecord::<str, [u8]>::to(&name).partition(0).key("garbage").payload(payload).headers(headers);
    producer.send(record).map_err(|(error, _)| error)?;
    Ok(producer.flush(BROKER_DEADLINE)?)
}

/// A record of the topic of dead letters.
#[derive(Debug)]
struct Letter {
    reader: String,
    source: String,
    reason: String,
    payload: Vec<u8>,
}

/// The first `count` records of the topic of dead letters.
async fn dead_letters(system: &System, count: usize) -> anyhow::Result<Vec<Letter>> {
    let consumer: BaseConsumer = client().await?.set("group.id", unique_name()).create()?;
    let mut beginning = TopicPartitionList::new();
    beginning.add_partition_offset(&topic::dead_letters(system.name()), 0, Offset::Beginning)?;
    consumer.assign(&beginning)?;
    let end = Instant::now() + BROKER_DEADLINE;
    let mut letters = Vec::new();
    while letters.len() < count {
        let left = end.saturating_duration_since(Instant::now());
        let record = consumer.poll(left).with_context(|| format!("only {} dead letters", letters.len()))??;
        let header = |name: &str| {
            let header = record.headers()?.iter().find(|header| header.key == name)?;
            Some(String::from_utf8_lossy(header.value?).into_owned())
        };
        letters.push(Letter {
            reader: header("dl_reader").context("dl_reader")?,
            source: header("dl_source").context("dl_source")?,
            reason: header("dl_reason").context("dl_reason")?,
            payload: record.payload().unwrap_or_default().to_vec(),
        });
    }
    Ok(letters)
}

async fn client() -> anyhow::Result<ClientConfig> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", Kafka::shared().await?.bootstrap());
    Ok(client)
}
