//! What every request meets on its way in and every answer on its way out.
//!
//! One layer for all of it, because each layer costs an allocation and a dynamic call per request.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, MatchedPath, OriginalUri, Request};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tower::{Layer, Service};
use tracing::error;

use crate::metrics::RequestTimes;
use crate::negotiation::{accepts_json, preferred_wait};
use crate::{MAX_BODY_BYTES, Metrics, Problem, catch, problem};

/// How long a request may take beyond what it prefers to wait. Reading its body counts, so this also bounds a client
/// that sends slowly; a batch takes milliseconds, and a database that fails over is back within seconds.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The layer around the routes of one service.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    times: RequestTimes,
    only_json: bool,
}

/// Routes with the layer around them.
#[derive(Debug, Clone)]
pub(crate) struct Edged<S> {
    inner: S,
    edge: Edge,
}

/// What is kept of a request until its answer is there.
struct Asked {
    started: Instant,
    method: &'static str,
    route: Option<MatchedPath>,
    uri: Uri,
    limit: Duration,
}

impl Edge {
    /// Around an API: answers are JSON, and a client that takes none is refused.
    pub(crate) fn of_api(metrics: &Metrics) -> Self {
        Self { times: RequestTimes::of(metrics), only_json: true }
    }

    /// Around what a process says of itself, in whatever type it has.
    pub(crate) fn of_operations(metrics: &Metrics) -> Self {
        Self { times: RequestTimes::of(metrics), only_json: false }
    }
}

impl<S> Layer<S> for Edge {
    type Service = Edged<S>;

    fn layer(&self, inner: S) -> Edged<S> {
        Edged { inner, edge: self.clone() }
    }
}

impl<S> Service<Request> for Edged<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let asked = Asked::of(&request);
        let acceptable = !self.edge.only_json || accepts_json(request.headers());
        DefaultBodyLimit::max(MAX_BODY_BYTES).apply(&mut request);
        let answer = acceptable.then(|| self.inner.call(request));
        let times = self.edge.times.clone();
        Box::pin(async move {
            let mut response = match answer {
                Some(answer) => within(asked.limit, answer).await,
                None => Problem::not_acceptable().into_response(),
            };
            problem::locate(&mut response, asked.uri.path());
            stamp(response.headers_mut());
            times.observe(asked.method, asked.route, response.status(), asked.started);
            Ok(response)
        })
    }
}

impl Asked {
    fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        let original = extensions.get::<OriginalUri>().map(|uri| uri.0.clone());
        Self {
            started: Instant::now(),
            method: RequestTimes::method(request.method()),
            route: extensions.get::<MatchedPath>().cloned(),
            uri: original.unwrap_or_else(|| request.uri().clone()),
            limit: REQUEST_TIMEOUT + preferred_wait(request.headers()).unwrap_or_default(),
        }
    }
}

/// The answer, or a problem if there is none in time or the handler panics.
async fn within(limit: Duration, answer: impl Future<Output = Result<Response, Infallible>>) -> Response {
    match timeout(limit, catch::panics(answer)).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(never))) => match never {},
        Ok(Err(panic)) => {
            error!(panic, "a request's handler panicked");
            Problem::internal().into_response()
        }
        Err(_) => {
            let detail = format!("no outcome within {} s; it may still come", limit.as_secs());
            Problem::unavailable().detail(detail).into_response()
        }
    }
}

fn stamp(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_takes_too_long_is_given_up() {
        let response = within(Duration::from_millis(1), pending()).await;
        assert_eq!(response.status(), 503);
        let problem = response.extensions().get::<Problem>();
        assert_eq!(problem.map(Problem::slug), Some("unavailable"));
    }

    #[test]
    fn a_preferred_wait_comes_on_top_of_the_limit() {
        let mut request = Request::default();
        assert_eq!(Asked::of(&request).limit, REQUEST_TIMEOUT);
        request.headers_mut().insert("prefer", HeaderValue::from_static("wait=10"));
        assert_eq!(Asked::of(&request).limit, REQUEST_TIMEOUT + Duration::from_secs(10));
    }
}
