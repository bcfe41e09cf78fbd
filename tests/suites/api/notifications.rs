//! Notices: what customers are told.

use anyhow::ensure;
use serde_json::{Value, json};
use tests::eventually;
use tests::shop::{self, SETTLE_DEADLINE, Shop};
use tests::system::Service;

use crate::visit;

/// Waits until an order has notices of these kinds, in the order in which they were raised.
async fn until_told(shop: &Shop, order: &str, kinds: &[&str]) -> anyhow::Result<Vec<Value>> {
    eventually(SETTLE_DEADLINE, &format!("the customer is told {kinds:?}"), async || {
        let notices = shop.notices(order).await?;
        ensure!(notices.iter().rev().map(|notice| &notice["kind"]).eq(kinds), "{notices:?}");
        Ok(notices)
    })
    .await
}

#[tokio::test]
async fn a_customer_is_told_that_the_order_is_confirmed() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("told", 5).await?;
    let order = shop.placed(&shop::order(&[("told", 1)], Some("tok_ok"))).await?;

    let notices = until_told(&shop, &order, &["order-confirmed"]).await?;

    let id = shop::id(&notices[0])?;
    let expected = json!({
        "id": id, "orderId": order, "kind": "order-confirmed", "channel": "inbox", "status": "delivered",
        "attempts": 1, "createdAt": notices[0]["createdAt"],
    });
    assert_eq!(notices, std::slice::from_ref(&expected));
    let client = shop.to(Service::Notification)?;
    assert_eq!(client.get(&format!("/notifications/{id}")).await?.expect(200)?.json()?, expected);
    let with_status = format!("/notifications?orderId={order}&status=delivered");
    assert_eq!(shop::data(&client.get(&with_status).await?.expect(200)?)?, [expected]);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn a_customer_is_told_of_a_decline_a_rejection_a_cancellation_and_a_refund() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("told-of-all", 5).await?;
    let order = async |token| shop.placed(&shop::order(&[("told-of-all", 1)], Some(token))).await;

    let declined = order("tok_insufficient_funds").await?;
    until_told(&shop, &declined, &["payment-declined"]).await?;
    let rejected = order("tok_declined").await?;
    until_told(&shop, &rejected, &["order-rejected"]).await?;
    let refunded = order("tok_ok").await?;
    shop.until_payment(&refunded, "captured").await?;
    shop.cancel(&refunded).await?.expect(200)?;
    until_told(&shop, &refunded, &["order-confirmed", "order-cancelled", "payment-refunded"]).await?;
    shop.system.audit_in_use().await
}
