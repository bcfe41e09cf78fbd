//! A system is applied, and an order settles in it.

use anyhow::ensure;
use serde_json::{Value, json};
use tests::cluster::{DEADLINE, Site, TAGS};
use tests::eventually;
use tests::shop;

#[tokio::test]
async fn an_order_settles_in_a_system_that_was_applied() -> anyhow::Result<()> {
    let system = Site::shared().await?.system(|_| ()).await?;
    let listed = system.kubectl(&["get", "ordersystems"]).await?;
    ensure!(listed.contains("1/1") && listed.contains("True"), "{listed}");
    let image = "--output=jsonpath={..containers[*].image}";
    let images = system.kubectl(&["get", "pods", image]).await?;
    let real = format!("localhost/ordersystem:{}", TAGS[0]);
    ensure!(images.split_whitespace().all(|image| image == real), "the pods run {images}");

    let stock = system.client("inventory").await?.put("/inventory/cup").json(&json!({"onHand": 5})).await?;
    ensure!(stock.status.is_success(), "{}", stock.text());
    let orders = system.client("order").await?;
    let order = shop::order(&[("cup", 2)], Some("tok_ok"));
    let placed = orders.post("/orders").header("Prefer", "wait=10").json(&order).await?.json()?;
    let id = shop::id(&placed)?;
    let confirmed = eventually(DEADLINE, "it is confirmed and paid", async || {
        let order = orders.get(&format!("/orders/{id}")).await?.expect(200)?.json()?;
        ensure!(order["status"] == "confirmed" && order["paymentStatus"] == "captured", "{order}");
        Ok(order)
    })
    .await?;
    assert_eq!(confirmed["total"], 500);
    let left = system.client("inventory").await?.get("/inventory/cup").await?.expect(200)?.json()?;
    assert_eq!((&left["available"], &left["sold"]), (&json!(3), &json!(2)));
    let notices = system.client("notification").await?;
    eventually(DEADLINE, "the customer is told", async || {
        let told = notices.get(&format!("/notifications?orderId={id}")).await?.expect(200)?.json()?;
        ensure!(told["data"].as_array().is_some_and(|all: &Vec<Value>| !all.is_empty()), "{told}");
        Ok(())
    })
    .await?;
    system.balanced().await?;
    system.delete().await
}
