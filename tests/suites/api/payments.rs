//! Payments: begun, read, and what became of them.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::eventually;
use tests::http::Answer;
use tests::shop::{self, SETTLE_DEADLINE, Shop};
use tests::system::Service;

use crate::{members, visit};

/// Places an order without a method of payment, and begins a payment as soon as one is expected.
async fn paid(shop: &Shop, product: &str, payment: &Value) -> anyhow::Result<(String, Answer)> {
    shop.put_stock(product, 5).await?;
    let order = shop.placed(&shop::order(&[(product, 1)], None)).await?;
    let mut payment = payment.clone();
    payment["orderId"] = json!(order);
    let begun = eventually(SETTLE_DEADLINE, "a payment is begun", async || {
        shop.to(Service::Payment)?.post("/payments").json(&payment).await?.expect(201)
    });
    let begun = begun.await?;
    Ok((order, begun))
}

#[tokio::test]
async fn a_payment_is_begun_and_found_where_the_answer_says() -> anyhow::Result<()> {
    let shop = visit().await?;
    let (order, begun) = paid(&shop, "begun", &json!({"token": "tok_ok", "amount": 250})).await?;

    let payment = begun.json()?;
    let id = shop::id(&payment)?;
    assert_eq!(begun.header("location"), Some(&*format!("/payments/{id}")));
    let expected = json!({
        "id": id, "orderId": order, "attempt": 1, "status": "authorizing", "amount": 250, "currency": "EUR",
        "createdAt": payment["createdAt"], "updatedAt": payment["createdAt"],
    });
    assert_eq!(payment, expected);

    assert_eq!(shop.until_payment(&order, "captured").await?["status"], "confirmed");
    let client = shop.to(Service::Payment)?;
    let captured = client.get(&format!("/payments/{id}")).await?.expect(200)?.json()?;
    assert_eq!(captured["status"], "captured");
    let history = captured["history"].as_array().context("a history")?;
    let types: Vec<_> = history.iter().map(|event| event["type"].clone()).collect();
    let names = ["started", "authorized", "capture-requested", "captured"];
    assert_eq!(types, names.map(|name| format!("ordersystem.payment.{name}.v1")));
    for event in history {
        assert_eq!(members(event), ["at", "causationId", "data", "type", "version"]);
    }
    let list = client.get(&format!("/payments?orderId={order}")).await?.expect(200)?;
    assert_eq!(list.json()?, json!({"data": [captured], "nextCursor": null}));
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn a_declined_payment_says_why_and_another_may_follow() -> anyhow::Result<()> {
    let shop = visit().await?;
    let (order, _) = paid(&shop, "declined", &json!({"token": "tok_insufficient_funds"})).await?;
    shop.until_payment(&order, "declined").await?;
    let second = shop.pay(&order, "tok_ok").await?.expect(201)?.json()?;
    assert_eq!(second["attempt"], 2);
    shop.until_payment(&order, "captured").await?;

    let payments = shop.payments(&order).await?;
    let told: Vec<_> = payments.iter().map(|payment| (&payment["attempt"], &payment["status"])).collect();
    assert_eq!(told, [(&json!(1), &json!("declined")), (&json!(2), &json!("captured"))]);
    assert_eq!(
        (&payments[0]["declineCode"], &payments[1]["declineCode"]),
        (&json!("insufficient_funds"), &Value::Null)
    );
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn a_payment_is_begun_once_under_a_key() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("under-a-key", 5).await?;
    let order = shop.placed(&shop::order(&[("under-a-key", 1)], Some("tok_insufficient_funds"))).await?;
    shop.until_payment(&order, "declined").await?;
    let client = shop.to(Service::Payment)?;
    let pay = || {
        let payment = json!({"orderId": order, "token": "tok_ok"});
        client.post("/payments").header("Idempotency-Key", "pay-once").json(&payment)
    };

    let first = pay().await?.expect(201)?;
    shop.until_payment(&order, "captured").await?;
    let again = pay().await?.expect(201)?;

    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));
    assert_eq!((again.json()?, again.header("location")), (first.json()?, first.header("location")));
    assert_eq!(shop.payments(&order).await?.len(), 2);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_order_that_brings_its_method_is_paid_without_a_request() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("brings-method", 5).await?;
    let order = shop.placed(&shop::order(&[("brings-method", 3)], Some("tok_ok"))).await?;
    shop.until_payment(&order, "captured").await?;
    let payments = shop.payments(&order).await?;
    ensure!(payments.len() == 1, "{payments:?}");
    assert_eq!((&payments[0]["amount"], &payments[0]["status"]), (&json!(750), &json!("captured")));
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_order_that_nobody_knows_has_no_payments() -> anyhow::Result<()> {
    let shop = visit().await?;
    assert!(shop.payments("0197aaaa-0000-7000-8000-000000000000").await?.is_empty());
    Ok(())
}
