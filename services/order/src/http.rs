//! Orders over HTTP.

mod answer;
mod body;
mod headers;
mod pages;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, OriginalUri, State};
use axum::http::header::{ETAG, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use contract::{Lane, Lanes, order::OrderEvent};
use deadpool_postgres::Pool;
use journal::{Journal, ReadError, StoredEvent, idempotency::Key};
use process::headers::{REPLAYED, etag, idempotency_key, is_known, trace};
use process::negotiation::preferred_wait;
use process::{Json, Path, Problem, Query, page};
use tokio_util::sync::CancellationToken;
use tracing::error;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::admission::{Admission, Admitted};
use crate::order::{self, IfMatch, Order, Shown};
use crate::store::{self, Answer, Command, Orders, Placing};
use crate::view::{self, OrdersView};
use crate::waiting::{Waiter, Waiters};
use answer::{answer, header, order_of, precondition_required, unread};
use body::{AmendOrder, CancelOrder, PlaceOrder};
use headers::if_match;
use pages::{EventPage, EventQuery, ListQuery, OrderPage};

/// What requests may say, read as the handlers read it.
pub mod border {
    use axum::http::Uri;

    use super::body::{AmendOrder, CancelOrder, PlaceOrder};
    pub use super::headers::if_match;
    use super::pages::ListQuery;
    use crate::order::{Amendment, Place};
    use crate::view::Filter;
    use process::Problem;

    /// The body of a request to place an order.
    pub fn placing(body: &[u8]) -> Result<Place, Problem> {
        process::parse::<PlaceOrder>(body)?.check()
    }

    /// The body of a request to amend one.
    pub fn amendment(body: &[u8]) -> Result<Amendment, Problem> {
        process::parse::<AmendOrder>(body)?.check()
    }

    /// The body of a request to cancel one: the reason.
    pub fn cancellation(body: &[u8]) -> Result<String, Problem> {
        process::parse::<CancelOrder>(body)?.check()
    }

    /// The query of a request to list orders.
    pub fn listing(uri: &Uri) -> Result<Filter, Problem> {
        process::parse_query::<ListQuery>(uri)?.filter()
    }
}

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Ids drawn, for each lane there is, until one falls into a lane that this replica owns. Even with one lane of its own
/// it then misses once in three thousand times, and that order is appended from here all the same.
const DRAWS_PER_LANE: usize = 8;

/// What the handlers work with.
struct Api {
    journal: Journal<Orders>,
    view: Pool,
    waiters: Arc<Waiters>,
    admission: Arc<Admission>,
    stop: CancellationToken,
}

impl FromRequestParts<Arc<Api>> for Admitted {
    type Rejection = Problem;

    /// Before the body is read: what is refused has to cost little.
    async fn from_request_parts(_: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        api.admission.admit()
    }
}

/// The routes, each also in the OpenAPI document.
pub(crate) fn routes(
    journal: Journal<Orders>,
    view: &Journal<OrdersView>,
    waiters: Arc<Waiters>,
    admission: Arc<Admission>,
    stop: CancellationToken,
) -> OpenApiRouter {
    let api = Api { journal, view: view.reads().clone(), waiters, admission, stop };
    OpenApiRouter::new()
        .routes(routes!(place, list))
        .routes(routes!(one, amend))
        .routes(routes!(cancel))
        .routes(routes!(events))
        .with_state(Arc::new(api))
}

/// Places an order
#[utoipa::path(post, path = "/orders", tag = "orders", request_body = PlaceOrder,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request repeatable for 72 h: 1 to 255 visible ASCII characters"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: answer when the order is settled, or after N seconds, 60 at most"),
    ),
    responses(
        (status = 201, body = Shown, headers(
            ("Location", description = "The order"),
            ("ETag", description = "The order's version"),
            ("Idempotent-Replayed", description = "`true` when the key was used before: this is the first answer"),
            ("Preference-Applied", description = "The wait that was honoured"),
        )),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`validation-failed` or `idempotency-key-reused`"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn place(
    State(api): State<Arc<Api>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    admitted: Admitted,
    Json(body): Json<PlaceOrder>,
) -> Result<Response, Problem> {
    let wait = preferred_wait(&headers);
    let text = idempotency_key(&headers)?;
    let place = body.check()?;
    let key = text.map(|text| store::key(text, &place));
    let id = new_id(api.journal.lanes(), &api.journal.owned().borrow(), key.as_ref());
    let waiter = wait.map(|limit| api.wait_for(id, limit)).transpose()?;
    let placing = Placing { id, place, key };
    let entering = api.admission.enter(admitted, id);
    let (order, replayed) = match api.submit(id, Command::Place(Box::new(placing)), &headers).await? {
        Answer::Replayed(id) => {
            drop(entering);
            (api.placed_before(id, wait).await?, true)
        }
        answer => {
            let order = order_of(answer)?;
            entering.stay();
            (api.settled(order, waiter).await?, false)
        }
    };

    let mut response = answer(StatusCode::CREATED, &order.shown);
    let headers = response.headers_mut();
    headers.extend(header(LOCATION, &format!("{}/{}", uri.path(), order.shown.id)));
    headers.extend(replayed.then_some(REPLAYED));
    headers.extend(wait.and_then(|limit| header(PREFERENCE_APPLIED, &format!("wait={}", limit.as_secs()))));
    Ok(response)
}

