use axum::body::to_bytes;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta};
use contract::payment::{Amount, Attempt, Closed, Declined, PaymentEvent, Started};
use contract::{Currency, Event as _};
use journal::StoredEvent;
use process::Problem;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{PaymentAnswer, PaymentList, PaymentWithHistory};
use super::body::PaymentRequest;
use super::{Answer, created, refused};
use crate::payment::{Command, Payment, Rejection};

const ORDER: Uuid = Uuid::from_u128(7);
const FIRST: Uuid = Uuid::from_u128(1);
const SECOND: Uuid = Uuid::from_u128(2);

fn request(mut json: Value) -> PaymentRequest {
    json["orderId"] = json!(ORDER);
    serde_json::from_value(json).expect("has the shape")
}

async fn body(response: axum::response::Response) -> Value {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("is there");
    serde_json::from_slice(&bytes).expect("is JSON")
}

async fn pointers(problem: Problem) -> Vec<String> {
    assert_eq!(problem.slug(), "validation-failed");
    let problem = body(axum::response::IntoResponse::into_response(problem)).await;
    let errors = problem["errors"].as_array().expect("has errors");
    errors.iter().map(|error| error["pointer"].as_str().expect("is text").to_owned()).collect()
}

fn euro() -> Currency {
    Currency::try_from("EUR").expect("is a currency")
}

fn started(payment_id: Uuid, attempt: i32) -> Started {
    Started { payment_id, attempt, revision: 1, amount: 500, currency: euro(), token: "tok_ok".to_owned() }
}

fn money(payment_id: Uuid) -> Amount {
    Amount { payment_id, revision: 1, amount: 500, currency: euro() }
}

/// Events as they are stored, a second apart.
fn stored(events: &[PaymentEvent]) -> Vec<StoredEvent> {
    let store = |(version, event): (i32, &PaymentEvent)| {
        let mut data = Vec::new();
        event.encode(&mut data);
        StoredEvent {
            version,
            kind: event.kind().to_owned(),
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(version.into()),
            cause: None,
            data: RawValue::from_string(String::from_utf8(data).expect("is UTF-8")).expect("is JSON"),
        }
    };
    (1..).zip(events).map(store).collect()
}

fn shown(events: &[PaymentEvent]) -> Value {
    let payments = PaymentWithHistory::all(ORDER, stored(events)).expect("can be read");
    serde_json::to_value(PaymentList::from(payments)).expect("is JSON")
}

#[tokio::test]
async fn a_payment_that_begins_is_answered_with_its_place() {
    let payment = Payment::from(&started(FIRST, 1));
    let response = created("/v1/payments", PaymentAnswer::begun(ORDER, &payment, DateTime::UNIX_EPOCH));
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["location"], format!("/v1/payments/{FIRST}"));
    let expected = json!({
        "id": FIRST, "orderId": ORDER, "attempt": 1, "status": "authorizing", "amount": 500, "currency": "EUR",
        "createdAt": "1970-01-01T00:00:00Z", "updatedAt": "1970-01-01T00:00:00Z",
    });
    assert_eq!(body(response).await, expected);
}

#[test]
fn the_attempts_of_an_order_are_shown_each_with_its_own_history() {
    let declined = Declined { payment_id: FIRST, revision: 1, code: "no".to_owned(), for_good: false };
    let shown = shown(&[
        PaymentEvent::Started(started(FIRST, 1)),
        PaymentEvent::Declined(declined),
        PaymentEvent::Started(started(SECOND, 2)),
        PaymentEvent::Closed(Closed {}),
    ]);
    assert_eq!(shown["nextCursor"], Value::Null);
    let payments = shown["data"].as_array().expect("is a list");
    let seen: Vec<_> = payments.iter().map(|payment| (&payment["attempt"], &payment["status"])).collect();
    assert_eq!(seen, [(&json!(1), &json!("declined")), (&json!(2), &json!("authorizing"))]);
    assert_eq!(payments[0]["declineCode"], "no");
    assert_eq!(payments[0]["updatedAt"], "1970-01-01T00:00:02Z");
    let history = json!([{
        "version": 3, "type": "ordersystem.payment.started.v1", "at": "1970-01-01T00:00:03Z", "causationId": null,
        "data": {"paymentId": SECOND, "attempt": 2, "revision": 1, "amount": 500, "currency": "EUR", "token": "***"},
    }]);
    assert_eq!(payments[1]["history"], history);
}

#[test]
fn what_the_provider_is_asked_does_not_show_until_it_is_done() {
    let attempt = || Attempt { payment_id: FIRST, revision: 1 };
    let mut events = vec![PaymentEvent::Started(started(FIRST, 1))];
    for (event, status) in [
        (PaymentEvent::Unknown(attempt()), "unknown"),
        (PaymentEvent::Authorized(money(FIRST)), "authorized"),
        (PaymentEvent::CaptureRequested(attempt()), "authorized"),
        (PaymentEvent::Captured(money(FIRST)), "captured"),
        (PaymentEvent::RefundRequested(attempt()), "captured"),
        (PaymentEvent::Refunded(money(FIRST)), "refunded"),
    ] {
        events.push(event);
        assert_eq!(shown(&events)["data"][0]["status"], status, "{events:?}");
    }
}

#[test]
fn an_order_without_payments_has_an_empty_list() {
    assert_eq!(shown(&[PaymentEvent::Closed(Closed {})]), json!({"data": [], "nextCursor": null}));
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_payment_is_told_at_once() {
    for token in ["", "a b", "a\u{0}", &"x".repeat(256)] {
        let problem = request(json!({"token": token, "amount": -1})).command().expect_err("is bad");
        assert_eq!(pointers(problem).await, ["/token", "/amount"], "{token:?}");
    }
    let command = request(json!({"token": "tok_ok"})).command().expect("is good");
    assert_eq!(command, Command::Pay { token: "tok_ok".to_owned(), amount: None });
}

#[test]
fn an_unknown_field_or_a_fraction_is_refused() {
    for json in [
        json!({"orderId": ORDER, "token": "tok_ok", "tip": 5}),
        json!({"orderId": ORDER, "token": "tok_ok", "amount": 1.5}),
        json!({"orderId": "7", "token": "tok_ok"}),
    ] {
        assert!(serde_json::from_value::<PaymentRequest>(json.clone()).is_err(), "{json}");
    }
}

#[test]
fn a_key_stands_for_the_same_token_and_amount() {
    let hash = |json| request(json).key("k").request_hash;
    assert_eq!(hash(json!({"token": "a"})), hash(json!({"token": "a", "amount": null})));
    let different = [
        json!({"token": "a"}),
        json!({"token": "b"}),
        json!({"token": "a", "amount": 0}),
        json!({"token": "a", "amount": 1}),
    ];
    let hashes: std::collections::HashSet<_> = different.into_iter().map(hash).collect();
    assert_eq!(hashes.len(), 4);
}

#[test]
fn every_refusal_has_its_problem() {
    let problem = |answer| (refused(&answer).status().as_u16(), refused(&answer).slug());
    let rejected = |rejection| problem(Answer::Rejected(rejection));
    assert_eq!(rejected(Rejection::UnknownOrder), (404, "not-found"));
    assert_eq!(rejected(Rejection::NotExpected), (409, "payment-not-expected"));
    assert_eq!(rejected(Rejection::AlreadyActive), (409, "payment-already-active"));
    assert_eq!(rejected(Rejection::OtherAmount { due: 5 }), (422, "validation-failed"));
    assert_eq!(problem(Answer::KeyReused), (422, "idempotency-key-reused"));
    assert_eq!(problem(Answer::Noted), (500, "internal"));
}
