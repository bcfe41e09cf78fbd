//! A rollout that does not get on.

use anyhow::ensure;
use serde_json::json;
use tests::kafka::Kafka;
use tests::postgres::TestDatabase;

use crate::site::{Namespace, START_DEADLINE, WORKS, bare, no_pods, operator, shop};

/// Seconds after which a rollout counts as stuck.
const STUCK_SECONDS: &str = "3";

#[tokio::test]
async fn a_stuck_rollout_stops_there_and_says_so_and_goes_on_when_it_is_put_right() -> anyhow::Result<()> {
    let database = TestDatabase::create().await?;
    let namespace = Namespace::new(bare().await?, database.url()).await?;
    let limits = ["--watch-namespace", &namespace.name, "--progress-deadline-seconds", STUCK_SECONDS];
    let mut operator = operator(namespace.node, &limits)?;
    operator.says(WORKS, START_DEADLINE).await?;
    let mut system = shop(Kafka::shared().await?.bootstrap());
    system["spec"]["image"] = json!("localhost/shop:one");
    system["spec"]["services"] = no_pods();
    namespace.apply(&system).await?;
    namespace.until("Ready", "True", "Ready").await?;

    // No node is there that could run a pod of it.
    system["spec"]["image"] = json!("localhost/shop:two");
    system["spec"]["services"]["notification"] = json!({"replicas": 1});
    namespace.apply(&system).await?;
    let condition = namespace.until("Stalled", "True", "RolloutStuck").await?;
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(message.starts_with("notification makes no progress: "), "{message}");
    ensure!(message.ends_with("waiting for their turn: payment, inventory, order"), "{message}");
    namespace.until("Ready", "False", "RolloutStuck").await?;
    namespace.until("Reconciling", "False", "RolloutStuck").await?;
    images(&namespace, ["two", "one", "one", "one"]).await?;
    let events = namespace.kubectl(&["get", "events", "--output=jsonpath={..reason}"]).await?;
    ensure!(events.contains("RolloutStuck"), "no event tells it: {events}");

    system["spec"]["image"] = json!("localhost/shop:three");
    system["spec"]["services"] = no_pods();
    namespace.apply(&system).await?;
    namespace.until("Ready", "True", "Ready").await?;
    namespace.until("Stalled", "False", "Ready").await?;
    images(&namespace, ["three"; 4]).await
}

/// Makes sure that the services have images with these tags, in the order in which they are rolled.
async fn images(namespace: &Namespace<'_>, tags: [&str; 4]) -> anyhow::Result<()> {
    for (service, tag) in ["notification", "payment", "inventory", "order"].iter().zip(tags) {
        let deployment = namespace.get(&format!("deployment/shop-{service}")).await?;
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        ensure!(*image == format!("localhost/shop:{tag}"), "{service} has {image}, not {tag}");
    }
    Ok(())
}
