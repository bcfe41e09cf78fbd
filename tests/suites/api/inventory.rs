//! Stock: counted, adjusted and read.

use serde_json::json;
use tests::shop;
use tests::system::Service;

use crate::visit;

#[tokio::test]
async fn a_product_is_there_from_its_first_count_on() -> anyhow::Result<()> {
    let shop = visit().await?;
    let client = shop.to(Service::Inventory)?;
    let count = |on_hand: i64| client.put("/inventory/counted").json(&json!({"onHand": on_hand}));
    client.get("/inventory/counted").await?.problem(404, "not-found")?;

    let first = count(7).await?.expect(201)?;
    let stock = json!({"productId": "counted", "onHand": 7, "available": 7, "reserved": 0, "sold": 0});
    assert_eq!(first.json()?, stock);
    assert_eq!((first.header("location"), first.header("etag")), (Some("/inventory/counted"), Some("\"1\"")));

    // Nothing changed, so nothing happened.
    let same = count(7).await?.expect(200)?;
    assert_eq!((same.json()?, same.header("etag")), (stock, Some("\"1\"")));
    let other = count(9).await?.expect(200)?;
    assert_eq!((&other.json()?["onHand"], other.header("etag")), (&json!(9), Some("\"2\"")));

    let found = client.get("/inventory/counted").await?.expect(200)?;
    assert_eq!((found.json()?, found.header("etag")), (other.json()?, Some("\"2\"")));
    let known = client.get("/inventory/counted").header("If-None-Match", "\"2\"").await?.expect(304)?;
    assert!(known.body.is_empty());
    client.get("/inventory/counted").header("If-None-Match", "\"1\"").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_product_may_have_any_visible_name() -> anyhow::Result<()> {
    let shop = visit().await?;
    // One of 128 characters, one with what has a meaning in paths, one that is not Latin.
    for name in ["x".repeat(128), "%2F%3F%23%25+a".to_owned(), "%E8%8C%B6%E6%9D%AF".to_owned()] {
        let client = shop.to(Service::Inventory)?;
        let path = format!("/inventory/{name}");
        let put = client.put(&path).json(&json!({"onHand": 1})).await?.expect(201)?;
        assert_eq!(put.header("location"), Some(&*path));
        assert_eq!(client.get(&path).await?.expect(200)?.json()?, put.json()?);
    }
    assert_eq!(shop.stock("%E8%8C%B6%E6%9D%AF").await?["productId"], "茶杯");
    Ok(())
}

#[tokio::test]
async fn stock_is_adjusted_with_a_reason_and_once_under_a_key() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("adjusted", 10).await?;
    let client = shop.to(Service::Inventory)?;
    let adjust = |delta: i64| {
        let adjustment = json!({"delta": delta, "reason": "broken", "reference": "R-7"});
        client.post("/inventory/adjusted/adjustments").json(&adjustment)
    };

    let first = adjust(-3).header("Idempotency-Key", "breakage").await?.expect(201)?;
    let movement = first.json()?;
    let expected = json!({
        "productId": "adjusted", "version": 2, "kind": "adjusted", "at": movement["at"],
        "delta": {"available": -3, "reserved": 0, "sold": 0}, "reason": "broken", "reference": "R-7",
    });
    assert_eq!(movement, expected);
    assert_eq!((first.header("etag"), first.header("idempotent-replayed")), (Some("\"2\""), None));

    let again = adjust(-3).header("Idempotency-Key", "\"breakage\"").await?.expect(201)?;
    assert_eq!((again.json()?, again.header("idempotent-replayed")), (movement, Some("true")));
    assert_eq!(shop.counts("adjusted").await?, [7, 0, 0]);

    adjust(-3).await?.expect(201)?;
    assert_eq!(shop.counts("adjusted").await?, [4, 0, 0]);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn on_hand_is_what_is_available_and_what_is_reserved() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("on-hand", 10).await?;
    shop.placed(&shop::order(&[("on-hand", 4)], None)).await?;
    shop.until_counts("on-hand", [6, 4, 0]).await?;
    assert_eq!(shop.stock("on-hand").await?["onHand"], 10);

    shop.put_stock("on-hand", 4).await?;
    assert_eq!(shop.counts("on-hand").await?, [0, 4, 0]);
    shop.system.audit_in_use().await
}