/// One order, as it is now
#[utoipa::path(get, path = "/orders/{id}", tag = "orders",
    params(
        ("id" = Uuid, Path, description = "The order"),
        ("If-None-Match" = Option<String>, Header, description = "Versions that the caller has"),
    ),
    responses(
        (status = 200, body = Shown, headers(("ETag", description = "The order's version"))),
        (status = 304, description = "The caller has this version"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn one(State(api): State<Arc<Api>>, Path(id): Path<Uuid>, headers: HeaderMap) -> Result<Response, Problem> {
    let order = api.find(id).await?;
    let version = order.shown.version;
    if is_known(&headers, version) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag(version))]).into_response());
    }
    Ok(answer(StatusCode::OK, &order.shown))
}

/// Replaces an order's lines
#[utoipa::path(put, path = "/orders/{id}", tag = "orders", request_body = AmendOrder,
    params(
        ("id" = Uuid, Path, description = "The order"),
        ("If-Match" = String, Header, description = "The version that the caller has seen, or `*`"),
    ),
    responses(
        (status = 200, body = Shown, headers(("ETag", description = "The order's version"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`order-state-conflict`, with `allowedActions`"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "`version-mismatch`, with `currentVersion`"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json", description = "`precondition-required`"),
    )
)]
async fn amend(
    State(api): State<Arc<Api>>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Json(body): Json<AmendOrder>,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers).ok_or_else(precondition_required)?;
    let amendment = body.check()?;
    api.change(id, order::Command::Amend { if_match, amendment }, &headers).await
}

