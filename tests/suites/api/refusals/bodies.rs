//! Bodies that cannot be read or break a rule.

use serde_json::{Value, json};
use tests::http::{Call, Client};
use tests::system::Service;

use super::{Alone, NO_ORDER, line_but, order_but};

/// One more than a body may have.
const TOO_MANY_BYTES: usize = 256 * 1024 + 1;

/// Every request that has a body.
fn requests(client: &Client) -> [(&'static str, Call); 6] {
    let order = format!("/orders/{NO_ORDER}");
    [
        ("place", client.post("/orders")),
        ("amend", client.put(&order).header("If-Match", "*")),
        ("cancel", client.post(&format!("{order}/cancel"))),
        ("count", client.put("/inventory/cup")),
        ("adjust", client.post("/inventory/cup/adjustments")),
        ("pay", client.post("/payments")),
    ]
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let client = alone.shop.to(Service::Order)?;
    let bodies: [(&str, &[u8]); 5] = [
        ("nothing", b""),
        ("cut off", b"{"),
        ("not UTF-8", b"{\"customerId\": \"\xff\xfe\"}"),
        ("not a number", b"NaN"),
        ("a comment", b"// nothing"),
    ];
    for (what, body) in bodies {
        let json = |(to, call): (_, Call)| {
            (format!("{to}: {what}"), call.header("Content-Type", "application/json").body(body.to_vec()))
        };
        alone.refused(400, "malformed-request", requests(&client).map(json)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let client = alone.shop.to(Service::Order)?;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"] {
        let call = |(to, call): (_, Call)| (format!("{to}: {kind}"), call.header("Content-Type", kind).body("{}"));
        alone.refused(415, "unsupported-media-type", requests(&client).map(call)).await?;
    }
    let untyped = requests(&client).map(|(to, call)| (to, call.body("{}")));
    alone.refused(415, "unsupported-media-type", untyped).await.map(drop)
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let client = alone.shop.to(Service::Order)?;
    let large =
        |(to, call): (_, Call)| (to, call.header("Content-Type", "application/json").body(vec![b' '; TOO_MANY_BYTES]));
    alone.refused(413, "too-large", requests(&client).map(large)).await.map(drop)
}

#[tokio::test]
async fn a_field_that_nobody_knows_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let client = alone.shop.to(Service::Order)?;
    let calls = requests(&client).map(|(to, call)| (to, call.json(&json!({"colour": "red"})), vec!["/colour"]));
    alone.invalid(calls).await?;
    let inside = line_but("colour", json!("red"));
    alone.invalid([("in a line", client.post("/orders").json(&inside), vec!["/lines/0/colour"])]).await
}

/// Orders that break one rule each, and where.
fn bad_orders() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let line = json!({"productId": "cup", "quantity": 1, "unitPrice": 250});
    let dear = json!({"productId": "cup", "quantity": 1, "unitPrice": i64::MAX});
    let twice_as_dear = json!({"productId": "cup", "quantity": 2, "unitPrice": i64::MAX});
    let foreign = json!({"productId": "cup", "quantity": 1, "unitPrice": 250, "currency": "USD"});
    vec![
        ("no customer", order_but("customerId", Value::Null), vec![""]),
        ("a customer without a name", order_but("customerId", json!("")), vec!["/customerId"]),
        ("a customer with a control character", order_but("customerId", json!("an\u{0}n")), vec!["/customerId"]),
        ("a customer of two lines", order_but("customerId", json!("an\nn")), vec!["/customerId"]),
        ("a customer that turns the text around", order_but("customerId", json!("\u{202e}nna")), vec!["/customerId"]),
        ("a customer of 129 characters", order_but("customerId", json!("n".repeat(129))), vec!["/customerId"]),
        ("a customer that is a number", order_but("customerId", json!(7)), vec!["/customerId"]),
        ("a currency in small letters", order_but("currency", json!("eur")), vec!["/currency"]),
        ("a currency of four letters", order_but("currency", json!("EURO")), vec!["/currency"]),
        ("no lines", order_but("lines", json!([])), vec!["/lines"]),
        ("1,001 lines", order_but("lines", json!(vec![line.clone(); 1_001])), vec!["/lines"]),
        ("two currencies", order_but("lines", json!([line, foreign])), vec!["/lines/1/currency"]),
        ("a line past i64", order_but("lines", json!([twice_as_dear])), vec!["/lines/0"]),
        ("a total past i64", order_but("lines", json!([dear, dear])), vec!["/lines"]),
        ("no units", line_but("quantity", json!(0)), vec!["/lines/0/quantity"]),
        ("units below zero", line_but("quantity", json!(-1)), vec!["/lines/0/quantity"]),
        ("too many units", line_but("quantity", json!(1_000_000_001)), vec!["/lines/0/quantity"]),
        ("units past i64", line_but("quantity", json!(9_223_372_036_854_775_808_u64)), vec!["/lines/0/quantity"]),
        ("a fraction of a unit", line_but("quantity", json!(1.5)), vec!["/lines/0/quantity"]),
        ("units in words", line_but("quantity", json!("one")), vec!["/lines/0/quantity"]),
        ("a fraction in a price", line_but("unitPrice", json!(2.5)), vec!["/lines/0/unitPrice"]),
        ("a price below zero", line_but("unitPrice", json!(-1)), vec!["/lines/0/unitPrice"]),
        ("a product with a control character", line_but("productId", json!("c\u{1b}up")), vec!["/lines/0/productId"]),
        ("a product without a name", line_but("productId", json!("")), vec!["/lines/0/productId"]),
        ("no token", order_but("payment", json!({"token": ""})), vec!["/payment/token"]),
        ("a token with a space", order_but("payment", json!({"token": "tok ok"})), vec!["/payment/token"]),
        ("a token of 256 characters", order_but("payment", json!({"token": "t".repeat(256)})), vec!["/payment/token"]),
    ]
}

