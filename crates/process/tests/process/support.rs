//! A small service that shows every habit, and a way to ask it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use process::{Json, Path, Problem, Process, Query, Service, app};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt as _;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// What the service stores, if it stored anything.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Thing {
    pub name: String,
    pub lines: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub quantity: u32,
}

#[derive(Debug, Deserialize)]
struct Page {
    limit: Option<u16>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body, once it is certain that it is a problem of this kind.
    #[track_caller]
    pub fn problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("https://ordersystem.dev/problems/{slug}"));
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string());
        problem
    }
}

/// The service, named `thing`.
pub fn service() -> Service {
    let (router, openapi) = OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get_one))
        .routes(routes!(fail))
        .split_for_parts();
    Service { name: "thing", router, openapi }
}

/// The service in a process of its own.
pub fn served() -> (Process, Router) {
    let process = Process::new("test");
    let app = app(vec![service()], &process);
    (process, app)
}

pub async fn ask(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub async fn get(app: &Router, path: &str) -> Answer {
    ask(app, Request::get(path).body(Body::empty()).unwrap()).await
}

#[utoipa::path(get, path = "/things", responses((status = 200)))]
async fn list(Query(page): Query<Page>) -> Json<Option<u16>> {
    Json(page.limit)
}

#[utoipa::path(post, path = "/things", responses(
    (status = 201, body = Thing),
    (status = 422, body = Problem, content_type = "application/problem+json"),
))]
async fn create(Json(thing): Json<Thing>) -> (StatusCode, Json<Thing>) {
    (StatusCode::CREATED, Json(thing))
}

#[utoipa::path(get, path = "/things/{id}", params(("id" = Uuid, Path)), responses((status = 200)))]
async fn get_one(Path(id): Path<Uuid>) -> ([(&'static str, &'static str); 1], Json<Uuid>) {
    ([("cache-control", "no-cache")], Json(id))
}

/// Fails as it is told to
#[utoipa::path(get, path = "/failures/{how}", params(("how" = String, Path)), responses((status = 500)))]
async fn fail(Path(how): Path<String>) -> Problem {
    match how.as_str() {
        "overloaded" => Problem::overloaded(),
        "unavailable" => Problem::unavailable(),
        "internal" => Problem::internal(),
        "conflict" => Problem::new(StatusCode::CONFLICT, "state-conflict", "Not in this state")
            .detail("it is done")
            .with("allowedActions", vec!["look"])
            .with("currentVersion", 7),
        _ => panic!("told to"),
    }
}
