//! The document of everything served here (OpenAPI 3.1), and a page to try it on.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Redirect;
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::{self, Info, OpenApi, OpenApiBuilder, Paths, RefOr, Server};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::VERSION;

const TITLE: &str = "ordersystem";
const DOCUMENT: &str = "/openapi.json";
const PAGE: &str = "/docs";

/// The parts as one document, with the two places where every path answers.
pub(crate) fn document(parts: impl IntoIterator<Item = OpenApi>) -> OpenApi {
    let whole = OpenApiBuilder::new()
        .info(Info::new(TITLE, VERSION))
        .servers(Some([Server::new("/"), Server::new("/v1")]))
        .paths(Paths::new())
        .build();
    completed(parts.into_iter().fold(whole, OpenApi::merge_from))
}

/// The document with what OpenAPI 3.1 demands and its parts lack: an id of its own for every operation, as services
/// name their handlers alike, and a description of every answer, for which the status stands where there is none.
fn completed(mut document: OpenApi) -> OpenApi {
    let items = document.paths.paths.values_mut();
    for operation in items.flat_map(|item| [&mut item.get, &mut item.put, &mut item.post]).flatten() {
        if let (Some([tag, ..]), Some(id)) = (operation.tags.as_deref(), &mut operation.operation_id) {
            *id = format!("{tag}_{id}");
        }
        operation.responses.responses.iter_mut().for_each(describe);
    }
    document
}

fn describe((status, answer): (&String, &mut RefOr<openapi::Response>)) {
    if let RefOr::T(answer) = answer
        && answer.description.is_empty()
    {
        let reason = status.parse::<StatusCode>().ok().and_then(|status| status.canonical_reason());
        reason.unwrap_or("An answer").clone_into(&mut answer.description);
    }
}

/// The document, the page, and the way there from `/`.
pub(crate) fn router(document: &OpenApi) -> Router {
    // Written once: strings under string keys, which JSON can always hold.
    let json = Bytes::from(document.to_json().unwrap_or_default());
    Router::new()
        .route("/", get(async || Redirect::to(PAGE)))
        .route(DOCUMENT, get(async move || ([(CONTENT_TYPE, "application/json")], json)))
        .merge(SwaggerUi::new(PAGE).config(Config::from(DOCUMENT)))
}
