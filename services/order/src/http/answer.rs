//! Answers: orders, and the problem of each refusal.

use std::sync::Arc;

use axum::http::header::ETAG;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use journal::ReadError;
use process::headers::etag;
use process::{Json, Problem, Violation};
use tracing::error;

use crate::order::{Action, Order, Refusal, Shown};
use crate::store::Answer;

/// An order, with its version as its `ETag`.
pub(super) fn answer(status: StatusCode, order: &Shown) -> Response {
    (status, [(ETAG, etag(order.version))], Json(order)).into_response()
}

/// A header; nothing when its value cannot be one.
pub(super) fn header(name: HeaderName, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((name, HeaderValue::from_str(value).ok()?))
}

/// The order that an answer holds, or the problem that it is.
pub(super) fn order_of(answer: Answer) -> Result<Arc<Order>, Problem> {
    match answer {
        Answer::Order(order) => Ok(order),
        Answer::NotFound => Err(Problem::not_found()),
        Answer::KeyReused => Err(Problem::idempotency_key_reused()),
        Answer::Refused(refusal) => Err(refused(&refusal)),
        Answer::Replayed(_) | Answer::Noted => {
            error!(?answer, "a command was answered as another would be");
            Err(Problem::internal())
        }
    }
}

fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::VersionMismatch { current } => {
            let title = "The order has changed since it was read";
            Problem::new(StatusCode::PRECONDITION_FAILED, "version-mismatch", title).with("currentVersion", *current)
        }
        Refusal::Conflict { status, allowed } => {
            let allowed: Vec<&str> = allowed.iter().map(|action| Action::as_str(*action)).collect();
            let title = "The order's status does not admit this";
            Problem::new(StatusCode::CONFLICT, "order-state-conflict", title)
                .detail(format!("the order is {}", status.as_str()))
                .with("allowedActions", allowed)
        }
        Refusal::OtherCurrency { currency, lines } => {
            Problem::validation_failed(lines.iter().map(|line| {
                Violation::new(format!("/lines/{line}/currency"), format!("must be the order's, {currency}"))
            }))
        }
    }
}

/// The problem of a request that must say which version it is about and does not.
pub(super) fn precondition_required() -> Problem {
    let title = "The request must say which version it is about";
    Problem::new(StatusCode::PRECONDITION_REQUIRED, "precondition-required", title)
        .detail("send `If-Match` with the order's `ETag`, or `*`")
}

/// The problem of orders that could not be read; logs why.
pub(super) fn unread(error: &ReadError) -> Problem {
    error!(error = error as &dyn std::error::Error, "cannot read orders");
    error.problem()
}

#[cfg(test)]
mod tests;
