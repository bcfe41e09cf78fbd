//! Lists: their pages and their filters. They follow what happens within moments, so a test waits until they do.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::{Value, json};
use tests::eventually;
use tests::http::Client;
use tests::shop::{self, SETTLE_DEADLINE, Shop};
use tests::system::Service;

use crate::{pages, visit};

/// Places `count` orders of a customer, each when the stock of the one before is decided, and waits until the list knows
/// them. Newest first.
async fn orders_of(shop: &Shop, customer: &str, product: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let mut order = shop::order(&[(product, 1)], None);
    order["customerId"] = json!(customer);
    let mut orders = Vec::new();
    for _ in 0..count {
        let placed = shop.placed(&order).await?;
        shop.until(&placed, "its stock is decided", |order| order["status"] != "pending").await?;
        orders.insert(0, placed);
    }
    let client = shop.to(Service::Order)?;
    until_listed(&client, &format!("/orders?customerId={customer}"), &orders).await?;
    Ok(orders)
}

async fn until_listed(client: &Client, path: &str, orders: &[String]) -> anyhow::Result<()> {
    eventually(SETTLE_DEADLINE, &format!("{path} lists them"), async || {
        let listed = ids(&pages(client, path).await?.concat())?;
        ensure!(listed == orders, "{listed:?}");
        Ok(())
    })
    .await
}

fn ids(entries: &[Value]) -> anyhow::Result<Vec<String>> {
    entries.iter().map(shop::id).collect()
}

#[tokio::test]
async fn orders_are_listed_newest_first_page_by_page() -> anyhow::Result<()> {
    let shop = visit().await?;
    let orders = orders_of(&shop, "page-by-page", "unheard-of", 5).await?;
    let client = shop.to(Service::Order)?;
    let pages = pages(&client, "/orders?customerId=page-by-page&limit=2").await?;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(ids(&pages.concat())?, orders);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn a_page_stays_the_same_while_orders_come_in() -> anyhow::Result<()> {
    let shop = visit().await?;
    let orders = orders_of(&shop, "steady", "unheard-of", 4).await?;
    let client = shop.to(Service::Order)?;
    let first = client.get("/orders?customerId=steady&limit=2").await?.expect(200)?.json()?;

    let mut newer = shop::order(&[("unheard-of", 1)], None);
    newer["customerId"] = json!("steady");
    let newer = shop.placed(&newer).await?;
    let all: Vec<String> = [newer].into_iter().chain(orders.iter().cloned()).collect();
    until_listed(&client, "/orders?customerId=steady", &all).await?;

    let cursor = first["nextCursor"].as_str().unwrap_or_default();
    let second = client.get(&format!("/orders?customerId=steady&limit=2&cursor={cursor}")).await?.expect(200)?;
    assert_eq!(ids(&shop::data(&second)?)?, orders[2..]);
    Ok(())
}

#[tokio::test]
async fn orders_are_found_by_status_product_and_time() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("found-by", 2).await?;
    let orders = orders_of(&shop, "found", "found-by", 3).await?;
    let others = orders_of(&shop, "found-not", "unheard-of", 1).await?;
    let mut statuses = Vec::new();
    for order in &orders {
        statuses.push(shop.order(order).await?["status"].clone());
    }
    assert_eq!(statuses, ["rejected", "reserved", "reserved"]);
    let client = shop.to(Service::Order)?;
    let listed =
        async |query: &str, expected: &[String]| until_listed(&client, &format!("/orders?{query}"), expected).await;

    listed("productId=found-by", &orders).await?;
    listed("customerId=found&status=reserved", &orders[1..]).await?;
    listed("productId=found-by&status=rejected", &orders[..1]).await?;
    listed("customerId=found&productId=unheard-of", &[]).await?;
    listed("customerId=found-not", &others).await?;
    let middle = shop.order(&orders[1]).await?["placedAt"].as_str().unwrap_or_default().to_owned();
    listed(&format!("customerId=found&placedAfter={middle}"), &orders[..1]).await?;
    listed(&format!("customerId=found&placedBefore={middle}"), &orders[2..]).await?;
    listed(&format!("customerId=found&placedBefore={middle}&placedAfter={middle}"), &[]).await
}

