//! Orders that are amended while something else happens to them.

use serde_json::json;
use tests::shop;
use tests::system::Service;

use crate::{at_once, charge, charges, count, takings, visit};

/// Orders that are amended right after they were placed.
const ORDERS: usize = 40;

#[tokio::test]
async fn an_amendment_overtakes_the_answer_to_the_old_lines() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("old-lines", 1_000).await?;
    shop.put_stock("new-lines", 1_000).await?;
    let mut overtaken = 0;
    for _ in 0..ORDERS {
        let order = shop.placed(&shop::order(&[("old-lines", 5)], Some("tok_ok"))).await?;
        shop.amend(&order, &[("new-lines", 3)]).await?.expect(200)?;

        let ended = shop.settled(&order).await?;
        assert_eq!(
            (&ended["status"], &ended["revision"], &ended["total"]),
            (&json!("confirmed"), &json!(2), &json!(750))
        );
        assert_eq!(ended["lines"], json!([{"productId": "new-lines", "quantity": 3, "unitPrice": 250}]));
        overtaken += usize::from(shop.history(&order).await?.iter().take(2).eq(["placed", "amended"]));
        shop.until_payment(&order, "captured").await?;
        assert_eq!(takings(shop.system, &order).await?, 750);
    }
    assert!(overtaken > 0, "the answer to the old lines was always there first");
    shop.until_counts("old-lines", [1_000, 0, 0]).await?;
    let sold = 3 * i64::try_from(ORDERS)?;
    shop.until_counts("new-lines", [1_000 - sold, 0, sold]).await?;
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn what_is_answered_to_the_old_lines_does_not_count_for_the_new() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("on-hand", 1_000).await?;
    let (there, not_there) = ([("on-hand", 1)], [("not-there", 1)]);
    let (mut overtaken, mut confirmed) = ([0; 2], 0);
    for round in 0..ORDERS {
        let (old, new, end) = match round % 2 {
            0 => (&not_there, &there, "confirmed"),
            _ => (&there, &not_there, "rejected"),
        };
        let order = shop.placed(&shop::order(old, Some("tok_ok"))).await?;
        let is_amended = shop.amend(&order, new).await?.status == 200;

        let ended = shop.settled(&order).await?;
        assert!(!is_amended || ended["status"] == end, "{ended}");
        overtaken[round % 2] += usize::from(shop.history(&order).await?.iter().take(2).eq(["placed", "amended"]));
        confirmed += i64::from(ended["status"] == "confirmed");
        shop.until(&order, "its money is taken or free", |order| {
            let expected = if order["status"] == "confirmed" { &["captured"][..] } else { &["none", "voided"] };
            expected.iter().any(|status| order["paymentStatus"] == *status)
        })
        .await?;
    }
    assert!(overtaken.iter().all(|orders| *orders > 0), "the answer to the old lines was always there first");
    shop.until_counts("on-hand", [1_000 - confirmed, 0, confirmed]).await?;
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_amendment_while_authorizing_voids_the_old_amount_and_takes_the_new() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("re-authorized", 10).await?;
    let order = shop.placed(&shop::order(&[("re-authorized", 4)], Some("tok_slow"))).await?;
    shop.until_payment(&order, "authorizing").await?;

    let amended = shop.amend(&order, &[("re-authorized", 1)]).await?.expect(200)?.json()?;
    assert_eq!((&amended["status"], &amended["paymentStatus"]), (&json!("pending"), &json!("none")));

    let ended = shop.until_payment(&order, "captured").await?;
    assert_eq!((&ended["status"], &ended["total"]), (&json!("confirmed"), &json!(250)));
    assert_eq!(charges(shop.system, &order).await?, [charge("voided", 0, 0), charge("captured", 250, 0)]);
    assert_eq!(takings(shop.system, &order).await?, 250);
    shop.until_counts("re-authorized", [9, 0, 1]).await?;
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn of_two_amendments_of_one_version_one_wins() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("one-version", 100).await?;
    let order = shop.placed(&shop::order(&[("one-version", 1)], None)).await?;
    let reserved = shop.until_status(&order, "reserved").await?;
    let (client, path) = (shop.to(Service::Order)?, format!("/orders/{order}"));
    let amend = |quantity| {
        let lines = json!({"lines": [{"productId": "one-version", "quantity": quantity, "unitPrice": 250}]});
        client.put(&path).header("If-Match", &format!("\"{}\"", reserved["version"])).json(&lines)
    };

    let answers = at_once((2..22).map(amend)).await?;

    assert_eq!((count(&answers, 200), count(&answers, 412)), (1, 19));
    let ended = shop.until_status(&order, "reserved").await?;
    assert_eq!(ended["revision"], 2);
    let quantity = ended["lines"][0]["quantity"].as_i64().unwrap_or_default();
    shop.until_counts("one-version", [100 - quantity, quantity, 0]).await?;
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_amendment_to_more_than_there_is_gives_back_what_was_held() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("held-before", 5).await?;
    let order = shop.placed(&shop::order(&[("held-before", 5)], None)).await?;
    shop.until_status(&order, "reserved").await?;

    shop.amend(&order, &[("held-before", 6)]).await?.expect(200)?;

    let rejected = shop.settled(&order).await?;
    // What it held itself counts as available to it.
    assert_eq!(rejected["shortages"], json!([{"productId": "held-before", "requested": 6, "available": 5}]));
    shop.until_counts("held-before", [5, 0, 0]).await?;
    shop.system.audit_in_use().await
}
