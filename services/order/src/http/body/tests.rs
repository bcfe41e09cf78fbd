use super::*;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

fn order() -> Value {
    json!({
        "customerId": "customer-1",
        "currency": "EUR",
        "lines": [
            {"productId": "SKU-1", "quantity": 2, "unitPrice": 200},
            {"productId": "SKU-1", "quantity": 1, "unitPrice": 100, "currency": "EUR"},
        ],
        "payment": {"token": "tok_ok"},
    })
}

fn check(body: Value) -> Result<Place, Problem> {
    serde_json::from_value::<PlaceOrder>(body).expect("has the shape").check()
}

/// The pointers of everything that is wrong with an order.
async fn wrong(body: Value) -> Vec<String> {
    pointers(check(body).expect_err("is wrong")).await
}

async fn pointers(problem: Problem) -> Vec<String> {
    assert_eq!((problem.status(), problem.slug()), (StatusCode::UNPROCESSABLE_ENTITY, "validation-failed"));
    let body = problem.into_response().into_body().collect().await.expect("is whole").to_bytes();
    let body: Value = serde_json::from_slice(&body).expect("is JSON");
    let pointer = |error: &Value| error["pointer"].as_str().expect("is text").to_owned();
    body["errors"].as_array().expect("is a list").iter().map(pointer).collect()
}

fn changed(pointer: &str, value: impl Into<Value>) -> Value {
    let mut order = order();
    *order.pointer_mut(pointer).expect("is there") = value.into();
    order
}

#[test]
fn a_good_order_is_taken_with_its_total() {
    let place = check(order()).expect("is good");
    assert_eq!(place.total, 500);
    assert_eq!(place.lines.len(), 2);
    assert_eq!(place.payment, Some(PaymentMethod { token: "tok_ok".to_owned() }));
}

#[test]
fn the_bounds_themselves_are_in_range() {
    let line = json!({"productId": "x".repeat(128), "quantity": 1_000_000_000, "unitPrice": 0});
    let place = check(changed("/lines", vec![line; 1000])).expect("is good");
    assert_eq!((place.lines.len(), place.total), (1000, 0));
    let priceless = json!([{"productId": "SKU-1", "quantity": 1, "unitPrice": i64::MAX}]);
    assert_eq!(check(changed("/lines", priceless)).expect("is good").total, i64::MAX);
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let body = json!({
        "customerId": "",
        "currency": "euro",
        "lines": [
            {"productId": "a b", "quantity": 0, "unitPrice": -1},
            {"productId": "SKU-1", "quantity": 1_000_000_001, "unitPrice": 1, "currency": "eur"},
        ],
        "payment": {"token": ""},
    });
    let expected = [
        "/customerId",
        "/currency",
        "/lines/0/productId",
        "/lines/0/quantity",
        "/lines/0/unitPrice",
        "/lines/1/currency",
        "/lines/1/quantity",
        "/payment/token",
    ];
    assert_eq!(wrong(body).await, expected);
}

#[tokio::test]
async fn an_order_has_1_to_1000_lines() {
    let line = order()["lines"][0].clone();
    assert_eq!(wrong(changed("/lines", json!([]))).await, ["/lines"]);
    assert_eq!(wrong(changed("/lines", vec![line; 1001])).await, ["/lines"]);
}

#[tokio::test]
async fn a_line_in_another_currency_is_refused() {
    assert_eq!(wrong(changed("/lines/1/currency", "USD")).await, ["/lines/1/currency"]);
}

#[tokio::test]
async fn a_total_that_overflows_is_refused_where_it_does() {
    let mut body = changed("/lines/1/unitPrice", i64::MAX);
    assert_eq!(wrong(body.clone()).await, ["/lines"]);
    body["lines"][1]["quantity"] = json!(2);
    assert_eq!(wrong(body).await, ["/lines/1"]);
}

#[tokio::test]
async fn a_token_is_visible_and_not_endless() {
    for token in ["tok ok", "tok\u{0}", &"t".repeat(256)] {
        assert_eq!(wrong(changed("/payment/token", token)).await, ["/payment/token"]);
    }
}

#[test]
fn what_has_not_the_shape_is_refused_by_the_parser() {
    let bodies = [
        changed("/lines/0/quantity", 1.5),
        changed("/lines/0/unitPrice", "2"),
        changed("/lines/0/unitPrice", u64::MAX),
        changed("/payment", json!({"token": "tok_ok", "cvc": "123"})),
        changed("/lines/0", json!({"productId": "SKU-1", "quantity": 1, "unitPrice": 1, "discount": 1})),
    ];
    for body in bodies {
        assert!(serde_json::from_value::<PlaceOrder>(body.clone()).is_err(), "{body}");
    }
}

#[tokio::test]
async fn new_lines_are_checked_as_an_orders_are() {
    let amend = |lines: Value| serde_json::from_value::<AmendOrder>(json!({"lines": lines})).expect("has the shape");
    let named = amend(order()["lines"].clone()).check().expect("is good").named;
    assert_eq!(named, [(1, Currency::try_from("EUR").expect("three letters"))]);
    let problem = amend(json!([])).check().expect_err("is wrong");
    assert_eq!(pointers(problem).await, ["/lines"]);
}

#[tokio::test]
async fn a_reason_has_1_to_500_characters() {
    let cancel = |reason: &str| CancelOrder { reason: reason.to_owned() }.check();
    assert_eq!(cancel("changed\nmy mind").expect("is good"), "changed\nmy mind");
    assert!(cancel(&"é".repeat(500)).is_ok());
    for reason in ["", &"x".repeat(501), "nul\u{0}"] {
        assert_eq!(pointers(cancel(reason).expect_err("is wrong")).await, ["/reason"]);
    }
}