#[tokio::test]
async fn an_order_that_breaks_a_rule_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let client = alone.shop.to(Service::Order)?;
    let place = |(what, order, pointers)| (what, client.post("/orders").json(&order), pointers);
    alone.invalid(bad_orders().into_iter().map(place)).await
}

#[tokio::test]
async fn an_order_that_breaks_many_rules_is_told_of_all() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let lines = json!([
        {"productId": "", "quantity": 0, "unitPrice": -1},
        {"productId": "cup", "quantity": 1, "unitPrice": 250, "currency": "dollars"},
    ]);
    let order = json!({"customerId": "", "currency": "€", "lines": lines, "payment": {"token": " "}});
    let pointers = [
        "/customerId",
        "/currency",
        "/lines/0/productId",
        "/lines/0/quantity",
        "/lines/0/unitPrice",
        "/lines/1/currency",
        "/payment/token",
    ];
    let place = alone.shop.to(Service::Order)?.post("/orders").json(&order);
    alone.invalid([("everything", place, pointers.to_vec())]).await
}

#[tokio::test]
async fn a_change_that_breaks_a_rule_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let order = alone.reserved("rules-of-changes").await?;
    let client = alone.shop.to(Service::Order)?;
    let amend =
        |lines: Value| client.put(&format!("/orders/{order}")).header("If-Match", "*").json(&json!({"lines": lines}));
    let cancel = |reason: Value| client.post(&format!("/orders/{order}/cancel")).json(&json!({"reason": reason}));
    let foreign = json!([{"productId": "cup", "quantity": 1, "unitPrice": 1, "currency": "USD"}]);
    let none = json!([{"productId": "cup", "quantity": 0, "unitPrice": 1}]);
    alone
        .invalid([
            ("no lines", amend(json!([])), vec!["/lines"]),
            ("no units", amend(none), vec!["/lines/0/quantity"]),
            ("another currency", amend(foreign), vec!["/lines/0/currency"]),
            ("no reason", cancel(json!("")), vec!["/reason"]),
            ("a reason that does not end", cancel(json!("y".repeat(501))), vec!["/reason"]),
            ("a reason with a control character", cancel(json!("be\u{7}cause")), vec!["/reason"]),
        ])
        .await
}

#[tokio::test]
async fn stock_that_breaks_a_rule_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    alone.shop.put_stock("rules-of-stock", 3).await?;
    let client = alone.shop.to(Service::Inventory)?;
    let count = |on_hand: Value| client.put("/inventory/rules-of-stock").json(&json!({"onHand": on_hand}));
    let adjust = |member: &str, value: Value| {
        let mut adjustment = json!({"delta": 1, "reason": "found"});
        adjustment[member] = value;
        client.post("/inventory/rules-of-stock/adjustments").json(&adjustment)
    };
    alone
        .invalid([
            ("a count below zero", count(json!(-1)), vec!["/onHand"]),
            ("a count beyond bounds", count(json!(1_000_000_000_001_i64)), vec!["/onHand"]),
            ("a fraction of a unit", count(json!(1.5)), vec!["/onHand"]),
            ("an adjustment by nothing", adjust("delta", json!(0)), vec!["/delta"]),
            ("an adjustment by i64's least", adjust("delta", json!(i64::MIN)), vec!["/delta"]),
            ("no reason", adjust("reason", json!("")), vec!["/reason"]),
            ("a reason that does not end", adjust("reason", json!("y".repeat(201))), vec!["/reason"]),
            ("a reason with a control character", adjust("reason", json!("fo\u{0}und")), vec!["/reason"]),
            ("a reference that does not end", adjust("reference", json!("R".repeat(129))), vec!["/reference"]),
        ])
        .await
}

#[tokio::test]
async fn a_payment_that_breaks_a_rule_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let order = alone.reserved("rules-of-payments").await?;
    let client = alone.shop.to(Service::Payment)?;
    let pay = |member: &str, value: Value| {
        let mut payment = json!({"orderId": order, "token": "tok_ok"});
        payment[member] = value;
        client.post("/payments").json(&payment)
    };
    alone
        .invalid([
            ("an order that has no such name", pay("orderId", json!("order-7")), vec!["/orderId"]),
            ("no token", pay("token", json!("")), vec!["/token"]),
            ("a token with a control character", pay("token", json!("tok\u{0}ok")), vec!["/token"]),
            ("an amount below zero", pay("amount", json!(-1)), vec!["/amount"]),
            ("a fraction in an amount", pay("amount", json!(499.5)), vec!["/amount"]),
            ("another amount than is due", pay("amount", json!(499)), vec!["/amount"]),
        ])
        .await
}
