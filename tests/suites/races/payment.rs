//! Payments that are declined, repeated, late or unanswered.

use serde_json::json;
use tests::shop::{self, Shop};
use tests::system::Service;

use crate::{at_once, charge, charges, count, takings, visit};

#[tokio::test]
async fn an_order_whose_payment_was_declined_can_be_paid_by_other_means() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("other-means", 3).await?;
    let order = shop.placed(&shop::order(&[("other-means", 1)], Some("tok_insufficient_funds"))).await?;
    let declined = shop.until_payment(&order, "declined").await?;
    assert_eq!(declined["status"], "reserved");

    shop.pay(&order, "tok_ok").await?.expect(201)?;

    assert_eq!(shop.settled(&order).await?["status"], "confirmed");
    shop.until_payment(&order, "captured").await?;
    assert_eq!(charges(shop.system, &order).await?, [charge("declined", 0, 0), charge("captured", 250, 0)]);
    assert_eq!(takings(shop.system, &order).await?, 250);
    shop.until_counts("other-means", [2, 0, 1]).await?;
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn the_third_declined_payment_rejects_the_order_and_gives_the_stock_back() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("third-decline", 3).await?;
    let order = shop.placed(&shop::order(&[("third-decline", 3)], Some("tok_insufficient_funds"))).await?;
    until_declines(&shop, &order, 1).await?;
    shop.pay(&order, "tok_insufficient_funds").await?.expect(201)?;
    until_declines(&shop, &order, 2).await?;
    assert_eq!(shop.order(&order).await?["status"], "reserved");

    shop.pay(&order, "tok_nobody_knows").await?.expect(201)?;

    let rejected = shop.settled(&order).await?;
    assert_eq!((&rejected["status"], &rejected["reason"]), (&json!("rejected"), &json!("payment_declined")));
    shop.until_counts("third-decline", [3, 0, 0]).await?;
    shop.pay(&order, "tok_ok").await?.problem(409, "payment-not-expected")?;
    let codes: Vec<_> = shop.payments(&order).await?.iter().map(|payment| payment["declineCode"].clone()).collect();
    assert_eq!(codes, ["insufficient_funds", "insufficient_funds", "unknown_token"]);
    assert_eq!(told(&shop, &order).await?, ["order-rejected", "payment-declined"]);
    shop.system.audit_in_use().await
}

/// Waits until so many of an order's payments were declined and another may come.
async fn until_declines(shop: &Shop, order: &str, count: usize) -> anyhow::Result<()> {
    // Each decline is an event of the order, so its version tells when to look.
    let declines = async || {
        let history = shop.history(order).await?;
        let declines = history.iter().filter(|event| *event == "payment-declined").count();
        anyhow::ensure!(declines == count, "{history:?}");
        Ok(())
    };
    tests::eventually(shop::SETTLE_DEADLINE, "a payment is declined", declines).await
}

/// The kinds of an order's notices, once it was told that it is dead.
async fn told(shop: &Shop, order: &str) -> anyhow::Result<Vec<String>> {
    tests::eventually(shop::SETTLE_DEADLINE, "the customer is told", async || {
        let notices = shop.notices(order).await?;
        let mut kinds: Vec<String> =
            notices.iter().filter_map(|notice| notice["kind"].as_str()).map(str::to_owned).collect();
        kinds.sort();
        anyhow::ensure!(kinds.iter().any(|kind| kind.starts_with("order-")), "{kinds:?}");
        Ok(kinds)
    })
    .await
}

#[tokio::test]
async fn a_payment_declined_for_good_rejects_the_order_at_once() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("for-good", 3).await?;
    let order = shop.placed(&shop::order(&[("for-good", 3)], Some("tok_declined"))).await?;
    let rejected = shop.settled(&order).await?;
    assert_eq!((&rejected["status"], &rejected["reason"]), (&json!("rejected"), &json!("payment_declined")));
    shop.until_counts("for-good", [3, 0, 0]).await?;
    assert_eq!(charges(shop.system, &order).await?, [charge("declined", 0, 0)]);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn a_payment_without_an_answer_is_asked_about_and_not_made_again() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("no-answer", 3).await?;
    let order = shop.placed(&shop::order(&[("no-answer", 1)], Some("tok_timeout_then_ok"))).await?;

    shop.until_payment(&order, "captured").await?;

    assert_eq!(shop.order(&order).await?["status"], "confirmed");
    let history = shop.history(&order).await?;
    assert!(history.contains(&"payment-updated".to_owned()), "it was never unknown: {history:?}");
    assert_eq!(charges(shop.system, &order).await?, [charge("captured", 250, 0)]);
    assert_eq!(takings(shop.system, &order).await?, 250);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_order_that_is_cancelled_while_the_provider_is_silent_costs_nothing() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("silent", 100).await?;
    for round in 0..20 {
        let order = shop.placed(&shop::order(&[("silent", 1)], Some("tok_timeout_then_ok"))).await?;
        if round % 2 == 0 {
            shop.until(&order, "its stock is held", |order| order["status"] != "pending").await?;
        }
        shop.cancel(&order).await?.expect(200)?;

        shop.until(&order, "its money is free", |order| {
            ["none", "voided", "refunded"].iter().any(|status| order["paymentStatus"] == *status)
        })
        .await?;
        assert_eq!(takings(shop.system, &order).await?, 0);
    }
    shop.until_counts("silent", [100, 0, 0]).await?;
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn of_many_payments_at_once_one_is_made() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("paid-once", 3).await?;
    let order = shop.placed(&shop::order(&[("paid-once", 1)], None)).await?;
    shop.until_status(&order, "reserved").await?;
    until_expected(&shop, &order).await?;
    let client = shop.to(Service::Payment)?;
    let pay = json!({"orderId": order, "token": "tok_slow"});

    let answers = at_once((0..20).map(|_| client.post("/payments").json(&pay))).await?;

    assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 19));
    for refused in answers.iter().filter(|answer| answer.status == 409) {
        refused.problem(409, "payment-already-active")?;
    }
    shop.until_payment(&order, "captured").await?;
    assert_eq!(charges(shop.system, &order).await?, [charge("captured", 250, 0)]);
    shop.system.audit_in_use().await
}

/// Waits until the payment service expects to be paid for an order: it hears of the reserved stock a moment later. To
/// ask for a wrong amount begins nothing.
async fn until_expected(shop: &Shop, order: &str) -> anyhow::Result<()> {
    tests::eventually(shop::SETTLE_DEADLINE, "payment is expected", async || {
        let pay = json!({"orderId": order, "token": "tok_ok", "amount": 1});
        shop.to(Service::Payment)?.post("/payments").json(&pay).await?.problem(422, "validation-failed").map(drop)
    })
    .await
}
