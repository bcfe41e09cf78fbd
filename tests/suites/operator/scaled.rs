//! Who says how many replicas there are.

use anyhow::ensure;
use serde_json::json;
use tests::eventually;

use crate::site::{DEADLINE, made};

#[tokio::test]
async fn what_the_spec_says_is_put_back() -> anyhow::Result<()> {
    let (namespace, mut system, _database) = made().await?;
    system["spec"]["services"] = json!({"order": {"replicas": 2}});
    namespace.apply(&system).await?;
    namespace.until_object("deployment/shop-order", "there are two", |it| it["spec"]["replicas"] == 2).await?;
    namespace.kubectl(&["scale", "deployment/shop-order", "--replicas=4"]).await?;
    namespace.until_object("deployment/shop-order", "there are two again", |it| it["spec"]["replicas"] == 2).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_person_says_stands_when_the_spec_is_silent() -> anyhow::Result<()> {
    let (namespace, mut system, _database) = made().await?;
    namespace.kubectl(&["scale", "deployment/shop-order", "--replicas=3"]).await?;
    system["spec"]["orders"] = json!({"paymentAttempts": 4});
    namespace.apply(&system).await?;
    // By then the operator has looked.
    namespace.until_told("notification", "ORDERSYSTEM_PAYMENT_ATTEMPTS", "4").await?;
    let deployment = namespace.get("deployment/shop-order").await?;
    assert_eq!(deployment["spec"]["replicas"], 3);
    Ok(())
}

#[tokio::test]
async fn replicas_are_handed_over_and_never_fall_back_to_one() -> anyhow::Result<()> {
    let (namespace, mut system, _database) = made().await?;
    system["spec"]["services"] = json!({"notification": {"replicas": 3}});
    namespace.apply(&system).await?;
    let three = |it: &serde_json::Value| it["spec"]["replicas"] == 3;
    let before = namespace.until_object("deployment/shop-notification", "there are three", three).await?;
    system["spec"]["services"] = json!({"notification": {"autoscaling": {"minReplicas": 3, "maxReplicas": 4}}});
    namespace.apply(&system).await?;
    let annotated =
        |it: &serde_json::Value| it["metadata"]["annotations"]["ordersystem.dev/autoscaling-hash"].is_string();
    let after = namespace.until_object("deployment/shop-notification", "it is autoscaled", annotated).await?;
    assert_eq!(after["spec"]["replicas"], 3);
    // A generation counts changes of a Deployment's spec, and of its annotations, of which there was one: replicas never
    // went to one and back.
    let generation = |it: &serde_json::Value| it["metadata"]["generation"].as_i64();
    assert_eq!(generation(&after), generation(&before).map(|before| before + 1));
    Ok(())
}

#[tokio::test]
async fn the_autoscaler_does_not_fight_a_person() -> anyhow::Result<()> {
    let (namespace, mut system, _database) = made().await?;
    system["spec"]["services"] = json!({"payment": {"autoscaling": {"minReplicas": 2, "maxReplicas": 4}}});
    namespace.apply(&system).await?;
    let two = |it: &serde_json::Value| it["spec"]["replicas"] == 2;
    namespace.until_object("deployment/shop-payment", "there are at least two", two).await?;
    namespace.kubectl(&["scale", "deployment/shop-payment", "--replicas=1"]).await?;
    eventually(DEADLINE, "the status tells whose it is", async || {
        let system = namespace.get("ordersystem/shop").await?;
        let services = system["status"]["services"].as_array().cloned().unwrap_or_default();
        let payment = services.iter().find(|service| service["name"] == "payment");
        ensure!(payment.is_some_and(|payment| payment["limitedBy"] == "OwnedByOther"), "{services:?}");
        Ok(())
    })
    .await?;
    assert_eq!(namespace.get("deployment/shop-payment").await?["spec"]["replicas"], 1);
    // Until the spec's autoscaling is changed: then it is asked for again.
    system["spec"]["services"]["payment"]["autoscaling"]["targetBacklogSeconds"] = json!(9);
    namespace.apply(&system).await?;
    namespace.until_object("deployment/shop-payment", "there are two again", two).await.map(drop)
}
