//! Errors as clients see them: `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// What a problem's slug is appended to; the page there explains the problem.
pub const TYPE_BASE: &str = "https://ordersystem.dev/problems/";

/// The media type of a problem.
pub const CONTENT: &str = "application/problem+json";

/// When to come back after an overload, in seconds: queues here drain within one, or not soon.
const OVERLOADED_RETRY_SECONDS: u32 = 1;

/// Why a request got no better answer. Small to pass around; build it where the reason is known.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inside>);

#[derive(Debug, Clone)]
struct Inside {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: Option<Cow<'static, str>>,
    retry_after_seconds: Option<u32>,
    allow: Option<&'static str>,
    extensions: Map<String, Value>,
}

/// A value in a request's body that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Violation {
    /// Where: a JSON Pointer (RFC 6901) into the body; empty for the whole of it.
    #[schema(example = "/lines/0/quantity")]
    pub pointer: String,
    /// Which rule.
    #[schema(example = "must be at least 1")]
    pub detail: String,
}

/// A problem as it is written.
#[derive(Serialize, ToSchema)]
struct Document<'a> {
    /// A URL that names the kind of problem and explains it.
    #[serde(rename = "type")]
    #[schema(example = "https://ordersystem.dev/problems/validation-failed")]
    kind: String,
    /// The kind of problem in words.
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 422, minimum = 400, maximum = 599)]
    status: u16,
    /// What is the matter this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// The path of the request that met it.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    /// What helps with this kind of problem: `errors`, `allowedActions`, `currentVersion`, …
    #[serde(flatten)]
    extensions: &'a Map<String, Value>,
}

impl Violation {
    /// A rule broken at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

impl Problem {
    /// A kind of problem: `slug` names it for programs, `title` for people.
    pub fn new(status: StatusCode, slug: &'static str, title: &'static str) -> Self {
        Self(Box::new(Inside {
            status,
            slug,
            title,
            detail: None,
            retry_after_seconds: None,
            allow: None,
            extensions: Map::new(),
        }))
    }

    /// Says what is the matter this time. Never an internal error's text.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds an extension member.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again (`Retry-After`).
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Says which methods would do (`Allow`), as the header writes them: `GET, PUT`.
    #[must_use]
    pub fn allow(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The name of its kind.
    pub fn slug(&self) -> &'static str {
        self.0.slug
    }

    /// 400: the request cannot be read.
    pub fn malformed() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", "The request cannot be read")
    }

    /// 404: there is no such thing.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such resource")
    }

    /// 405: the resource does not know the method. The router adds `Allow`.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The resource does not know this method")
    }

    /// 406: the client takes no JSON.
    pub fn not_acceptable() -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", "The answer is only to be had as application/json")
    }

    /// 408: the body takes too long to come.
    pub fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "The request takes too long to come")
    }

    /// 413: the body is larger than [`MAX_BODY_BYTES`](crate::MAX_BODY_BYTES).
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request's body is too large")
    }

    /// 415: the body is not JSON by its `Content-Type`.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The request's body must be application/json",
        )
    }

    /// 422: the body is JSON, but breaks these rules.
    pub fn validation_failed(errors: impl IntoIterator<Item = Violation>) -> Self {
        let member = |Violation { pointer, detail }| {
            Value::from(Map::from_iter([
                ("pointer".to_owned(), Value::from(pointer)),
                ("detail".to_owned(), Value::from(detail)),
            ]))
        };
        let errors: Vec<Value> = errors.into_iter().map(member).collect();
        let title = "The request breaks a rule";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation-failed", title).with("errors", errors)
    }

    /// 422: the idempotency key stands for another request.
    pub fn idempotency_key_reused() -> Self {
        let title = "The idempotency key was used for another request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", title)
    }

    /// 503: too much is waiting already. Refused at once, nothing was done.
    pub fn overloaded() -> Self {
        let title = "Too many requests are waiting";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", title).retry_after(OVERLOADED_RETRY_SECONDS)
    }

    /// 503: something this depends on does not answer.
    pub fn unavailable() -> Self {
        let title = "The service cannot answer at the moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title)
    }

    /// 500: a fault of ours. The log has the cause, the client does not.
    pub fn internal() -> Self {
        let title = "The service failed to answer";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title)
    }

    /// The body, with the request's path where it is known.
    pub(crate) fn to_json(&self, instance: Option<&str>) -> Vec<u8> {
        let document = Document {
            kind: format!("{TYPE_BASE}{}", self.0.slug),
            title: self.0.title,
            status: self.0.status.as_u16(),
            detail: self.0.detail.as_deref(),
            instance,
            extensions: &self.0.extensions,
        };
        // Strings, numbers and JSON values under string keys: there is nothing here that JSON cannot hold.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json(None);
        let mut response = (self.0.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.0.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the request's path into a problem that was answered where the path is not known.
pub(crate) fn locate(response: &mut Response, path: &str) {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = problem.to_json(Some(path)).into();
        response.headers_mut().remove(CONTENT_LENGTH);
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Document::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Problem")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Document::schemas(schemas);
    }
}
