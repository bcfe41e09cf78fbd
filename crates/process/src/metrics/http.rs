//! How long HTTP requests take, under Spring Boot's name for it.

use std::hash::{Hash, Hasher};
use std::time::Instant;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::family::Family;

use super::{Buckets, Histograms, Metrics, SECONDS};

/// The `uri` of a request that no route matches.
const UNKNOWN_ROUTE: &str = "UNKNOWN";

/// The `method` of a request whose method HTTP does not define.
const OTHER_METHOD: &str = "OTHER";

/// The histogram of one service's requests. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RequestTimes(Histograms<RequestLabels>);

/// No label holds text of the client's, so their number is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    uri: Route,
    status: u16,
}

/// The template of a route, shared with the router rather than copied.
#[derive(Debug, Clone)]
struct Route(Option<MatchedPath>);

impl RequestTimes {
    pub(crate) fn of(metrics: &Metrics) -> Self {
        Self(metrics.register_whole_name(
            "http_server_requests_seconds",
            "Time from a request's head to its answer's",
            Family::new_with_constructor(Buckets(SECONDS)),
        ))
    }

    pub(crate) fn observe(
        &self,
        method: &'static str,
        route: Option<MatchedPath>,
        status: StatusCode,
        started: Instant,
    ) {
        let labels = RequestLabels { method, uri: Route(route), status: status.as_u16() };
        self.0.get_or_create(&labels).observe(started.elapsed().as_secs_f64());
    }

    /// The method as a label.
    pub(crate) fn method(method: &Method) -> &'static str {
        match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            Method::HEAD => "HEAD",
            Method::OPTIONS => "OPTIONS",
            Method::PATCH => "PATCH",
            Method::TRACE => "TRACE",
            Method::CONNECT => "CONNECT",
            _ => OTHER_METHOD,
        }
    }
}

impl Route {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or(UNKNOWN_ROUTE, MatchedPath::as_str)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}
