//! The same request many times at once.

use anyhow::{Context, ensure};
use serde_json::json;
use tests::shop;
use tests::system::Service;

use crate::{at_once, count, visit};

/// How often a request is sent at once.
const TIMES: usize = 100;

#[tokio::test]
async fn an_order_that_is_sent_a_hundred_times_at_once_under_one_key_is_placed_once() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("sent-often", 1_000).await?;
    let mut order = shop::order(&[("sent-often", 1)], Some("tok_ok"));
    order["customerId"] = json!("impatient");
    let client = shop.to(Service::Order)?;
    let place = || client.post("/orders").header("Idempotency-Key", "one-order").json(&order);

    let answers = at_once((0..TIMES).map(|_| place())).await?;

    assert_eq!(count(&answers, 201), TIMES);
    let first = shop::id(&answers.first().context("an answer")?.json()?)?;
    for answer in &answers {
        assert_eq!(shop::id(&answer.json()?)?, first);
    }
    let replayed = answers.iter().filter(|answer| answer.header("idempotent-replayed") == Some("true")).count();
    assert_eq!(replayed, TIMES - 1);

    assert_eq!(shop.settled(&first).await?["status"], "confirmed");
    let streams = "SELECT count(*) FROM orders.event
        WHERE kind = 'order.placed.v1' AND convert_from(data, 'UTF8')::jsonb ->> 'customerId' = 'impatient'";
    let placed: i64 = shop.system.database().connect().await?.query_one(streams, &[]).await?.try_get(0)?;
    assert_eq!(placed, 1);
    shop.until_counts("sent-often", [999, 0, 1]).await?;
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn of_two_orders_under_one_key_at_once_one_is_refused() -> anyhow::Result<()> {
    let shop = visit().await?;
    let client = shop.to(Service::Order)?;
    for round in 0..10 {
        let key = format!("two-orders-{round}");
        let place = |quantity| {
            let order = shop::order(&[("nowhere", quantity)], None);
            client.post("/orders").header("Idempotency-Key", &key).json(&order)
        };
        let answers = at_once((1..=10).map(place)).await?;
        assert_eq!((count(&answers, 201), count(&answers, 422)), (1, 9));
        for refused in answers.iter().filter(|answer| answer.status == 422) {
            refused.problem(422, "idempotency-key-reused")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_adjustment_that_is_sent_a_hundred_times_at_once_under_one_key_is_made_once() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("found-often", 10).await?;
    let client = shop.to(Service::Inventory)?;
    let adjust = || {
        let found = json!({"delta": 5, "reason": "found in the attic"});
        client.post("/inventory/found-often/adjustments").header("Idempotency-Key", "attic").json(&found)
    };

    let answers = at_once((0..TIMES).map(|_| adjust())).await?;

    assert_eq!(count(&answers, 201), TIMES);
    assert_eq!(shop.counts("found-often").await?, [15, 0, 0]);
    Ok(())
}

#[tokio::test]
async fn a_payment_that_is_sent_a_hundred_times_at_once_under_one_key_is_made_once() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("paid-often", 10).await?;
    let order = shop.placed(&shop::order(&[("paid-often", 1)], Some("tok_insufficient_funds"))).await?;
    shop.until_payment(&order, "declined").await?;
    let client = shop.to(Service::Payment)?;
    let pay = || {
        let payment = json!({"orderId": order, "token": "tok_ok"});
        client.post("/payments").header("Idempotency-Key", "again").json(&payment)
    };

    let answers = at_once((0..TIMES).map(|_| pay())).await?;

    ensure!(count(&answers, 201) == TIMES, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    shop.until_payment(&order, "captured").await?;
    assert_eq!(shop.payments(&order).await?.len(), 2);
    shop.system.audit_in_use().await
}
