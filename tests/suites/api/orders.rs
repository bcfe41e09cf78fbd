//! Orders: placed, read, amended, cancelled, and their history.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tests::shop;
use tests::system::Service;
use uuid::Uuid;

use crate::{members, pages, visit};

/// What every order shows.
const MEMBERS: [&str; 12] = [
    "currency",
    "customerId",
    "expiresAt",
    "id",
    "lines",
    "paymentStatus",
    "placedAt",
    "revision",
    "status",
    "total",
    "updatedAt",
    "version",
];

fn time(value: &Value) -> anyhow::Result<DateTime<Utc>> {
    Ok(serde_json::from_value(value.clone())?)
}

#[tokio::test]
async fn an_order_is_placed_and_found_where_the_answer_says() -> anyhow::Result<()> {
    let shop = visit().await?;
    let client = shop.to(Service::Order)?;

    let placed = shop.place(&shop::order(&[("cup", 2), ("saucer", 1)], None)).await?.expect(201)?;

    let order = placed.json()?;
    let id = shop::id(&order)?;
    assert_eq!(id.parse::<Uuid>()?.get_version_num(), 7);
    assert_eq!(placed.header("location"), Some(&*format!("/orders/{id}")));
    assert_eq!(placed.header("etag"), Some("\"1\""));
    assert_eq!(members(&order), MEMBERS);
    assert_eq!(time(&order["expiresAt"])? - time(&order["placedAt"])?, TimeDelta::minutes(15));
    assert_eq!(order["placedAt"], order["updatedAt"]);
    let expected = json!({
        "id": id, "customerId": "ann", "currency": "EUR", "total": 750,
        "status": "pending", "paymentStatus": "none", "revision": 1, "version": 1,
        "placedAt": order["placedAt"], "updatedAt": order["updatedAt"], "expiresAt": order["expiresAt"],
        "lines": [
            {"productId": "cup", "quantity": 2, "unitPrice": 250},
            {"productId": "saucer", "quantity": 1, "unitPrice": 250},
        ],
    });
    assert_eq!(order, expected);

    let found = client.get(&format!("/orders/{id}")).await?.expect(200)?;
    assert_eq!(shop::id(&found.json()?)?, id);
    assert_eq!(found.header("etag"), Some(&*format!("\"{}\"", found.json()?["version"])));
    assert_eq!(found.header("content-type"), Some("application/json"));
    Ok(())
}

#[tokio::test]
async fn a_rejected_order_says_why() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("few", 1).await?;
    let order = shop.placed(&shop::order(&[("few", 2), ("unheard-of", 1)], Some("tok_ok"))).await?;
    let rejected = shop.settled(&order).await?;
    assert_eq!((&rejected["status"], &rejected["reason"]), (&json!("rejected"), &json!("out_of_stock")));
    let shortages = json!([
        {"productId": "few", "requested": 2, "available": 1},
        {"productId": "unheard-of", "requested": 1, "available": 0},
    ]);
    assert_eq!(rejected["shortages"], shortages);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn who_has_the_version_is_told_so() -> anyhow::Result<()> {
    let shop = visit().await?;
    let order = shop.placed(&shop::order(&[("unheard-of", 1)], None)).await?;
    let version = shop.settled(&order).await?["version"].clone();
    let (client, path) = (shop.to(Service::Order)?, format!("/orders/{order}"));

    for known in [format!("\"{version}\""), format!("W/\"{version}\""), format!("\"0\", \"{version}\""), "*".into()] {
        let answer = client.get(&path).header("If-None-Match", &known).await?.expect(304)?;
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("etag"), Some(&*format!("\"{version}\"")));
    }
    client.get(&path).header("If-None-Match", "\"1\"").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn an_answer_can_wait_until_the_order_is_settled() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("waited-for", 1).await?;
    let order = shop::order(&[("waited-for", 1)], Some("tok_ok"));
    let place = shop.to(Service::Order)?.post("/orders").header("Prefer", "wait=10");

    let settled = place.json(&order).await?.expect(201)?;

    assert_eq!(settled.header("preference-applied"), Some("wait=10"));
    assert_eq!(settled.json()?["status"], "confirmed");
    assert_eq!(settled.header("etag"), Some(&*format!("\"{}\"", settled.json()?["version"])));
    Ok(())
}

