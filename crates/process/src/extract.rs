//! What a handler takes from a request; whatever cannot be read is a [`Problem`] before the handler runs.

use std::error::Error as _;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use tokio::time::timeout;

use crate::{Problem, Violation};

/// The largest body that is read: some thousand order lines, far beyond any honest order.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// How much of a body that is too large is still taken in. A client mid-upload reads its refusal only if the
/// connection is not reset under it; beyond this it is not worth it.
const MAX_DISCARDED_BYTES: usize = 1024 * 1024;

/// How long a body may take. 256 KiB come within it at 30 KiB a second; who sends more slowly only holds a connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body of at most [`MAX_BODY_BYTES`]; also a JSON answer.
///
/// Refuses with 415 what is not JSON by its `Content-Type`, 413 what is too large, 408 what takes too long to come, 400
/// what cannot be parsed, and 422 what does not have the shape of `T`.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

/// The query's parameters; 400 if they do not have the shape of `T`.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

/// The path's parameters; 400 if they do not have the shape of `T`.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type());
        }
        let body = timeout(BODY_TIMEOUT, read(request.into_body())).await.map_err(|_| too_slow())??;
        parse(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse_query(&parts.uri).map(Self)
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|error| bad_path(&error))
    }
}

/// Whether the `Content-Type` is `application/json` or a type built on it (`application/….+json`).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.unwrap_or_default().split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    let subtype = media_type.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

async fn read(mut body: Body) -> Result<Bytes, Problem> {
    let announced = body.size_hint().lower();
    if usize::try_from(announced).is_ok_and(|bytes| bytes <= MAX_BODY_BYTES) {
        match Limited::new(&mut body, MAX_BODY_BYTES).collect().await {
            Ok(collected) => return Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {}
            Err(_) => return Err(Problem::malformed().detail("the body breaks off")),
        }
    }
    discard(body).await;
    Err(Problem::too_large().detail(format!("at most {MAX_BODY_BYTES} bytes are read")))
}

fn too_slow() -> Problem {
    Problem::too_slow().detail(format!("a body is read for {} s", BODY_TIMEOUT.as_secs()))
}

async fn discard(mut body: Body) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, Bytes::len);
        if discarded > MAX_DISCARDED_BYTES {
            return;
        }
    }
}

/// What the query of an address says.
pub fn parse_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let query = axum::extract::Query::try_from_uri(uri);
    query.map(|query| query.0).map_err(|error| bad_query(&error))
}

/// What a body says, which is JSON.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Err(Problem::malformed().detail("the body is empty"));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::malformed().detail(format!("not UTF-8 after {} bytes", error.valid_up_to())))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| bad_json(&error))?;
    json.end().map_err(|error| bad_syntax(&error))?;
    Ok(value)
}

fn bad_json(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let cause = error.inner();
    if !cause.is_data() {
        return bad_syntax(cause);
    }
    let text = cause.to_string();
    let place = format!(" at line {} column {}", cause.line(), cause.column());
    let detail = text.strip_suffix(&place).unwrap_or(&text);
    Problem::validation_failed([Violation::new(pointer(error.path()), detail)])
}

fn bad_syntax(error: &serde_json::Error) -> Problem {
    Problem::malformed().detail(format!("not JSON: {error}")).with("line", error.line()).with("column", error.column())
}

/// The path as a JSON Pointer (RFC 6901). An enum's variant is no step in the document, as contents are tagged here.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.iter().map(step).collect()
}

fn bad_query(error: &QueryRejection) -> Problem {
    // The cause names the parameter; the rejection's own text adds only axum's words to it.
    let cause = error.source().map_or_else(|| error.body_text(), ToString::to_string);
    Problem::malformed().detail(format!("bad query: {cause}"))
}

fn bad_path(error: &PathRejection) -> Problem {
    if error.status() != StatusCode::BAD_REQUEST {
        tracing::error!(%error, "a handler's path does not fit its route");
        return Problem::internal();
    }
    Problem::malformed().detail(match error {
        PathRejection::FailedToDeserializePathParams(error) => explain(error.kind()),
        other => other.body_text(),
    })
}

fn explain(error: &ErrorKind) -> String {
    match error {
        ErrorKind::DeserializeError { key, message, .. } => {
            format!("bad `{key}` in the path: {message}")
        }
        ErrorKind::ParseErrorAtKey { key, expected_type, .. } => {
            format!("bad `{key}` in the path: not a {expected_type}")
        }
        other => format!("bad path: {other}"),
    }
}
