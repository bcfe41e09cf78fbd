//! Orders that wait longer than they may.

use tests::shop;
use tests::system::{Setup, System, Transport};
use tests::visit::Visit;
use tokio::sync::OnceCell;

use crate::{charge, charges, takings};

static HASTY: OnceCell<System> = OnceCell::const_new();

/// A system whose orders wait for a second.
async fn visit() -> anyhow::Result<Visit> {
    let system = HASTY.get_or_try_init(|| System::up(Setup::from(Transport::Log).payment_timeout("1s"))).await?;
    Ok(Visit::to(system).await)
}

#[tokio::test]
async fn an_authorization_after_the_deadline_is_voided_and_the_order_stays_expired() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("too-late", 5).await?;
    let order = shop.placed(&shop::order(&[("too-late", 2)], Some("tok_slow"))).await?;

    assert_eq!(shop.settled(&order).await?["status"], "expired");
    shop.until_counts("too-late", [5, 0, 0]).await?;

    let voided = shop.until_payment(&order, "voided").await?;
    assert_eq!(voided["status"], "expired");
    assert_eq!(shop.counts("too-late").await?, [5, 0, 0]);
    assert_eq!(charges(shop.system, &order).await?, [charge("voided", 0, 0)]);
    assert_eq!(takings(shop.system, &order).await?, 0);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_order_that_nobody_pays_expires_and_gives_its_stock_back() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("unpaid", 5).await?;
    let order = shop.placed(&shop::order(&[("unpaid", 5)], None)).await?;

    assert_eq!(shop.settled(&order).await?["status"], "expired");

    shop.until_counts("unpaid", [5, 0, 0]).await?;
    assert_eq!(shop.history(&order).await?, ["placed", "reserved", "expired"]);
    shop.cancel(&order).await?.problem(409, "order-state-conflict")?;
    let kinds = tests::eventually(shop::SETTLE_DEADLINE, "the customer is told", async || {
        let notices = shop.notices(&order).await?;
        anyhow::ensure!(!notices.is_empty(), "no notice yet");
        Ok(notices.iter().map(|notice| notice["kind"].clone()).collect::<Vec<_>>())
    });
    assert_eq!(kinds.await?, ["order-expired"]);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn payments_that_meet_the_deadline_confirm_or_are_undone() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("on-the-dot", 1_000).await?;
    let mut orders = Vec::new();
    for _ in 0..20 {
        orders.push(shop.placed(&shop::order(&[("on-the-dot", 1)], None)).await?);
    }
    // Whoever pays as soon as the first has expired pays some in time and some too late.
    shop.until_status(&orders[0], "expired").await?;
    for order in &orders {
        let answer = shop.pay(order, "tok_ok").await?;
        assert!([201, 409].iter().any(|status| answer.status == *status), "{}", answer.text());
    }
    let mut confirmed = 0;
    for order in &orders {
        let ended = shop.until(order, "it is settled, and its money too", |order| {
            let (status, payment) = (&order["status"], order["paymentStatus"].as_str().unwrap_or_default());
            *status == "confirmed" && payment == "captured"
                || *status == "expired" && ["none", "voided", "refunded"].contains(&payment)
        });
        let is_confirmed = ended.await?["status"] == "confirmed";
        confirmed += i64::from(is_confirmed);
        assert_eq!(takings(shop.system, order).await?, if is_confirmed { 250 } else { 0 });
    }
    shop.until_counts("on-the-dot", [1_000 - confirmed, 0, confirmed]).await?;
    shop.system.audit_in_use().await
}
