//! What changes around a system: its Secrets and its brokers.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use tests::eventually;
use tests::kafka::{FencedKafka, Kafka};
use tests::postgres::TestDatabase;
use tokio::time::sleep;

use crate::site::{DEADLINE, Site, made, no_pods, shop};

/// How long brokers know of no brokers: longer than the operator goes without asking.
const FENCED: Duration = Duration::from_secs(12);

const SECRETS_HASH: &str = "/spec/template/metadata/annotations/ordersystem.dev~1secrets-hash";

#[tokio::test]
async fn a_changed_secret_rolls_the_pods_one_service_after_the_other() -> anyhow::Result<()> {
    let (namespace, _, _database) = made().await?;
    let hash = |deployment: &serde_json::Value| deployment.pointer(SECRETS_HASH).cloned();
    let before = hash(&namespace.get("deployment/shop-notification").await?).context("a hash")?;
    let other = TestDatabase::create().await?;
    namespace.set_database(other.url()).await?;
    namespace
        .until_object("deployment/shop-notification", "the last consumer is rolled first", |deployment| {
            hash(deployment).is_some_and(|after| after != before)
        })
        .await?;
    // No pod runs here, so that rollout never ends, and the next one's turn never comes.
    let message = namespace.until("Ready", "False", "Progressing").await?;
    let message = message["message"].as_str().unwrap_or_default();
    ensure!(message.contains("waiting for their turn: payment, inventory, order"), "{message}");
    for service in ["payment", "inventory", "order"] {
        let deployment = namespace.get(&format!("deployment/shop-{service}")).await?;
        ensure!(hash(&deployment).as_ref() == Some(&before), "{service} is rolled before its turn");
    }
    Ok(())
}

#[tokio::test]
async fn who_waits_for_its_turn_is_kept_at_what_it_had() -> anyhow::Result<()> {
    let (namespace, mut system, _database) = made().await?;
    let pods = |deployment: &serde_json::Value| deployment["spec"]["template"].clone();
    let before = pods(&namespace.get("deployment/shop-payment").await?);
    let told = namespace.configuration("payment").await?;
    system["spec"]["orders"] = json!({"paymentAttempts": 9});
    namespace.apply(&system).await?;
    namespace.until_told("notification", "ORDERSYSTEM_PAYMENT_ATTEMPTS", "9").await?;
    // No pod runs here, so its rollout never ends, and the others' turn never comes.
    assert_eq!(namespace.configuration("payment").await?, told, "a pod that starts again is told before its turn");
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "ordersystem", "image": "evil:1"}]}}}});
    namespace.kubectl(&["patch", "deployment/shop-payment", "--patch", &image.to_string()]).await?;
    namespace.until_object("deployment/shop-payment", "its pods are put back", |it| pods(it) == before).await?;
    system["spec"]["services"] = json!({"payment": {"replicas": 2}});
    namespace.apply(&system).await?;
    let scaled = namespace.until_object("deployment/shop-payment", "it is scaled", |it| it["spec"]["replicas"] == 2);
    assert_eq!(pods(&scaled.await?), before, "it is rolled before its turn");
    Ok(())
}

