//! Stock over HTTP.

mod body;
mod pages;
#[cfg(test)]
mod tests;

use axum::extract::{OriginalUri, State};
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use contract::ProductId;
use journal::{Journal, ReadError, Refused};
use process::headers::{REPLAYED, etag, idempotency_key, is_known, trace};
use process::{Json, Path, Problem, Query, Violation, page};
use tracing::error;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::stock::{Balance, Rejection};
use crate::store::{self, Answer, Inventory, Request};
use crate::view::{self, InventoryView, Movement};
use body::{AdjustStock, CountStock};
use pages::{MovementAnswer, MovementPage, PageQuery, StockAnswer, StockPage};

/// What requests may say, read as the handlers read it.
pub mod border {
    use contract::ProductId;
    use process::Problem;

    use super::body::{AdjustStock, CountStock};
    use crate::stock::{Adjustment, Command};

    /// The body of a request to count `product`.
    pub fn count(product: ProductId, body: &[u8]) -> Result<Command, Problem> {
        process::parse::<CountStock>(body)?.command(product)
    }

    /// The body of a request to adjust `product`.
    pub fn adjustment(product: ProductId, body: &[u8]) -> Result<Adjustment, Problem> {
        process::parse::<AdjustStock>(body)?.adjustment(product)
    }
}

/// What the handlers hold.
#[derive(Clone)]
struct Api {
    journal: Journal<Inventory>,
    view: Journal<InventoryView>,
}

/// The routes, each also in the OpenAPI document.
pub(crate) fn routes(journal: Journal<Inventory>, view: Journal<InventoryView>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one, count))
        .routes(routes!(adjust))
        .routes(routes!(movements))
        .with_state(Api { journal, view })
}

/// What there is of every product, by id
#[utoipa::path(get, path = "/inventory", tag = "inventory", params(PageQuery), responses(
    (status = 200, body = StockPage, headers(("Link", description = "The next page, as `rel=\"next\"`"))),
    (status = 400, body = Problem, content_type = "application/problem+json"),
))]
async fn list(
    State(api): State<Api>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let (limit, after) = (page::size(query.limit)?, query.behind::<ProductId>()?);
    // One more than asked for tells whether there is a next page.
    let products = store::page(api.journal.reads(), after.as_ref(), limit + 1).await.map_err(|error| unread(&error))?;
    let page = StockPage::of(products, limit);
    Ok(page::answer(&uri, page.next_cursor.as_deref(), &page))
}