#[tokio::test]
async fn an_order_in_a_list_is_the_order_itself() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("itself", 1).await?;
    let mut order = shop::order(&[("itself", 1)], Some("tok_ok"));
    order["customerId"] = json!("itself");
    let order = shop.placed(&order).await?;
    let captured = shop.until_payment(&order, "captured").await?;
    let client = shop.to(Service::Order)?;
    eventually(SETTLE_DEADLINE, "the list shows it as it is", async || {
        let listed = shop::data(&client.get("/orders?customerId=itself").await?)?;
        ensure!(listed == [captured.clone()], "{listed:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn products_are_listed_by_id_page_by_page() -> anyhow::Result<()> {
    let shop = visit().await?;
    let products = ["listed-a", "listed-b", "listed-c", "listed-d", "listed-e"];
    for (product, on_hand) in products.iter().zip(1..) {
        shop.put_stock(product, on_hand).await?;
    }

    let pages = pages(&shop.to(Service::Inventory)?, "/inventory?limit=2").await?;

    // Other tests have products of their own.
    let all = pages.concat();
    let ids: Vec<_> = all.iter().filter_map(|stock| stock["productId"].as_str()).collect();
    assert!(ids.is_sorted() && ids.iter().collect::<BTreeSet<_>>().len() == ids.len(), "{ids:?}");
    assert!(pages.iter().rev().skip(1).all(|page| page.len() == 2));
    let ours: Vec<_> =
        all.iter().filter(|stock| products.iter().any(|product| stock["productId"] == *product)).collect();
    let expected = products.iter().zip(1..).map(|(product, on_hand)| {
        json!({"productId": product, "onHand": on_hand, "available": on_hand, "reserved": 0, "sold": 0})
    });
    assert!(ours.into_iter().eq(expected.collect::<Vec<_>>().iter()), "{all:?}");
    Ok(())
}

#[tokio::test]
async fn a_products_movements_are_listed_newest_first_page_by_page() -> anyhow::Result<()> {
    let shop = visit().await?;
    let client = shop.to(Service::Inventory)?;
    shop.put_stock("moved", 3).await?;
    let order = shop.placed(&shop::order(&[("moved", 2)], Some("tok_ok"))).await?;
    shop.until_counts("moved", [1, 0, 2]).await?;
    shop.cancel(&order).await?.expect(200)?;
    shop.until_counts("moved", [3, 0, 0]).await?;
    let found = json!({"delta": 4, "reason": "found", "reference": "R-1"});
    client.post("/inventory/moved/adjustments").json(&found).await?.expect(201)?;
    let lists = async || {
        let pages = pages(&client, "/inventory/moved/movements?limit=2").await?;
        ensure!(pages.iter().map(Vec::len).eq([2, 2, 1]), "{pages:?}");
        Ok(pages.concat())
    };

    let movements = eventually(SETTLE_DEADLINE, "five movements are listed", lists).await?;

    let told: Vec<_> = movements.iter().map(|movement| (&movement["kind"], &movement["version"])).collect();
    let expected = [("adjusted", 5), ("returned", 4), ("sold", 3), ("reserved", 2), ("counted", 1)];
    assert_eq!(told, expected.map(|(kind, version)| (json!(kind), json!(version))).each_ref().map(|(k, v)| (k, v)));
    assert_eq!(movements[0]["delta"], json!({"available": 4, "reserved": 0, "sold": 0}));
    assert_eq!((&movements[0]["reason"], &movements[0]["reference"]), (&json!("found"), &json!("R-1")));
    assert_eq!((&movements[1]["orderId"], &movements[4]["orderId"]), (&json!(order), &Value::Null));
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn notices_are_listed_newest_first_page_by_page() -> anyhow::Result<()> {
    let shop = visit().await?;
    let mut orders = BTreeSet::new();
    for _ in 0..3 {
        let order = shop.placed(&shop::order(&[("unheard-of", 1)], None)).await?;
        shop.settled(&order).await?;
        orders.insert(order);
    }
    let client = shop.to(Service::Notification)?;
    eventually(SETTLE_DEADLINE, "notices of all orders are listed", async || {
        let pages = pages(&client, "/notifications?status=delivered&limit=2").await?;
        let all = pages.concat();
        // Other tests have notices of their own, and more may have come since the first page.
        ensure!(pages.iter().rev().skip(1).all(|page| page.len() == 2), "{pages:?}");
        let times: Vec<_> = all.iter().filter_map(|notice| notice["createdAt"].as_str()).collect();
        ensure!(
            times.iter().rev().is_sorted_by_key(|time| time.parse::<chrono::DateTime<chrono::Utc>>().ok()),
            "{times:?}"
        );
        let told: BTreeSet<_> = all.iter().filter_map(|notice| notice["orderId"].as_str()).map(str::to_owned).collect();
        ensure!(orders.is_subset(&told), "{told:?}");
        Ok(())
    })
    .await
}
