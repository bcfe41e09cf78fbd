use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::FromRequestParts as _;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use chrono::DateTime;
use contract::ProductId;
use process::{Path, Problem, Query};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::body::{AdjustStock, CountStock};
use super::pages::{MovementAnswer, MovementPage, PageQuery, StockAnswer, StockPage};
use super::{Answer, refused};
use crate::stock::{Balance, Change, Command, Rejection};
use crate::view::{Kind, Movement};

fn product(name: &str) -> ProductId {
    name.parse().expect("is an id")
}

async fn page_query(query: &str) -> Result<PageQuery, Problem> {
    let request = Request::get(format!("/inventory?{query}")).body(()).expect("is a request");
    let Query(query) = Query::from_request_parts(&mut request.into_parts().0, &()).await?;
    Ok(query)
}

fn body<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("has the shape")
}

async fn pointers(problem: Problem) -> Vec<String> {
    assert_eq!(problem.slug(), "validation-failed");
    let body = axum::response::IntoResponse::into_response(problem).into_body();
    let bytes = to_bytes(body, usize::MAX).await.expect("is there");
    let problem: Value = serde_json::from_slice(&bytes).expect("is JSON");
    let errors = problem["errors"].as_array().expect("has errors");
    errors.iter().map(|error| error["pointer"].as_str().expect("is text").to_owned()).collect()
}

#[tokio::test]
async fn a_product_in_the_path_may_have_any_visible_character_in_percent_encoding() {
    let echo = get(async |Path(product): Path<ProductId>| product.to_string());
    let router = Router::new().route("/inventory/{productId}", echo);
    let ask = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).expect("is a request");
        let response = router.clone().oneshot(request).await.expect("is infallible");
        let status = response.status();
        (status, to_bytes(response.into_body(), usize::MAX).await.expect("is there"))
    };
    assert_eq!(ask("/inventory/SKU%2F1%C3%A9").await, (StatusCode::OK, "SKU/1é".into()));
    for path in ["/inventory/a%20b", "/inventory/%00", "/inventory/%ff", &format!("/inventory/{}", "x".repeat(129))] {
        let (status, body) = ask(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(String::from_utf8_lossy(&body).contains("malformed-request"), "{path}");
    }
}

#[test]
fn stock_is_shown_in_camel_case() {
    let balance = Balance { available: 3, reserved: 2, sold: 1, version: 9, stream_version: 4 };
    let shown = serde_json::to_value(StockAnswer::of(product("a"), balance)).expect("is JSON");
    assert_eq!(shown, json!({"productId": "a", "onHand": 5, "available": 3, "reserved": 2, "sold": 1}));
}

#[test]
fn a_movement_shows_what_there_is_to_tell() {
    let moved = Movement {
        product: product("a"),
        kind: Kind::Sold,
        change: Change { version: 9, available: 0, reserved: -2, sold: 2, own: false },
        order: Some(Uuid::from_u128(7)),
        reason: None,
        reference: None,
        at: DateTime::UNIX_EPOCH,
    };
    let shown = serde_json::to_value(MovementAnswer::from(moved)).expect("is JSON");
    let expected = json!({
        "productId": "a",
        "version": 9,
        "kind": "sold",
        "delta": {"available": 0, "reserved": -2, "sold": 2},
        "orderId": "00000000-0000-0000-0000-000000000007",
        "at": "1970-01-01T00:00:00Z",
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_count_is_0_to_a_trillion() {
    for on_hand in [0, 1_000_000_000_000_i64] {
        let command = body::<CountStock>(json!({"onHand": on_hand})).command(product("a"));
        assert_eq!(command.expect("is good"), Command::Count { product: product("a"), on_hand });
    }
    for on_hand in [-1, 1_000_000_000_001_i64] {
        let problem = body::<CountStock>(json!({"onHand": on_hand})).command(product("a")).expect_err("is bad");
        assert_eq!(pointers(problem).await, ["/onHand"]);
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_an_adjustment_is_told_at_once() {
    let request: AdjustStock = body(json!({"delta": 0, "reason": "", "reference": "x".repeat(129)}));
    let problem = request.adjustment(product("a")).expect_err("is bad");
    assert_eq!(pointers(problem).await, ["/delta", "/reason", "/reference"]);
    for reason in ["x".repeat(201), "a\u{0}b".to_owned()] {
        let request: AdjustStock = body(json!({"delta": -1, "reason": reason}));
        assert_eq!(pointers(request.adjustment(product("a")).expect_err("is bad")).await, ["/reason"]);
    }
    let request: AdjustStock = body(json!({"delta": -1, "reason": "é".repeat(200)}));
    assert!(request.adjustment(product("a")).is_ok());
}

#[tokio::test]
async fn the_cursor_of_a_page_asks_for_what_comes_after() {
    // given more products than fit a page
    let products = ["a", "SKU/é", "c"].map(|name| (product(name), Balance::default()));
    let page = StockPage::of(products.into(), 2);
    assert_eq!(page.data.len(), 2);
    // when the next page is asked for
    let cursor = page.next_cursor.expect("there is more");
    let next = page_query(&format!("limit=2&cursor={cursor}")).await.expect("can be read");
    // then
    assert_eq!(next.behind().expect("is good"), Some(product("SKU/é")));
}

#[test]
fn the_last_page_has_no_cursor() {
    let products = ["a", "b"].map(|name| (product(name), Balance::default()));
    assert_eq!(StockPage::of(products.into(), 2).next_cursor, None);
    assert_eq!(MovementPage::of(vec![], 2), MovementPage { data: vec![], next_cursor: None });
}

#[tokio::test]
async fn a_cursor_that_was_not_given_out_is_refused() {
    for query in ["cursor=%21", "cursor=YSBi", "cursor="] {
        let position = page_query(query).await.expect("can be read").behind::<ProductId>();
        assert_eq!(position.expect_err("is bad").status(), StatusCode::BAD_REQUEST, "{query}");
    }
    assert!(page_query("cursor=YWJj").await.expect("can be read").behind::<i64>().is_err());
    for query in ["limit=many", "colour=red"] {
        assert_eq!(page_query(query).await.expect_err("is bad").status(), StatusCode::BAD_REQUEST, "{query}");
    }
}

#[test]
fn every_refusal_has_its_problem() {
    let slug = |answer| (refused(&answer).status().as_u16(), refused(&answer).slug());
    let below = Rejection::BelowReserved { on_hand: 1, reserved: 2 };
    assert_eq!(slug(Answer::Rejected(Rejection::UnknownProduct)), (404, "not-found"));
    assert_eq!(slug(Answer::Rejected(below)), (409, "stock-below-reserved"));
    assert_eq!(slug(Answer::Rejected(Rejection::AboveMaximum)), (422, "validation-failed"));
    assert_eq!(slug(Answer::KeyReused), (422, "idempotency-key-reused"));
    assert_eq!(slug(Answer::Noted), (500, "internal"));
}
