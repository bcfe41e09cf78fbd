//! The routes of all services behind one address.

use axum::Router;

use crate::edge::Edge;
use crate::{Problem, Process, actuator, docs};

/// What one service serves.
pub struct Service {
    /// Its name, which labels its metrics.
    pub name: &'static str,
    /// Its routes, without a version in front and without fallbacks of their own.
    pub router: Router,
    /// The document of these routes.
    pub openapi: utoipa::openapi::OpenApi,
}

/// The services' routes, the actuator and the documentation; everything again under `/v1`.
///
/// # Panics
///
/// If two services have the same route.
pub fn app(services: Vec<Service>, process: &Process) -> Router {
    let operations = Edge::of_operations(process.metrics());
    let (actuator, actuator_openapi) = actuator::router(process.clone()).split_for_parts();
    let mut documents = Vec::new();
    let mut routes = Router::new();
    for Service { name, router, openapi } in services {
        let edge = Edge::of_api(&process.metrics().for_service(name));
        routes = routes.merge(router.method_not_allowed_fallback(method_not_allowed).layer(edge));
        documents.push(openapi);
    }
    documents.push(actuator_openapi);
    let own = actuator
        .merge(docs::router(&docs::document(documents)))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(operations.clone());
    let routes = routes.merge(own);
    Router::new().fallback(not_found).layer(operations).nest("/v1", routes.clone()).merge(routes)
}

async fn not_found() -> Problem {
    Problem::not_found()
}

async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}
