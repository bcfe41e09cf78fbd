//! Orders flow while everything under them is changed.

use anyhow::{Context, ensure};
use serde_json::json;
use tests::cluster::{DEADLINE, Site, System, TAGS};
use tests::eventually;

use crate::load::steady;

const SERVICES: [&str; 4] = ["notification", "payment", "inventory", "order"];

#[tokio::test]
async fn nothing_is_lost_while_it_is_rolled_killed_and_scaled() -> anyhow::Result<()> {
    let two = json!({"replicas": 2});
    let mut system = Site::shared()
        .await?
        .system(|manifest| {
            manifest["spec"]["services"] = json!({"order": two, "inventory": two, "payment": two, "notification": two});
        })
        .await?;
    let mut manifest = system.manifest.clone();
    let (placed, ()) = steady(&system, async {
        manifest["spec"]["image"] = json!(format!("localhost/ordersystem:{}", TAGS[1]));
        system.site.node.apply(&manifest.to_string()).await?;
        kill_the_operator(&system).await?;
        rolled_in_order(&system).await?;
        system.until_ready().await?;
        for service in SERVICES {
            kill_a_pod(&system, service).await?;
        }
        system.until_ready().await?;
        for count in [3, 2] {
            manifest["spec"]["services"]["payment"]["replicas"] = json!(count);
            system.site.node.apply(&manifest.to_string()).await?;
            system.until_ready().await?;
        }
        Ok(())
    })
    .await?;
    system.manifest = manifest;
    println!("{} orders were placed, {} of them at the second attempt", placed.ids.len(), placed.repeated);
    let orders = system.client("order").await?;
    for id in &placed.ids {
        eventually(DEADLINE, "every order is confirmed", async || {
            let order = orders.get(&format!("/orders/{id}")).await?.expect(200)?.json()?;
            ensure!(order["status"] == "confirmed", "{order}");
            Ok(())
        })
        .await?;
    }
    system.balanced().await?;
    system.delete().await
}

/// As a node that fails does to it: at once, without leave.
async fn kill_the_operator(system: &System) -> anyhow::Result<()> {
    let delete = ["delete", "pods", "--all", "--namespace=ordersystem-operator", "--grace-period=0", "--force"];
    system.site.node.kubectl(&delete).await.map(drop)
}

/// Every service has the new image, and each began after the one before was done.
async fn rolled_in_order(system: &System) -> anyhow::Result<()> {
    let new = format!("localhost/ordersystem:{}", TAGS[1]);
    let mut done = 0;
    while done < SERVICES.len() {
        let mut is_new = Vec::new();
        for service in SERVICES {
            let deployment = system.get(&format!("deployment/shop-{service}")).await?;
            let image = deployment.pointer("/spec/template/spec/containers/0/image").context("an image")?;
            let status = &deployment["status"];
            let complete = status["updatedReplicas"] == 2
                && status["replicas"] == 2
                && status["observedGeneration"] == deployment["metadata"]["generation"];
            is_new.push((*image == json!(new), complete));
        }
        for (index, (new, _)) in is_new.iter().enumerate().skip(1) {
            let before = is_new[..index].iter().all(|(new, complete)| *new && *complete);
            ensure!(!new || before, "{} is rolled before its turn: {is_new:?}", SERVICES[index]);
        }
        let now = is_new.iter().filter(|(new, complete)| *new && *complete).count();
        if now == done {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        done = done.max(now);
    }
    Ok(())
}

async fn kill_a_pod(system: &System, service: &str) -> anyhow::Result<()> {
    let selector = format!("--selector=app.kubernetes.io/component={service}");
    let first = "--output=jsonpath={.items[0].metadata.name}";
    let pod = system.kubectl(&["get", "pods", &selector, first]).await?;
    system.kubectl(&["delete", "pod", pod.trim(), "--grace-period=0", "--force"]).await?;
    eventually(DEADLINE, "another pod is there in its place", async || {
        let deployment = system.get(&format!("deployment/shop-{service}")).await?;
        ensure!(deployment["status"]["readyReplicas"] == 2, "{}", deployment["status"]);
        Ok(())
    })
    .await
}
