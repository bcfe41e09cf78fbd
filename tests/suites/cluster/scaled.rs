//! A service has as many replicas as its backlog asks for.

use anyhow::{Context, ensure};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use tests::cluster::{DEADLINE, Site, System};
use tests::eventually;
use tests::shop;

/// How many orders come until more replicas read them, at the most, and how many at a time.
const MOST_ORDERS: usize = 200_000;
const AT_ONCE: usize = 64;

#[tokio::test]
async fn a_burst_raises_the_consumers_and_they_come_back_down() -> anyhow::Result<()> {
    let system = Site::shared()
        .await?
        .system(|manifest| {
            // A reader that is held back, as one is by a slow mail server.
            manifest["spec"]["services"]["notification"] = json!({
                "autoscaling": {
                    "minReplicas": 1, "maxReplicas": 4, "targetBacklogSeconds": 1, "scaleDownStabilizationSeconds": 15,
                },
                "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "10m", "memory": "256Mi"}},
            });
        })
        .await?;
    system.client("inventory").await?.put("/inventory/cup").json(&json!({"onHand": 1_000_000})).await?;
    let orders = system.client("order").await?;
    let order = shop::order(&[("cup", 1)], Some("tok_ok"));
    let placed = stream::iter(0..MOST_ORDERS)
        .map(async |_| orders.post("/orders").json(&order).await?.expect(201).map(drop))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>();
    // However fast a held-back reader is, it falls behind as long as they come.
    let most = tokio::select! {
        most = until(&system, "more replicas read", |replicas, _| replicas > 1) => most?,
        placed = placed => {
            placed?;
            anyhow::bail!("one replica read all of {MOST_ORDERS} orders");
        }
    };
    println!("{most} replicas with the backlog");
    until(&system, "the backlog is gone and one is enough", |replicas, backlog| replicas == 1 && backlog == 0).await?;
    let events = system.kubectl(&["get", "events", "--output=jsonpath={..reason}"]).await?;
    ensure!(events.contains("Scaled"), "no event tells it: {events}");
    system.balanced().await?;
    system.delete().await
}

async fn until(system: &System, what: &str, holds: impl Fn(i64, i64) -> bool) -> anyhow::Result<i64> {
    eventually(DEADLINE, what, async || {
        let system = system.get("ordersystem/shop").await?;
        let services = system["status"]["services"].as_array().context("no services")?;
        let service = services.iter().find(|service| service["name"] == "notification").context("not told of")?;
        let (replicas, backlog) = (service["replicas"].as_i64(), service["backlog"].as_i64());
        let (replicas, backlog) = (replicas.context("replicas")?, backlog.context("a backlog")?);
        ensure!(holds(replicas, backlog), "{service}");
        Ok(replicas)
    })
    .await
}