/// What there is of a product
#[utoipa::path(get, path = "/inventory/{productId}", tag = "inventory",
    params(
        ("productId" = ProductId, Path, description = "The product"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` that the caller has"),
    ),
    responses(
        (status = 200, body = StockAnswer, headers(("ETag", description = "The product's version"))),
        (status = 304, description = "It is what the caller has"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn one(State(api): State<Api>, Path(product): Path<ProductId>, headers: HeaderMap) -> Result<Response, Problem> {
    let balance = api.balance(&product).await?.ok_or_else(unknown_product)?;
    if is_known(&headers, balance.version) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag(balance.version))]).into_response());
    }
    Ok(shown(product, balance))
}

/// Set what is on hand of a product: available and reserved together
#[utoipa::path(put, path = "/inventory/{productId}", tag = "inventory",
    params(("productId" = ProductId, Path, description = "The product; it need not be known yet")),
    request_body = CountStock,
    responses(
        (status = 200, body = StockAnswer, headers(("ETag", description = "The product's version"))),
        (status = 201, body = StockAnswer, description = "The product was not known before", headers(
            ("ETag", description = "The product's version"),
            ("Location", description = "The product"),
        )),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`stock-below-reserved`: orders hold more than that"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn count(
    State(api): State<Api>,
    Path(product): Path<ProductId>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Json(body): Json<CountStock>,
) -> Result<Response, Problem> {
    let command = body.command(product.clone())?;
    match api.settle(&product, command.into(), &headers).await? {
        Answer::Counted { balance, is_new: false } => Ok(shown(product, balance)),
        Answer::Counted { balance, is_new: true } => {
            let location = [(LOCATION, uri.path().to_owned())];
            Ok((StatusCode::CREATED, location, shown(product, balance)).into_response())
        }
        answer => Err(refused(&answer)),
    }
}

/// Add or take units of a product, and say why
#[utoipa::path(post, path = "/inventory/{productId}/adjustments", tag = "inventory",
    params(
        ("productId" = ProductId, Path, description = "The product"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same adjustment under the same key is made once"),
    ),
    request_body = AdjustStock,
    responses(
        (status = 201, body = MovementAnswer, headers(
            ("ETag", description = "The product's version after it"),
            ("Idempotent-Replayed", description = "`true` when it was made before, under the same key"),
        )),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`stock-below-reserved`: not so many are available"),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "`validation-failed`, or `idempotency-key-reused` for another adjustment"),
    )
)]
async fn adjust(
    State(api): State<Api>,
    Path(product): Path<ProductId>,
    headers: HeaderMap,
    Json(body): Json<AdjustStock>,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let adjustment = body.adjustment(product.clone())?;
    match api.settle(&product, Request::adjust(adjustment, key), &headers).await? {
        Answer::Adjusted(movement) => Ok(created(movement)),
        Answer::AdjustedBefore(version) => {
            let movement = api.adjustment(&product, version).await?;
            Ok(([REPLAYED], created(movement)).into_response())
        }
        answer => Err(refused(&answer)),
    }
}

/// What moved a product's units, newest first
#[utoipa::path(get, path = "/inventory/{productId}/movements", tag = "inventory",
    params(("productId" = ProductId, Path, description = "The product"), PageQuery),
    responses(
        (status = 200, body = MovementPage, headers(("Link", description = "The next page, as `rel=\"next\"`"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn movements(
    State(api): State<Api>,
    Path(product): Path<ProductId>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let (limit, before) = (page::size(query.limit)?, query.behind::<i64>()?);
    // One more than asked for tells whether there is a next page.
    let movements = view::page(api.view.reads(), &product, before, limit + 1).await.map_err(|error| unread(&error))?;
    if movements.is_empty() && api.balance(&product).await?.is_none() {
        return Err(unknown_product());
    }
    let page = MovementPage::of(movements, limit);
    Ok(page::answer(&uri, page.next_cursor.as_deref(), &page))
}

impl Api {
    /// Settles a request about a product, in the product's lane.
    async fn settle(&self, product: &ProductId, request: Request, headers: &HeaderMap) -> Result<Answer, Problem> {
        let lane = self.journal.lanes().of_key(product.as_str());
        let answer = self.journal.submit(lane, request, trace(headers)).await;
        answer.map_err(Refused::problem)
    }

    async fn balance(&self, product: &ProductId) -> Result<Option<Balance>, Problem> {
        store::find(self.journal.reads(), product).await.map_err(|error| unread(&error))
    }

    /// The adjustment that is event `version` of the product's stream.
    async fn adjustment(&self, product: &ProductId, version: i32) -> Result<Movement, Problem> {
        let movement =
            store::adjustment(self.journal.reads(), product, version).await.map_err(|error| unread(&error))?;
        movement.ok_or_else(|| {
            error!(%product, version, "the event of an idempotency key is not there");
            Problem::internal()
        })
    }
}

fn shown(product: ProductId, balance: Balance) -> Response {
    ([(ETAG, etag(balance.version))], Json(StockAnswer::of(product, balance))).into_response()
}

fn created(movement: Movement) -> Response {
    let version = [(ETAG, etag(movement.change.version))];
    (StatusCode::CREATED, version, Json(MovementAnswer::from(movement))).into_response()
}

/// The problem that a request which was not carried out is answered with.
fn refused(answer: &Answer) -> Problem {
    match answer {
        Answer::Rejected(Rejection::UnknownProduct) => unknown_product(),
        Answer::Rejected(rejection @ Rejection::BelowReserved { reserved, .. }) => {
            Problem::new(StatusCode::CONFLICT, "stock-below-reserved", "Orders hold more than would be on hand")
                .detail(rejection.to_string())
                .with("reserved", *reserved)
        }
        Answer::Rejected(rejection @ Rejection::AboveMaximum) => {
            Problem::validation_failed([Violation::new("/delta", rejection.to_string())])
        }
        Answer::KeyReused => Problem::idempotency_key_reused(),
        Answer::Rejected(Rejection::Stale)
        | Answer::Counted { .. }
        | Answer::Adjusted(_)
        | Answer::AdjustedBefore(_)
        | Answer::Noted => {
            error!(?answer, "a request got another one's answer");
            Problem::internal()
        }
    }
}

fn unknown_product() -> Problem {
    Problem::not_found().detail(Rejection::UnknownProduct.to_string())
}

fn unread(error: &ReadError) -> Problem {
    error!(error = error as &dyn std::error::Error, "cannot read stock");
    error.problem()
}
