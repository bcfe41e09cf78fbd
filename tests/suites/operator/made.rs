//! What a system is made of, and that it is put back.

use anyhow::{Context, ensure};
use serde_json::json;
use tests::eventually;

use crate::site::{DEADLINE, made};

/// Everything that a small system is made of.
const KINDS: &str = "configmaps,services,serviceaccounts,deployments,poddisruptionbudgets,networkpolicies,ingresses";

#[tokio::test]
async fn a_system_is_made_of_its_children_and_told_about() -> anyhow::Result<()> {
    let (namespace, _, _database) = made().await?;
    let names = namespace.names(KINDS).await?;
    for service in ["order", "inventory", "payment", "notification"] {
        for kind in ["service", "serviceaccount", "deployment.apps", "poddisruptionbudget.policy"] {
            ensure!(names.contains(&format!("{kind}/shop-{service}")), "no {kind} of {service}: {names:?}");
        }
    }
    assert_eq!(names.len(), 21, "five kinds for each service, and one configuration: {names:?}");
    let listed = namespace.kubectl(&["get", "ordersystems"]).await?;
    for word in ["READY", "REASON", "ORDERS", "BACKLOG", "LANES", "AGE", "Progressing", "0/1"] {
        ensure!(listed.contains(word), "`kubectl get` does not show {word}:\n{listed}");
    }
    let events = namespace.kubectl(&["get", "events", "--output=jsonpath={..reason}"]).await?;
    ensure!(events.contains("Progressing"), "no event tells it: {events}");
    Ok(())
}

#[tokio::test]
async fn pods_pass_the_restricted_standard() -> anyhow::Result<()> {
    let (namespace, _, _database) = made().await?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    let answer = namespace.node.kubectl(&["label", "namespace", &namespace.name, label]).await?;
    ensure!(!answer.contains("violate"), "{answer}");
    namespace.kubectl(&["delete", "pods", "--all", "--wait=false"]).await?;
    namespace
        .until_object("deployment/shop-order", "its pod is made again", |deployment| {
            deployment["status"]["replicas"] == 1
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_someone_changes_or_deletes_is_put_back() -> anyhow::Result<()> {
    let (namespace, _, _database) = made().await?;
    namespace.kubectl(&["delete", "service/shop-order", "networkpolicy/shop-payment"]).await?;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "ordersystem", "image": "evil:1"}]}}}});
    namespace.kubectl(&["patch", "deployment/shop-inventory", "--patch", &image.to_string()]).await?;
    let told = namespace.names("configmaps").await?.pop().context("a configuration")?;
    let edit = namespace.kubectl(&["patch", &told, "--patch", r#"{"data": {"ORDERSYSTEM_LANES": "7"}}"#]).await;
    let refusal = edit.err().context("what pods read is changed under them")?;
    ensure!(format!("{refusal:#}").contains("immutable"), "{refusal:#}");
    namespace.kubectl(&["delete", &told]).await?;
    namespace.until_object("service/shop-order", "the Service is back", |_| true).await?;
    namespace.until_object("networkpolicy/shop-payment", "the policy is back", |_| true).await?;
    let first = "/spec/template/spec/containers/0/image";
    namespace
        .until_object("deployment/shop-inventory", "the image is back", |deployment| {
            deployment.pointer(first).is_some_and(|image| image != "evil:1")
        })
        .await?;
    namespace
        .until_object(&told, "the configuration is back", |config| config["data"]["ORDERSYSTEM_LANES"] == "4")
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_removed() -> anyhow::Result<()> {
    let (namespace, mut system, _database) = made().await?;
    system["spec"]["ingress"] = json!({"host": "shop.example.com"});
    namespace.apply(&system).await?;
    namespace.until_object("ingress/shop", "the way in is made", |_| true).await?;
    system["spec"]["ingress"].take();
    system["spec"]["networkPolicy"] = json!({"enabled": false});
    namespace.apply(&system).await?;
    eventually(DEADLINE, "the way in and the policies are gone", async || {
        let left = namespace.names("ingresses,networkpolicies").await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn while_it_is_paused_nothing_is_put_back() -> anyhow::Result<()> {
    let (namespace, mut system, _database) = made().await?;
    system["spec"]["paused"] = json!(true);
    namespace.apply(&system).await?;
    namespace.until("Paused", "True", "Paused").await?;
    namespace.kubectl(&["delete", "service/shop-order"]).await?;
    // A change that is told again shows that the operator has looked since.
    system["spec"]["orders"] = json!({"paymentAttempts": 4});
    namespace.apply(&system).await?;
    namespace.until("Paused", "True", "Paused").await?;
    ensure!(!namespace.names("services").await?.contains(&"service/shop-order".to_owned()), "it was put back");
    system["spec"]["paused"] = json!(false);
    namespace.apply(&system).await?;
    namespace.until_object("service/shop-order", "the Service is back", |_| true).await?;
    namespace.until("Paused", "False", "NotPaused").await.map(drop)
}