/// Calls an order off
#[utoipa::path(post, path = "/orders/{id}/cancel", tag = "orders", request_body = CancelOrder,
    params(
        ("id" = Uuid, Path, description = "The order"),
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen, or `*`"),
    ),
    responses(
        (status = 200, body = Shown, headers(("ETag", description = "The order's version"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`order-state-conflict`, with `allowedActions`"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "`version-mismatch`, with `currentVersion`"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn cancel(
    State(api): State<Arc<Api>>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Json(body): Json<CancelOrder>,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers).unwrap_or(IfMatch::Any);
    let reason = body.check()?;
    api.change(id, order::Command::Cancel { if_match, reason }, &headers).await
}

/// What happened to an order, oldest first
#[utoipa::path(get, path = "/orders/{id}/events", tag = "orders",
    params(("id" = Uuid, Path, description = "The order"), EventQuery),
    responses(
        (status = 200, body = EventPage, headers(("Link", description = "The next page, as `rel=\"next\"`"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn events(
    State(api): State<Arc<Api>>,
    OriginalUri(uri): OriginalUri,
    Path(id): Path<Uuid>,
    Query(query): Query<EventQuery>,
) -> Result<Response, Problem> {
    let limit = page::size(query.limit)?;
    // One more than asked for tells whether there is a next page.
    let versions = query.versions(limit + 1);
    let events = journal::events(api.journal.reads(), id, versions).await.map_err(|error| unread(&error))?;
    if events.is_empty() && query.cursor.is_none() {
        return Err(Problem::not_found());
    }
    let page = EventPage::of(events, limit);
    Ok(page::answer(&uri, page.next_cursor.as_deref(), &page))
}

/// Orders, newest first
///
/// The list follows what happens within moments; `GET /orders/{id}` is always up to date.
#[utoipa::path(get, path = "/orders", tag = "orders", params(ListQuery), responses(
    (status = 200, body = OrderPage, headers(("Link", description = "The next page, as `rel=\"next\"`"))),
    (status = 400, body = Problem, content_type = "application/problem+json"),
))]
async fn list(
    State(api): State<Arc<Api>>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let limit = page::size(query.limit)?;
    // One more than asked for tells whether there is a next page.
    let orders = view::list(&api.view, &query.filter()?, limit + 1).await.map_err(|error| unread(&error))?;
    let page = OrderPage::of(orders, limit);
    Ok(page::answer(&uri, page.next_cursor.as_deref(), &page))
}

impl Api {
    async fn submit(&self, order: Uuid, command: Command, headers: &HeaderMap) -> Result<Answer, Problem> {
        let lane = self.journal.lanes().of_order(order);
        self.journal.submit(lane, command, trace(headers)).await.map_err(journal::Refused::problem)
    }

    async fn change(&self, id: Uuid, command: order::Command, headers: &HeaderMap) -> Result<Response, Problem> {
        let changed = self.submit(id, Command::Change { order: id, command }, headers).await?;
        Ok(answer(StatusCode::OK, &order_of(changed)?.shown))
    }

    async fn find(&self, id: Uuid) -> Result<Arc<Order>, Problem> {
        let order = store::find(self.journal.reads(), id).await.map_err(|error| unread(&error))?;
        order.map(Arc::new).ok_or_else(Problem::not_found)
    }

    /// The answer to a repeated request: the first one, or the order as it is after the wait.
    async fn placed_before(&self, id: Uuid, wait: Option<Duration>) -> Result<Arc<Order>, Problem> {
        match wait {
            None => self.as_placed(id).await.map(Arc::new),
            Some(limit) => {
                let waiter = self.wait_for(id, limit)?;
                self.settled(self.find(id).await?, Some(waiter)).await
            }
        }
    }

    /// The order as its first event made it.
    async fn as_placed(&self, id: Uuid) -> Result<Order, Problem> {
        let events = journal::events(self.journal.reads(), id, 1..=1).await.map_err(|error| unread(&error))?;
        let decoded = |first: &StoredEvent| Ok((first.at, OrderEvent::decode(&first.kind, first.bytes())?));
        let placed = events.first().map(decoded).transpose().map_err(|error: ReadError| unread(&error))?;
        let order = placed.and_then(|(at, event)| order::fold(id, event.as_ref().map(|event| (at, event))));
        order.ok_or_else(|| {
            error!(order = %id, "an order's events do not begin with its placing");
            Problem::internal()
        })
    }

    fn wait_for(&self, order: Uuid, limit: Duration) -> Result<(Waiter, Duration), Problem> {
        let waiter = self.waiters.wait_for(order);
        waiter.map(|waiter| (waiter, limit)).map_err(|_| Problem::overloaded())
    }

    /// The order once it is settled, or as it is when the wait is over or the process stops.
    async fn settled(&self, order: Arc<Order>, waiter: Option<(Waiter, Duration)>) -> Result<Arc<Order>, Problem> {
        match waiter {
            Some((waiter, limit)) if order.shown.status.is_open() => {
                match self.stop.run_until_cancelled(waiter.settled(limit)).await.flatten() {
                    Some(settled) => Ok(settled),
                    None => self.find(order.shown.id).await,
                }
            }
            _ => Ok(order),
        }
    }
}

/// An id for a new order: in the lane of its key, so that one lane's lock serialises equal keys; else in a lane of ours
/// if one is drawn, so that the lane's owner need not be told of an append.
fn new_id(lanes: Lanes, owned: &[Lane], key: Option<&Key>) -> Uuid {
    if let Some(key) = key {
        return id_in(lanes, lanes.of_key(&key.text));
    }
    let draws = if owned.is_empty() { 0 } else { DRAWS_PER_LANE * usize::from(lanes.count()) };
    let mut ids = std::iter::repeat_with(Uuid::now_v7).take(draws);
    ids.find(|id| owned.contains(&lanes.of_order(*id))).unwrap_or_else(Uuid::now_v7)
}

/// An id in `lane`. One draw in as many as there are lanes falls into it, so the loop ends.
fn id_in(lanes: Lanes, lane: Lane) -> Uuid {
    loop {
        let id = Uuid::now_v7();
        if lanes.of_order(id) == lane {
            return id;
        }
    }
}

#[cfg(test)]
mod tests;
