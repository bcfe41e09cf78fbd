//! Requests that come at the wrong time.

use serde_json::{Value, json};
use tests::http::Call;
use tests::shop;
use tests::system::Service;

use super::Alone;

/// Every request that changes an order.
fn changes(alone: &Alone, order: &str) -> anyhow::Result<[(String, Call); 2]> {
    let client = alone.shop.to(Service::Order)?;
    let lines = json!({"lines": [{"productId": "cup", "quantity": 1, "unitPrice": 250}]});
    Ok([
        (format!("amend {order}"), client.put(&format!("/orders/{order}")).header("If-Match", "*").json(&lines)),
        (format!("cancel {order}"), client.post(&format!("/orders/{order}/cancel")).json(&json!({"reason": "no"}))),
    ])
}

fn pay(alone: &Alone, order: &str) -> anyhow::Result<Call> {
    let payment = json!({"orderId": order, "token": "tok_ok"});
    Ok(alone.shop.to(Service::Payment)?.post("/payments").json(&payment))
}

#[tokio::test]
async fn an_order_that_is_over_does_not_change_again() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let rejected = alone.shop.placed(&shop::order(&[("unheard-of", 1)], None)).await?;
    assert_eq!(alone.shop.settled(&rejected).await?["status"], "rejected");
    let cancelled = alone.reserved("is-over").await?;
    alone.shop.cancel(&cancelled).await?.expect(200)?;
    alone.shop.system.at_rest().await?;
    let [amend_rejected, cancel_rejected] = changes(&alone, &rejected)?;
    // To cancel again what is cancelled is no conflict.
    let [amend_cancelled, _] = changes(&alone, &cancelled)?;

    let problems =
        alone.refused(409, "order-state-conflict", [amend_rejected, cancel_rejected, amend_cancelled]).await?;

    for problem in problems {
        assert_eq!(problem["allowedActions"], json!([]));
    }
    let paid = [("rejected", pay(&alone, &rejected)?), ("cancelled", pay(&alone, &cancelled)?)];
    alone.refused(409, "payment-not-expected", paid).await.map(drop)
}

#[tokio::test]
async fn a_confirmed_order_is_neither_amended_nor_paid_again() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    alone.shop.put_stock("stands", 1).await?;
    let order = alone.shop.placed(&shop::order(&[("stands", 1)], Some("tok_ok"))).await?;
    alone.shop.until_payment(&order, "captured").await?;
    alone.shop.system.at_rest().await?;
    let [amend, _] = changes(&alone, &order)?;

    let problems = alone.refused(409, "order-state-conflict", [amend]).await?;

    assert_eq!(problems[0]["allowedActions"], json!(["cancel"]));
    alone.refused(409, "payment-not-expected", [("pay", pay(&alone, &order)?)]).await.map(drop)
}

#[tokio::test]
async fn an_order_is_not_paid_twice_at_a_time() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    alone.shop.put_stock("slowly", 1).await?;
    let order = alone.shop.placed(&shop::order(&[("slowly", 1)], Some("tok_slow"))).await?;
    alone.shop.until_payment(&order, "authorizing").await?;
    // Once the system is at rest, the payment is over.
    let before = alone.events().await?;
    pay(&alone, &order)?.await?.problem(409, "payment-already-active")?;
    assert_eq!((alone.events().await?, alone.shop.payments(&order).await?.len()), (before, 1));
    alone.shop.until_payment(&order, "captured").await.map(drop)
}

#[tokio::test]
async fn no_less_than_what_is_held_can_be_on_hand() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    alone.reserved("held").await?;
    let client = alone.shop.to(Service::Inventory)?;
    let adjust = |delta: i64| {
        let adjustment = json!({"delta": delta, "reason": "gone"});
        client.post("/inventory/held/adjustments").json(&adjustment)
    };
    let count = client.put("/inventory/held").json(&json!({"onHand": 1}));

    let problems = alone.refused(409, "stock-below-reserved", [("count", count), ("adjust", adjust(-9))]).await?;

    assert!(problems.iter().all(|problem| problem["reserved"] == 2), "{problems:?}");
    assert_eq!(alone.shop.counts("held").await?, [8, 2, 0]);
    adjust(-8).await?.expect(201)?;
    assert_eq!(alone.shop.counts("held").await?, [0, 2, 0]);
    Ok(())
}

#[tokio::test]
async fn who_has_not_seen_the_latest_version_does_not_change_it() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let order = alone.reserved("unseen").await?;
    let version = alone.shop.order(&order).await?["version"].clone();
    let client = alone.shop.to(Service::Order)?;
    let path = format!("/orders/{order}");
    let lines = json!({"lines": [{"productId": "unseen", "quantity": 1, "unitPrice": 250}]});
    let amend = || client.put(&path).json(&lines);
    let cancel = || client.post(&format!("{path}/cancel")).json(&json!({"reason": "no"}));

    let stale = [
        ("an old version", amend().header("If-Match", "\"1\"")),
        ("a version to come", amend().header("If-Match", "\"99\"")),
        ("a weak tag", amend().header("If-Match", &format!("W/\"{version}\""))),
        ("no tag at all", amend().header("If-Match", "one")),
        ("an old version, cancelled", cancel().header("If-Match", "\"1\"")),
    ];
    for problem in alone.refused(412, "version-mismatch", stale).await? {
        assert_eq!(problem["currentVersion"], version);
    }
    alone.refused(428, "precondition-required", [("no version", amend())]).await?;
    assert_eq!(alone.shop.order(&order).await?["version"], version);
    cancel().header("If-Match", &format!("\"{version}\"")).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_key_stands_for_one_request() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let order = alone.reserved("one-request").await?;
    let client = alone.shop.to(Service::Order)?;
    let keyed = |call: Call, body: &Value| call.header("Idempotency-Key", "one-request").json(body);
    let place = |quantity| keyed(client.post("/orders"), &shop::order(&[("unheard-of", quantity)], None));
    let adjust =
        |delta| keyed(client.post("/inventory/one-request/adjustments"), &json!({"delta": delta, "reason": "found"}));
    let pay = |token| keyed(client.post("/payments"), &json!({"orderId": order, "token": token}));
    for first in [place(1), adjust(1), pay("tok_ok")] {
        first.await?.expect(201)?;
    }
    alone.shop.until_payment(&order, "captured").await?;
    alone.shop.system.at_rest().await?;

    let others = [("place", place(2)), ("adjust", adjust(2)), ("pay", pay("tok_slow"))];

    alone.refused(422, "idempotency-key-reused", others).await.map(drop)
}