#[tokio::test]
async fn an_answer_does_not_wait_longer_than_it_was_asked_to() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("waited-for-in-vain", 1).await?;
    let order = shop::order(&[("waited-for-in-vain", 1)], None);
    let place = shop.to(Service::Order)?.post("/orders").header("Prefer", "wait=1");

    let open = place.json(&order).await?.expect(201)?;

    assert_eq!(open.header("preference-applied"), Some("wait=1"));
    let status = open.json()?["status"].clone();
    assert!(status == "pending" || status == "reserved", "{status}");
    Ok(())
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_answer() -> anyhow::Result<()> {
    let shop = visit().await?;
    let order = shop::order(&[("unheard-of", 1)], None);
    let client = shop.to(Service::Order)?;
    let place = |key: &str| client.post("/orders").header("Idempotency-Key", key).json(&order);

    let first = place("first-answer").await?.expect(201)?;
    assert_eq!(first.header("idempotent-replayed"), None);
    // The order has gone on since, the answer has not.
    shop.settled(&shop::id(&first.json()?)?).await?;

    for key in ["first-answer", "\"first-answer\""] {
        let again = place(key).await?.expect(201)?;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.json()?, first.json()?);
        assert_eq!((again.header("location"), again.header("etag")), (first.header("location"), first.header("etag")));
    }
    let waited = place("first-answer").header("Prefer", "wait=10").await?.expect(201)?;
    assert_eq!(waited.header("idempotent-replayed"), Some("true"));
    assert_eq!(waited.json()?["status"], "rejected");
    assert_ne!(shop::id(&place("another-answer").await?.expect(201)?.json()?)?, shop::id(&first.json()?)?);
    Ok(())
}

#[tokio::test]
async fn who_has_seen_an_order_may_replace_its_lines() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("replaced", 10).await?;
    let order = shop.placed(&shop::order(&[("replaced", 1)], None)).await?;
    let version = shop.until_status(&order, "reserved").await?["version"].clone();
    let (client, path) = (shop.to(Service::Order)?, format!("/orders/{order}"));
    let lines = json!({"lines": [{"productId": "replaced", "quantity": 4, "unitPrice": 300}]});
    let amend = |if_match: &str| client.put(&path).header("If-Match", if_match).json(&lines);

    let amended = amend(&format!("\"{version}\"")).await?.expect(200)?;

    let order = amended.json()?;
    assert_eq!(amended.header("etag"), Some(&*format!("\"{}\"", order["version"])));
    assert_eq!((&order["status"], &order["revision"], &order["total"]), (&json!("pending"), &json!(2), &json!(1200)));
    assert_eq!(order["lines"], lines["lines"]);
    shop.until_counts("replaced", [6, 4, 0]).await?;

    let again = amend("*").await?.expect(200)?.json()?;
    assert_eq!(again["revision"], 3);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_order_is_cancelled_with_a_reason_and_again_with_the_same_answer() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("called-off", 1).await?;
    let order = shop.placed(&shop::order(&[("called-off", 1)], None)).await?;
    shop.until_status(&order, "reserved").await?;
    let (client, path) = (shop.to(Service::Order)?, format!("/orders/{order}/cancel"));
    let cancel = |reason: &str| client.post(&path).json(&json!({"reason": reason}));

    let cancelled = cancel("too dear").await?.expect(200)?;

    let order = cancelled.json()?;
    assert_eq!((&order["status"], &order["reason"]), (&json!("cancelled"), &json!("too dear")));
    assert_eq!(cancelled.header("etag"), Some(&*format!("\"{}\"", order["version"])));
    let again = cancel("too late").await?.expect(200)?;
    assert_eq!(again.json()?, order);
    assert_eq!(again.header("etag"), cancelled.header("etag"));
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_order_tells_its_history_page_by_page() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("told-of", 1).await?;
    let order = shop.placed(&shop::order(&[("told-of", 1)], Some("tok_ok"))).await?;
    shop.until_payment(&order, "captured").await?;
    let client = shop.to(Service::Order)?;

    let pages = pages(&client, &format!("/orders/{order}/events?limit=3")).await?;

    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
    let events = pages.concat();
    for (version, event) in (1..).zip(&events) {
        assert_eq!(members(event), ["at", "causationId", "data", "type", "version"]);
        assert_eq!(event["version"], version);
        time(&event["at"])?;
    }
    let types = ["placed", "reserved", "confirmed", "paid"].map(|name| format!("ordersystem.order.{name}.v1"));
    assert_eq!(events.iter().map(|event| event["type"].clone()).collect::<Vec<_>>(), types);
    // A request placed it; what other services did brought the rest about.
    assert!(events[0]["causationId"].is_null());
    for event in &events[1..] {
        serde_json::from_value::<Uuid>(event["causationId"].clone())?;
    }
    assert_eq!(events[0]["data"]["customerId"], "ann");
    assert_eq!(events[1]["data"]["total"], 250);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn every_path_answers_under_its_version_too() -> anyhow::Result<()> {
    let shop = visit().await?;
    let client = shop.to(Service::Order)?;
    let order = shop::order(&[("unheard-of", 1)], None);

    let placed = client.post("/v1/orders").json(&order).await?.expect(201)?;

    let id = shop::id(&placed.json()?)?;
    assert_eq!(placed.header("location"), Some(&*format!("/v1/orders/{id}")));
    shop.settled(&id).await?;
    let pages = pages(&client, &format!("/v1/orders/{id}/events?limit=1")).await?;
    assert_eq!(pages.len(), 2);
    client.get("/v1/orders/nothing").await?.problem(400, "malformed-request")?;
    Ok(())
}
