//! The end of a system.

use std::time::Duration;

use anyhow::ensure;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;
use tests::eventually;
use tests::kafka::Kafka;
use tests::postgres::TestDatabase;

use crate::site::{DEADLINE, Namespace, Site, made, shop};

/// How long a system may be held up for its topics' sake, and some.
const PATIENCE: Duration = Duration::from_mins(2);

async fn nothing_is_left(namespace: &Namespace<'_>, deadline: Duration) -> anyhow::Result<()> {
    eventually(deadline, "the system and its children are gone", async || {
        let kinds = "ordersystems,deployments,services,serviceaccounts,configmaps,poddisruptionbudgets,networkpolicies";
        let left = namespace.names(kinds).await?;
        ensure!(left.is_empty(), "{left:?}");
        let systems = namespace.kubectl(&["get", "ordersystems", "--output=name"]).await?;
        ensure!(systems.is_empty(), "{systems}");
        Ok(())
    })
    .await
}

fn topics(bootstrap: &str, prefix: &str) -> anyhow::Result<Vec<String>> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let metadata = consumer.fetch_metadata(None, DEADLINE)?;
    Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).filter(|name| name.starts_with(prefix)).collect())
}

#[tokio::test]
async fn children_go_and_topics_stay() -> anyhow::Result<()> {
    let (namespace, system, _database) = made().await?;
    namespace.kubectl(&["delete", "ordersystem/shop"]).await?;
    nothing_is_left(&namespace, DEADLINE).await?;
    let prefix = system["spec"]["kafka"]["topicPrefix"].as_str().unwrap_or_default();
    assert_eq!(topics(Kafka::shared().await?.bootstrap(), prefix)?.len(), 6);
    Ok(())
}

#[tokio::test]
async fn topics_go_too_when_that_is_wanted() -> anyhow::Result<()> {
    let (namespace, mut system, _database) = made().await?;
    system["spec"]["deletionPolicy"] = json!("Delete");
    namespace.apply(&system).await?;
    namespace
        .until_object("ordersystem/shop", "it is held up for them", |it| !it["metadata"]["finalizers"].is_null())
        .await?;
    namespace.kubectl(&["delete", "ordersystem/shop"]).await?;
    nothing_is_left(&namespace, DEADLINE).await?;
    let prefix = system["spec"]["kafka"]["topicPrefix"].as_str().unwrap_or_default();
    let left = topics(Kafka::shared().await?.bootstrap(), prefix)?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[tokio::test]
async fn with_the_brokers_away_it_ends_all_the_same() -> anyhow::Result<()> {
    let database = TestDatabase::create().await?;
    let namespace = Site::shared().await?.namespace(database.url()).await?;
    let kafka = Kafka::start().await?;
    let mut system = shop(kafka.bootstrap());
    system["spec"]["deletionPolicy"] = json!("Delete");
    namespace.apply(&system).await?;
    namespace.until("TopicsReady", "True", "Found").await?;
    kafka.stop().await?;
    namespace.kubectl(&["delete", "ordersystem/shop", "--wait=false"]).await?;
    nothing_is_left(&namespace, PATIENCE).await?;
    let events = namespace.kubectl(&["get", "events", "--output=jsonpath={..reason}"]).await?;
    ensure!(events.contains("TopicsLeft"), "no event tells that they stay: {events}");
    Ok(())
}