#[tokio::test]
async fn a_configuration_goes_when_nobody_reads_it_any_more() -> anyhow::Result<()> {
    let database = TestDatabase::create().await?;
    let namespace = Site::shared().await?.namespace(database.url()).await?;
    let mut system = shop(Kafka::shared().await?.bootstrap());
    system["spec"]["services"] = no_pods();
    namespace.apply(&system).await?;
    namespace.until("Ready", "True", "Ready").await?;
    let before = namespace.names("configmaps").await?;
    system["spec"]["orders"] = json!({"paymentAttempts": 9});
    namespace.apply(&system).await?;
    namespace.until("Ready", "True", "Ready").await?;
    eventually(DEADLINE, "there is one, and it is another", async || {
        let left = namespace.names("configmaps").await?;
        ensure!(left.len() == 1 && left != before, "{left:?}");
        Ok(())
    })
    .await?;
    for service in ["notification", "payment", "inventory", "order"] {
        assert_eq!(namespace.configuration(service).await?["ORDERSYSTEM_PAYMENT_ATTEMPTS"], "9", "{service}");
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_secret_is_named_and_looked_for() -> anyhow::Result<()> {
    let database = TestDatabase::create().await?;
    let namespace = Site::shared().await?.namespace(database.url()).await?;
    namespace.kubectl(&["delete", "secret/shop-db-app"]).await?;
    namespace.apply(&shop(Kafka::shared().await?.bootstrap())).await?;
    let missing = namespace.until("DatabaseReady", "False", "SecretMissing").await?;
    assert_eq!(missing["message"], "Secret shop-db-app is missing");
    namespace.until("Stalled", "True", "SecretMissing").await?;
    namespace.set_database(database.url()).await?;
    namespace.until("DatabaseReady", "True", "Found").await?;
    namespace.until("Stalled", "False", "Progressing").await.map(drop)
}

#[tokio::test]
async fn brokers_that_are_away_are_told_of_and_leave_the_pods_alone() -> anyhow::Result<()> {
    let database = TestDatabase::create().await?;
    let namespace = Site::shared().await?.namespace(database.url()).await?;
    let kafka = Kafka::start().await?;
    let mut system = shop(kafka.bootstrap());
    namespace.apply(&system).await?;
    namespace.until("TopicsReady", "True", "Found").await?;
    let pods = namespace.until_object("deployment/shop-order", "it is made", |_| true).await?;
    kafka.stop().await?;
    namespace.until("TopicsReady", "False", "Unreachable").await?;
    namespace.until("Ready", "False", "TopicsNotReady").await?;
    system["spec"]["orders"] = json!({"paymentAttempts": 9});
    namespace.apply(&system).await?;
    namespace.until("TopicsReady", "False", "Unreachable").await?;
    let meanwhile = namespace.get("deployment/shop-order").await?;
    ensure!(meanwhile["spec"] == pods["spec"], "the pods were changed");
    kafka.start_again().await?;
    namespace.until("TopicsReady", "True", "Found").await.map(drop)
}

/// Brokers that answer with an empty list of brokers, as they do while they stop, make a client forget all of them.
#[tokio::test]
async fn brokers_that_know_no_brokers_for_a_while_are_found_again() -> anyhow::Result<()> {
    let database = TestDatabase::create().await?;
    let namespace = Site::shared().await?.namespace(database.url()).await?;
    let kafka = FencedKafka::start().await?;
    namespace.apply(&shop(&kafka.bootstrap())).await?;
    namespace.until("TopicsReady", "True", "Found").await?;
    kafka.fence(true);
    // What it is told meanwhile depends on what it asks.
    namespace.until("Ready", "False", "TopicsNotReady").await?;
    sleep(FENCED).await;
    kafka.fence(false);
    namespace.until("TopicsReady", "True", "Found").await.map(drop)
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_of() -> anyhow::Result<()> {
    let namespace = Site::shared().await?.namespace("postgres://nobody:secret@127.0.0.1:1/nothing").await?;
    namespace.apply(&shop(Kafka::shared().await?.bootstrap())).await?;
    let condition = namespace.until("DatabaseReady", "False", "Unreachable").await?;
    assert_eq!(condition["message"], "127.0.0.1:1 does not answer");
    namespace.set_database("nonsense").await?;
    namespace.until("DatabaseReady", "False", "InvalidUrl").await.map(drop)
}

#[tokio::test]
async fn topics_with_another_number_of_partitions_are_told_of() -> anyhow::Result<()> {
    let (_, system, database) = made().await?;
    let namespace = Site::shared().await?.namespace(database.url()).await?;
    let mut other = system.clone();
    other["spec"]["lanes"] = json!(3);
    namespace.apply(&other).await?;
    let condition = namespace.until("TopicsReady", "False", "WrongPartitions").await?;
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(message.contains('4') && message.contains('3'), "{message}");
    Ok(())
}
