//! An order system in a few lines that settles every order at once, and does one thing wrong when it is told to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::target::Target;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// It forgets its third order.
    Loses,
    /// It never settles its third order.
    NeverSettles,
    /// It settles and does not list its third order.
    Hides,
    /// It confirms its third order, whatever it is.
    Confirms,
    /// It does not honour idempotency keys.
    IgnoresKeys,
    /// It is too busy for the first request to place any order.
    IsBusy,
    /// It breaks at every order.
    Breaks,
}

/// The order that a flaw befalls.
const THIRD: usize = 2;

#[derive(Clone)]
struct Fake {
    flaw: Flaw,
    orders: Arc<Mutex<Orders>>,
}

#[derive(Default)]
struct Orders {
    stock: usize,
    refused: HashSet<String>,
    by_key: HashMap<String, usize>,
    all: Vec<Value>,
}

/// Starts it on a port of its own.
pub(super) async fn start(flaw: Flaw) -> Target {
    let fake = Fake { flaw, orders: Arc::default() };
    let router = Router::new()
        .route("/inventory/{product}", put(put_stock))
        .route("/orders", post(place).get(list))
        .route("/orders/{id}", get(find).put(amend))
        .route("/orders/{id}/cancel", post(cancel))
        .with_state(fake);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("is bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}").parse().expect("is a target")
}

impl Fake {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, number: usize, body: &Value) -> (&'static str, Option<&'static str>) {
        let lines = body["lines"].as_array().expect("has lines");
        let short = lines.iter().any(|line| line["productId"] == "bench-none");
        match self.flaw {
            Flaw::NeverSettles if number == THIRD => ("reserved", None),
            Flaw::Confirms if number == THIRD => ("confirmed", None),
            _ if short => ("rejected", Some("out_of_stock")),
            _ if body["payment"]["token"] == "tok_declined" => ("rejected", Some("payment_declined")),
            _ => ("confirmed", None),
        }
    }

    fn hides(&self, number: usize) -> bool {
        number == THIRD && matches!(self.flaw, Flaw::Hides | Flaw::Loses)
    }

    fn forgets(&self, number: usize) -> bool {
        number == THIRD && self.flaw == Flaw::Loses
    }
}

async fn put_stock(State(fake): State<Fake>, Path(_): Path<String>, Json(body): Json<Value>) -> StatusCode {
    assert!(body["onHand"].is_i64());
    fake.lock().stock += 1;
    StatusCode::CREATED
}

async fn place(State(fake): State<Fake>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let key = headers["idempotency-key"].to_str().expect("is text").to_owned();
    let mut orders = fake.lock();
    assert!(orders.stock > 0, "stock is put on hand first");
    if fake.flaw == Flaw::Breaks {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    if fake.flaw == Flaw::IsBusy && orders.refused.insert(key.clone()) {
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response();
    }
    let known = orders.by_key.get(&key).copied().filter(|_| fake.flaw != Flaw::IgnoresKeys);
    let number = known.unwrap_or_else(|| {
        let number = orders.all.len();
        let order = order(&body, fake.end(number, &body));
        orders.all.push(order);
        orders.by_key.insert(key, number);
        number
    });
    (StatusCode::CREATED, [("etag", "\"1\"")], Json(orders.all[number].clone())).into_response()
}

fn order(body: &Value, (status, reason): (&str, Option<&str>)) -> Value {
    let lines = body["lines"].as_array().expect("has lines").iter();
    let price =
        |line: &Value| line["quantity"].as_i64().expect("a number") * line["unitPrice"].as_i64().expect("a number");
    let now = Utc::now();
    let mut order = json!({
        "id": Uuid::now_v7(),
        "customerId": body["customerId"],
        "status": status,
        "total": lines.map(price).sum::<i64>(),
        "placedAt": now,
        "updatedAt": now + TimeDelta::milliseconds(5),
    });
    if let Some(reason) = reason {
        order["reason"] = json!(reason);
    }
    order
}

async fn list(State(fake): State<Fake>, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    assert!(query.contains_key("placedAfter"));
    let limit: usize = query["limit"].parse().expect("a number");
    let begin: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().expect("a number"));
    let orders = fake.lock();
    let shown = orders.all.iter().enumerate().filter(|(number, _)| !fake.hides(*number));
    let newest_first: Vec<_> = shown.map(|(_, order)| order).rev().skip(begin).collect();
    let page = newest_first.iter().take(limit);
    let next = (newest_first.len() > limit).then(|| (begin + limit).to_string());
    Json(json!({"data": page.collect::<Vec<_>>(), "nextCursor": next}))
}

async fn find(State(fake): State<Fake>, Path(id): Path<String>) -> Result<Json<Value>, StatusCode> {
    let orders = fake.lock();
    let number = orders.all.iter().position(|order| order["id"] == id).filter(|number| !fake.forgets(*number));
    number.map(|number| Json(orders.all[number].clone())).ok_or(StatusCode::NOT_FOUND)
}

/// Every second amendment comes when the order has moved on, and is then too late.
async fn amend(
    State(fake): State<Fake>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    assert!(body["lines"].is_array());
    let Ok(order) = find(State(fake), Path(id.clone())).await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let moved_on = id.ends_with(['0', '2', '4', '6', '8', 'a', 'c', 'e']);
    match headers["if-match"].as_bytes() {
        b"*" => StatusCode::CONFLICT.into_response(),
        _ if moved_on => StatusCode::PRECONDITION_FAILED.into_response(),
        _ => order.into_response(),
    }
}

async fn cancel(State(fake): State<Fake>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    assert!(body["reason"].is_string());
    let mut orders = fake.lock();
    let Some(order) = orders.all.iter_mut().find(|order| order["id"] == id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    order["status"] = json!("cancelled");
    order["reason"] = body["reason"].clone();
    Json(order.clone()).into_response()
}
