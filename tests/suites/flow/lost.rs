//! Kafka loses records that it had acknowledged, before a consumer has read them.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tests::eventually;
use tests::kafka::Kafka;
use tests::shop;
use tests::system::{Service, Setup, System, Transport};

use crate::NOTICE_DEADLINE;
use crate::books::balanced;

/// Lanes of the system.
const LANES: u16 = 3;

/// Orders before anything is lost, and orders whose events are: enough for some in every lane.
const ORDERS: usize = 30;

/// How long the broker may take for a request.
const BROKER_DEADLINE: Duration = Duration::from_secs(30);

/// Lanes of orders that a reader has not read to their end.
const UNREAD: &str = "
SELECT count(*) FROM orders.lane_head h JOIN notifications.inbox_lane i USING (lane) WHERE i.last_seq <> h.last_seq";

/// Records are lost that inventory has yet to read. It finds that they are missing and asks for them; they are published
/// again from the journal, and the orders that they are about are settled.
pub async fn published_again() -> anyhow::Result<()> {
    let system = System::services(Setup::from(Transport::Kafka).lanes(LANES), 1).await?;
    let shop = system.shop();
    let on_hand = 1000;
    shop.put_stock("cup", on_hand).await?;
    let order = shop::order(&[("cup", 1)], Some("tok_ok"));
    let place = async || try_join_all((0..ORDERS).map(|_| shop.placed(&order))).await;

    for id in place().await? {
        shop.until_status(&id, "confirmed").await?;
    }
    let inventory = system.replica(Service::Inventory, 0);
    inventory.terminate().await?;
    let unread = place().await?;
    published(&system).await?;
    lose(&format!("{}.orders", system.name())).await?;
    inventory.start_again().await?;

    for id in unread {
        shop.until_status(&id, "confirmed").await?;
    }
    let metrics = system.replica(Service::Order, 0).client()?.get("/actuator/prometheus").await?.expect(200)?.text();
    let republished = "ordersystem_journal_lanes_republished_total{service=\"orders\"} ";
    let times = metrics.lines().find_map(|line| line.strip_prefix(republished)).context("it is counted")?;
    ensure!(times.trim().parse::<u64>()? >= u64::from(LANES), "lanes were published again {times} times");
    balanced(system.database()).await
}

/// Waits until everything that orders had to say is published: another reader has read it.
async fn published(system: &System) -> anyhow::Result<()> {
    let database = system.database().connect().await?;
    eventually(NOTICE_DEADLINE, "notification has read every event of the orders", async || {
        let unread: i64 = database.query_one(UNREAD, &[]).await?.try_get(0)?;
        ensure!(unread == 0, "it has not, in {unread} lanes");
        Ok(())
    })
    .await
}

/// Removes every record of a topic.
async fn lose(topic: &str) -> anyhow::Result<()> {
    let kafka = Kafka::shared().await?;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create()?;
    let mut everything = TopicPartitionList::new();
    for lane in 0..i32::from(LANES) {
        everything.add_partition_offset(topic, lane, Offset::End)?;
    }
    let options = AdminOptions::new().operation_timeout(Some(BROKER_DEADLINE));
    let deleted = admin.delete_records(&everything, &options).await?;
    for partition in deleted.elements() {
        partition.error()?;
    }
    Ok(())
}
