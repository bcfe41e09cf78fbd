//! Orders that are called off while something else happens to them.

use anyhow::{Context, bail};
use serde_json::json;
use tests::shop::{self, Shop};
use tests::system::Service;

use crate::{at_once, charge, charges, count, takings, visit};

/// How often a moment that is over within milliseconds is tried to be hit.
const TRIES: usize = 100;

/// When an order is called off.
#[derive(Clone, Copy)]
enum Moment {
    /// As soon as it is placed.
    AtOnce,
    /// As soon as its stock is seen to be held.
    OnceReserved,
    /// As soon as it is confirmed.
    OnceConfirmed,
}

#[tokio::test]
async fn an_order_that_is_cancelled_at_any_moment_leaves_nothing_behind() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("any-moment", 1_000).await?;
    let mut orders = Vec::new();
    let mut hit = [0; 3];
    for round in 0..TRIES {
        for moment in [Moment::AtOnce, Moment::OnceReserved, Moment::OnceConfirmed] {
            let order = cancelled(&shop, "any-moment", moment).await?;
            hit[state_when_cancelled(&shop, &order).await?] += 1;
            orders.push(order);
        }
        if round >= 10 && hit.iter().all(|hits| *hits > 0) {
            break;
        }
    }
    println!("cancelled while pending, reserved, confirmed: {hit:?}");
    assert!(hit.iter().all(|hits| *hits > 0), "a moment was never hit: {hit:?}");

    shop.until_counts("any-moment", [1_000, 0, 0]).await?;
    for order in &orders {
        let ended = shop.until(order, "its money is free", |order| {
            ["none", "voided", "refunded"].iter().any(|status| order["paymentStatus"] == *status)
        });
        assert_eq!(ended.await?["status"], "cancelled");
        assert_eq!(takings(shop.system, order).await?, 0);
    }
    shop.system.audit_in_use().await
}

/// Places an order and calls it off at that moment.
async fn cancelled(shop: &Shop, product: &str, moment: Moment) -> anyhow::Result<String> {
    let order = shop::order(&[(product, 1)], Some("tok_ok"));
    let mut place = shop.to(Service::Order)?.post("/orders").json(&order);
    if let Moment::OnceConfirmed = moment {
        place = place.header("Prefer", "wait=10");
    }
    let id = shop::id(&place.await?.expect(201)?.json()?)?;
    while matches!(moment, Moment::OnceReserved) && shop.order(&id).await?["status"] == "pending" {}
    let cancelled = shop.cancel(&id).await?.expect(200)?.json()?;
    assert_eq!(cancelled["status"], "cancelled");
    Ok(id)
}

/// How far an order had come when it was cancelled: 0 pending, 1 reserved, 2 confirmed.
async fn state_when_cancelled(shop: &Shop, order: &str) -> anyhow::Result<usize> {
    let history = shop.history(order).await?;
    let before: Vec<&str> = history.iter().map(String::as_str).take_while(|event| *event != "cancelled").collect();
    Ok(match before[..] {
        ["placed"] => 0,
        ["placed", "reserved", ..] if before.contains(&"confirmed") => 2,
        ["placed", "reserved", ..] => 1,
        _ => bail!("a history like no other: {history:?}"),
    })
}

#[tokio::test]
async fn an_order_that_is_cancelled_while_authorizing_is_voided_and_never_captured() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("authorizing", 5).await?;
    let order = shop.placed(&shop::order(&[("authorizing", 2)], Some("tok_slow"))).await?;
    shop.until_payment(&order, "authorizing").await?;

    assert_eq!(shop.cancel(&order).await?.expect(200)?.json()?["status"], "cancelled");

    shop.until_counts("authorizing", [5, 0, 0]).await?;
    let voided = shop.until_payment(&order, "voided").await?;
    assert_eq!(voided["status"], "cancelled");
    assert_eq!(charges(shop.system, &order).await?, [charge("voided", 0, 0)]);
    assert_eq!(takings(shop.system, &order).await?, 0);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_order_that_is_cancelled_while_capturing_is_refunded() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("capturing", 1_000).await?;
    for round in 0.. {
        let order = cancelled(&shop, "capturing", Moment::OnceConfirmed).await?;
        let refunded = shop.until_payment(&order, "refunded").await?;
        assert_eq!(refunded["status"], "cancelled");
        assert_eq!(charges(shop.system, &order).await?, [charge("refunded", 250, 250)]);
        assert_eq!(takings(shop.system, &order).await?, 0);

        let history = shop.history(&order).await?;
        let place = |name| history.iter().position(|event| event == name);
        let was_captured_before = place("paid").is_some_and(|paid| Some(paid) < place("cancelled"));
        if !was_captured_before {
            break;
        }
        assert!(round < TRIES, "the capture was always over");
    }
    shop.until_counts("capturing", [1_000, 0, 0]).await?;
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_order_that_is_cancelled_by_many_is_cancelled_once() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("by-many", 1).await?;
    let order = shop.placed(&shop::order(&[("by-many", 1)], None)).await?;
    let (client, path) = (shop.to(Service::Order)?, format!("/orders/{order}/cancel"));
    let calls = (0..50).map(|number| client.post(&path).json(&json!({"reason": format!("reason {number}")})));

    let answers = at_once(calls).await?;

    assert_eq!(count(&answers, 200), 50);
    let first = answers.first().context("an answer")?.json()?;
    for answer in &answers {
        assert_eq!(answer.json()?, first);
    }
    let history = shop.history(&order).await?;
    assert_eq!(history.iter().filter(|event| *event == "cancelled").count(), 1, "{history:?}");
    shop.until_counts("by-many", [1, 0, 0]).await
}
