//! A rollout that cannot get on.

use anyhow::{Context, ensure};
use serde_json::json;
use tests::cluster::{DEADLINE, Site, System, TAGS};
use tests::eventually;

use crate::load::steady;

#[tokio::test]
async fn an_image_that_cannot_be_pulled_stops_the_rollout_and_orders_flow_on() -> anyhow::Result<()> {
    let system = Site::shared().await?.system(|_| ()).await?;
    let mut manifest = system.manifest.clone();
    let (placed, ()) = steady(&system, async {
        manifest["spec"]["image"] = json!("localhost/ordersystem:absent");
        system.site.node.apply(&manifest.to_string()).await?;
        let message = stalled(&system).await?;
        ensure!(message.starts_with("notification makes no progress"), "{message}");
        ensure!(message.ends_with("waiting for their turn: payment, inventory, order"), "{message}");
        let image = "--output=jsonpath={.items[*].spec.template.spec.containers[*].image}";
        let images = system.kubectl(&["get", "deployments", image]).await?;
        let old = images.split_whitespace().filter(|image| image.ends_with(TAGS[0])).count();
        assert_eq!(old, 3, "others were rolled: {images}");
        system.apply().await?;
        system.until_ready().await
    })
    .await?;
    ensure!(!placed.ids.is_empty(), "no order was placed meanwhile");
    system.balanced().await?;
    system.delete().await
}

/// Waits until the operator says that a rollout is stuck, and hands on what it says.
async fn stalled(system: &System) -> anyhow::Result<String> {
    eventually(DEADLINE, "the operator says that it is stuck", async || {
        let status = system.get("ordersystem/shop").await?["status"].take();
        let conditions = status["conditions"].as_array().context("no conditions")?;
        let stalled = conditions.iter().find(|condition| condition["type"] == "Stalled").context("not said")?;
        ensure!(stalled["status"] == "True" && stalled["reason"] == "RolloutStuck", "{stalled}");
        stalled["message"].as_str().map(str::to_owned).context("a message")
    })
    .await
}
