//! Headers that cannot be honoured.

use serde_json::json;
use tests::shop;
use tests::system::Service;

use super::{Alone, NO_ORDER};

#[tokio::test]
async fn a_key_that_is_none_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    alone.shop.put_stock("no-key", 1).await?;
    let client = alone.shop.to(Service::Order)?;
    let order = shop::order(&[("no-key", 1)], None);
    let long = "k".repeat(256);
    for key in ["", "\"\"", "two words", "\"half", "k\u{e9}y", &long] {
        let calls = [
            ("place", client.post("/orders").json(&order)),
            ("adjust", client.post("/inventory/no-key/adjustments").json(&json!({"delta": 1, "reason": "found"}))),
            ("pay", client.post("/payments").json(&json!({"orderId": NO_ORDER, "token": "tok_ok"}))),
        ];
        let keyed = calls.map(|(to, call)| (format!("{to}: {key:?}"), call.header("Idempotency-Key", key)));
        alone.refused(400, "malformed-request", keyed).await?;
    }
    let twice = client.post("/orders").header("Idempotency-Key", "one").header("Idempotency-Key", "two").json(&order);
    alone.refused(400, "malformed-request", [("two keys", twice)]).await.map(drop)
}

#[tokio::test]
async fn who_takes_no_json_gets_nothing_done() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let client = alone.shop.to(Service::Order)?;
    let place = || client.post("/orders").json(&shop::order(&[("cup", 1)], None));
    let calls = ["text/html", "application/json;q=0", "image/png, text/*"]
        .map(|accepted| (accepted, place().header("Accept", accepted)));
    alone.refused(406, "not-acceptable", calls).await?;
    for accepted in ["application/json", "application/*;q=0.5", "text/html, */*;q=0.1"] {
        place().header("Accept", accepted).await?.expect(201)?;
    }
    Ok(())
}
