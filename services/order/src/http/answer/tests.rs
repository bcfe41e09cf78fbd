use super::*;

use contract::Currency;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::order::{Status, fixtures};

async fn body(response: Response) -> Value {
    let bytes = response.into_body().collect().await.expect("is whole").to_bytes();
    serde_json::from_slice(&bytes).expect("is JSON")
}

#[tokio::test]
async fn an_order_is_answered_with_its_version_as_its_tag() {
    let order = fixtures::confirmed(Uuid::from_u128(1));
    let response = answer(StatusCode::CREATED, &order.shown);
    assert_eq!((response.status(), &response.headers()[ETAG]), (StatusCode::CREATED, &etag(3)));
    let expected = json!({
        "id": "00000000-0000-0000-0000-000000000001",
        "customerId": "customer-1",
        "status": "confirmed",
        "paymentStatus": "authorized",
        "revision": 1,
        "version": 3,
        "currency": "EUR",
        "total": 500,
        "lines": [
            {"productId": "SKU-1", "quantity": 2, "unitPrice": 200},
            {"productId": "SKU-2", "quantity": 1, "unitPrice": 100},
        ],
        "placedAt": "2023-11-14T22:13:20Z",
        "updatedAt": "2023-11-14T22:13:22Z",
        "expiresAt": "2023-11-14T22:28:20Z",
    });
    assert_eq!(body(response).await, expected);
}

#[tokio::test]
async fn each_refusal_has_its_status_and_what_helps() {
    let mismatch = refused(&Refusal::VersionMismatch { current: 7 });
    assert_eq!((mismatch.status().as_u16(), mismatch.slug()), (412, "version-mismatch"));
    assert_eq!(body(mismatch.into_response()).await["currentVersion"], 7);

    let conflict = refused(&Refusal::Conflict { status: Status::Confirmed, allowed: &[Action::Cancel] });
    assert_eq!((conflict.status().as_u16(), conflict.slug()), (409, "order-state-conflict"));
    assert_eq!(body(conflict.into_response()).await["allowedActions"], json!(["cancel"]));

    let currency = Currency::try_from("EUR").expect("three letters");
    let other = refused(&Refusal::OtherCurrency { currency, lines: vec![0, 2] });
    assert_eq!((other.status().as_u16(), other.slug()), (422, "validation-failed"));
    let errors = &body(other.into_response()).await["errors"];
    assert_eq!(errors[1]["pointer"], "/lines/2/currency");
}

#[test]
fn other_answers_are_problems_too() {
    let slug = |answer| order_of(answer).expect_err("no order").slug();
    assert_eq!(slug(Answer::NotFound), "not-found");
    assert_eq!(slug(Answer::KeyReused), "idempotency-key-reused");
    assert_eq!(precondition_required().status().as_u16(), 428);
}
