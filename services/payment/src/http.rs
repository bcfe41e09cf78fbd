//! Payments over HTTP.

mod answer;
mod body;
#[cfg(test)]
mod tests;

use axum::extract::{OriginalUri, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use journal::{Journal, ReadError, Refused};
use process::headers::{REPLAYED, idempotency_key, trace};
use process::{Json, Path, Problem, Query, Violation};
use tracing::error;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::payment::Rejection;
use crate::store::{self, Accounts, Answer, Request};
use answer::{PaymentAnswer, PaymentList, PaymentWithHistory};
use body::{Listing, PaymentRequest};

/// What requests may say, read as the handlers read it.
pub mod border {
    use process::Problem;

    use super::body::PaymentRequest;
    use crate::payment::Command;

    /// The body of a request to pay.
    pub fn payment(body: &[u8]) -> Result<Command, Problem> {
        process::parse::<PaymentRequest>(body)?.command()
    }
}

/// The routes, each also in the OpenAPI document.
pub(crate) fn routes(journal: Journal<Accounts>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(list, pay)).routes(routes!(one)).with_state(journal)
}

/// Pay for an order that waits for it
#[utoipa::path(post, path = "/payments", tag = "payments",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same payment under the same key is begun once"),
    ),
    request_body = PaymentRequest,
    responses(
        (status = 201, body = PaymentAnswer, description = "It is begun; the order tells what becomes of it", headers(
            ("Location", description = "The payment"),
            ("Idempotent-Replayed", description = "`true` when it was begun before, under the same key"),
        )),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no such order"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`payment-not-expected`: the order waits for stock, is paid or dead; \
                `payment-already-active`: another payment has to end first"),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "`validation-failed`, or `idempotency-key-reused` for another payment"),
    )
)]
async fn pay(
    State(journal): State<Journal<Accounts>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Json(request): Json<PaymentRequest>,
) -> Result<Response, Problem> {
    let order = request.order_id;
    let key = idempotency_key(&headers)?.map(|text| request.key(text));
    let lane = journal.lanes().of_order(order);
    let request = Request { lane, order, command: request.command()?, key };
    match journal.submit(lane, request, trace(&headers)).await.map_err(Refused::problem)? {
        Answer::Began(payment, at) => Ok(created(uri.path(), PaymentAnswer::begun(order, &payment, at))),
        Answer::Replayed(version) => {
            let payment = payments(&journal, order, version).await?.pop().ok_or_else(|| {
                error!(%order, version, "the payment of an idempotency key is not there");
                Problem::internal()
            })?;
            Ok(([REPLAYED], created(uri.path(), payment.into_payment())).into_response())
        }
        answer => Err(refused(&answer)),
    }
}

/// The payments of an order
#[utoipa::path(get, path = "/payments", tag = "payments", params(Listing), responses(
    (status = 200, body = PaymentList),
    (status = 400, body = Problem, content_type = "application/problem+json"),
))]
async fn list(
    State(journal): State<Journal<Accounts>>,
    Query(listing): Query<Listing>,
) -> Result<Json<PaymentList>, Problem> {
    Ok(Json(payments(&journal, listing.order_id, i32::MAX).await?.into()))
}

/// One payment
#[utoipa::path(get, path = "/payments/{id}", tag = "payments",
    params(("id" = Uuid, Path, description = "The payment")),
    responses(
        (status = 200, body = PaymentWithHistory),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn one(
    State(journal): State<Journal<Accounts>>,
    Path(id): Path<Uuid>,
) -> Result<Json<PaymentWithHistory>, Problem> {
    let order = store::order_of(journal.reads(), id).await.map_err(|error| unread(&error))?;
    let order = order.ok_or_else(Problem::not_found)?;
    let payments = payments(&journal, order, i32::MAX).await?;
    payments.into_iter().find(|payment| payment.id() == id).map(Json).ok_or_else(Problem::not_found)
}

/// The payments of an order, as the events of its stream up to `version` tell.
async fn payments(journal: &Journal<Accounts>, order: Uuid, version: i32) -> Result<Vec<PaymentWithHistory>, Problem> {
    let events = journal::events(journal.reads(), order, 1..=version).await.map_err(|error| unread(&error))?;
    PaymentWithHistory::all(order, events).map_err(|error| unread(&error.into()))
}

fn created(path: &str, payment: PaymentAnswer) -> Response {
    let location = [(LOCATION, format!("{path}/{}", payment.id()))];
    (StatusCode::CREATED, location, Json(payment)).into_response()
}

/// The problem that a request which was not carried out is answered with.
fn refused(answer: &Answer) -> Problem {
    let conflict = |slug, title| Problem::new(StatusCode::CONFLICT, slug, title);
    match answer {
        Answer::Rejected(rejection @ Rejection::UnknownOrder) => Problem::not_found().detail(rejection.to_string()),
        Answer::Rejected(rejection @ Rejection::NotExpected) => {
            conflict("payment-not-expected", "The order waits for no payment").detail(rejection.to_string())
        }
        Answer::Rejected(rejection @ Rejection::AlreadyActive) => {
            conflict("payment-already-active", "Another payment has to end first").detail(rejection.to_string())
        }
        Answer::Rejected(rejection @ Rejection::OtherAmount { .. }) => {
            Problem::validation_failed([Violation::new("/amount", rejection.to_string())])
        }
        Answer::KeyReused => Problem::idempotency_key_reused(),
        Answer::Rejected(Rejection::Stale) | Answer::Began(..) | Answer::Replayed(_) | Answer::Noted => {
            error!(?answer, "a request got another one's answer");
            Problem::internal()
        }
    }
}

fn unread(error: &ReadError) -> Problem {
    error!(error = error as &dyn std::error::Error, "cannot read payments");
    error.problem()
}
