//! What the process says of itself: health, metrics and what it is.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::health::{HealthReport, Status};
use crate::metrics::{Format, MetricReport, describe, names, render};
use crate::negotiation::accepts_exactly;
use crate::{Json, Path, Problem, Process, Query, VERSION};

/// The names of everything that is counted.
#[derive(Debug, Serialize, ToSchema)]
struct MetricNames {
    names: Vec<String>,
}

/// What runs here.
#[derive(Debug, Serialize, ToSchema)]
struct Info {
    name: &'static str,
    version: &'static str,
}

/// The actuator's routes, each also in the document it comes with.
pub(crate) fn router(process: Process) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(liveness))
        .routes(routes!(readiness))
        .routes(routes!(metric_names))
        .routes(routes!(metric))
        .routes(routes!(prometheus))
        .routes(routes!(info))
        .with_state(process)
}

/// How the process and each of its components are
#[utoipa::path(get, path = "/actuator/health", tag = "actuator", responses(
    (status = 200, body = HealthReport, description = "All is well"),
    (status = 503, body = HealthReport, description = "Something is not"),
))]
async fn health(State(process): State<Process>) -> Response {
    answer(process.health().report())
}

/// Whether the process can work at all; restart it if not
#[utoipa::path(get, path = "/actuator/health/liveness", tag = "actuator", responses(
    (status = 200, body = HealthReport, description = "It can"),
    (status = 503, body = HealthReport, description = "A task that it needs has died"),
))]
async fn liveness(State(process): State<Process>) -> Response {
    answer(process.health().liveness())
}

/// Whether the process should be sent requests
#[utoipa::path(get, path = "/actuator/health/readiness", tag = "actuator", responses(
    (status = 200, body = HealthReport, description = "It should"),
    (status = 503, body = HealthReport, description = "It lacks something, or is stopping"),
))]
async fn readiness(State(process): State<Process>) -> Response {
    answer(process.health().readiness())
}

/// The names of all metrics
#[utoipa::path(get, path = "/actuator/metrics", tag = "actuator", responses(
    (status = 200, body = MetricNames),
))]
async fn metric_names(State(process): State<Process>) -> Result<Json<MetricNames>, Problem> {
    let names = names(&exposition(&process)?);
    Ok(Json(MetricNames { names }))
}

/// One metric, narrowed by tags
#[utoipa::path(get, path = "/actuator/metrics/{name}", tag = "actuator",
    params(
        ("name" = String, Path, description = "One of the names"),
        ("tag" = Option<Vec<String>>, Query, description = "`name:value`, any number of times"),
    ),
    responses(
        (status = 200, body = MetricReport),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn metric(
    State(process): State<Process>,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<MetricReport>, Problem> {
    let tags = tags(&query)?;
    let report = describe(&exposition(&process)?, &name, &tags);
    let unknown = || Problem::not_found().detail("no metric has this name and these tags");
    report.map(Json).ok_or_else(unknown)
}

/// All metrics, for Prometheus
#[utoipa::path(get, path = "/actuator/prometheus", tag = "actuator", responses(
    (status = 200, body = String, content_type = "text/plain"),
))]
async fn prometheus(State(process): State<Process>, headers: HeaderMap) -> Result<Response, Problem> {
    let open_metrics = accepts_exactly(&headers, "application/openmetrics-text");
    let format = if open_metrics { Format::OpenMetrics } else { Format::Prometheus };
    let text = render(&exposition(&process)?, format);
    Ok(([(CONTENT_TYPE, format.content_type())], text).into_response())
}

/// What runs here
#[utoipa::path(get, path = "/actuator/info", tag = "actuator", responses((status = 200, body = Info)))]
async fn info(State(process): State<Process>) -> Json<Info> {
    Json(Info { name: process.name(), version: VERSION })
}

fn answer(report: HealthReport) -> Response {
    let status = match report.status {
        Status::Up => StatusCode::OK,
        Status::OutOfService | Status::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(report)).into_response()
}

fn tags(query: &[(String, String)]) -> Result<Vec<(&str, &str)>, Problem> {
    let tags = query.iter().filter(|(parameter, _)| parameter == "tag");
    let bad = || Problem::malformed().detail("bad query: tag: must be `name:value`");
    tags.map(|(_, tag)| tag.split_once(':').ok_or_else(bad)).collect()
}

fn exposition(process: &Process) -> Result<String, Problem> {
    process.metrics().encode().map_err(|error| {
        error!(%error, "cannot encode the metrics");
        Problem::internal()
    })
}
