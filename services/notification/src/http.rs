//! Notices over HTTP.

use axum::extract::{OriginalUri, State};
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use contract::notice::{Channel, Kind};
use journal::Journal;
use process::{Json, Path, Problem, Query};
use serde::{Deserialize, Serialize};
use tracing::error;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::notice::{Notice, Status};
use crate::store::{self, Filter, Notices, ReadError};

/// Notices on a page when the request does not say.
const DEFAULT_LIMIT: u16 = 50;
/// The most notices on a page: more would make an answer that no one reads at once.
const MAX_LIMIT: u16 = 200;

/// The routes, each also in the OpenAPI document.
pub(crate) fn routes(journal: Journal<Notices>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one)).with_state(journal)
}

/// A notice as clients see it.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Notice)]
struct NoticeAnswer {
    /// Its id.
    id: Uuid,
    /// The order it is about.
    order_id: Uuid,
    /// What the customer is told.
    kind: Kind,
    /// How.
    channel: Channel,
    /// Whether it has reached the customer.
    #[schema(inline)]
    status: Status,
    /// How often it was sent.
    attempts: i32,
    /// When it was raised.
    created_at: DateTime<Utc>,
}

/// A page of notices.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NoticePage {
    /// The notices, newest first.
    data: Vec<NoticeAnswer>,
    /// What to ask the next page with; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Which notices are listed.
#[derive(Debug, Default, PartialEq, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Listing {
    /// Only the notices of this order
    order_id: Option<Uuid>,
    /// Only the notices in this status
    #[param(inline)]
    status: Option<Status>,
    /// How many at most; 50 unless given
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u16>,
    /// `nextCursor` of the page before
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
}

/// The last notice of a page, opaque to clients: its id in base64url.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Cursor(Uuid);

/// A text that is no cursor of ours.
#[derive(Debug, thiserror::Error)]
#[error("not a cursor that was given out")]
struct UnknownCursor;

impl TryFrom<String> for Cursor {
    type Error = UnknownCursor;
    fn try_from(text: String) -> Result<Self, UnknownCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| UnknownCursor)?;
        Uuid::from_slice(&bytes).map(Self).map_err(|_| UnknownCursor)
    }
}

impl Cursor {
    fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// Notices, newest first
#[utoipa::path(get, path = "/notifications", tag = "notifications", params(Listing), responses(
    (status = 200, body = NoticePage, headers(("Link", description = "The next page, as `rel=\"next\"`"))),
    (status = 400, body = Problem, content_type = "application/problem+json"),
))]
async fn list(
    State(journal): State<Journal<Notices>>,
    OriginalUri(uri): OriginalUri,
    Query(listing): Query<Listing>,
) -> Result<Response, Problem> {
    let limit = listing.limit()?;
    let client = journal.reads().get().await.map_err(|error| unavailable(&error))?;
    // One more than asked for tells whether there is a next page.
    let notices = store::page(&**client, listing.filter(), limit + 1).await.map_err(|error| unreadable(&error))?;
    let page = NoticePage::of(notices, limit);
    Ok(match page.next_cursor.as_deref() {
        Some(cursor) => ([(LINK, listing.next(uri.path(), cursor))], Json(page)).into_response(),
        None => Json(page).into_response(),
    })
}

/// One notice
#[utoipa::path(get, path = "/notifications/{id}", tag = "notifications",
    params(("id" = Uuid, Path, description = "The notice")),
    responses(
        (status = 200, body = NoticeAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn one(State(journal): State<Journal<Notices>>, Path(id): Path<Uuid>) -> Result<Json<NoticeAnswer>, Problem> {
    let client = journal.reads().get().await.map_err(|error| unavailable(&error))?;
    let notice = store::find(&**client, id).await.map_err(|error| unreadable(&error))?;
    notice.map(|notice| Json(notice.into())).ok_or_else(Problem::not_found)
}

impl Listing {
    fn limit(&self) -> Result<u16, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let bad = || Problem::malformed().detail(format!("bad query: limit: must be 1 to {MAX_LIMIT}"));
        if (1..=MAX_LIMIT).contains(&limit) { Ok(limit) } else { Err(bad()) }
    }

    fn filter(&self) -> Filter {
        Filter { order: self.order_id, status: self.status, before: self.cursor.map(|cursor| cursor.0) }
    }

    /// The `Link` to the next page: the same listing, at the same path, from `cursor` on.
    fn next(&self, path: &str, cursor: &str) -> String {
        let order = self.order_id.map(|order| format!("orderId={order}&"));
        let status = self.status.map(|status| format!("status={}&", status.as_str()));
        let limit = self.limit.map(|limit| format!("limit={limit}&"));
        let filters: String = [order, status, limit].into_iter().flatten().collect();
        format!("<{path}?{filters}cursor={cursor}>; rel=\"next\"")
    }
}

impl NoticePage {
    /// A page of up to `limit` notices; what is beyond only tells that there is a next page.
    fn of(mut notices: Vec<Notice>, limit: u16) -> Self {
        let more = notices.len() > usize::from(limit);
        notices.truncate(usize::from(limit));
        let next_cursor = notices.last().filter(|_| more).map(|last| Cursor(last.id).to_text());
        Self { data: notices.into_iter().map(Into::into).collect(), next_cursor }
    }
}

impl From<Notice> for NoticeAnswer {
    fn from(notice: Notice) -> Self {
        let Notice { id, order_id, kind, channel, status, attempts, created_at, .. } = notice;
        Self { id, order_id, kind, channel, status, attempts, created_at }
    }
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Problem {
    error!(error, "cannot read notices");
    Problem::unavailable()
}

fn unreadable(error: &ReadError) -> Problem {
    match error {
        ReadError::Query(_) => unavailable(error),
        ReadError::Row(_) => {
            error!(error = error as &dyn std::error::Error, "a notice cannot be read");
            Problem::internal()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::FromRequestParts as _;
    use axum::http::{Request, StatusCode};
    use contract::Lane;

    async fn listing(query: &str) -> Result<Listing, Problem> {
        let request = Request::get(format!("/notifications?{query}")).body(()).expect("is a request");
        let Query(listing) = Query::from_request_parts(&mut request.into_parts().0, &()).await?;
        Ok(listing)
    }

    fn notice(id: u128) -> Notice {
        Notice {
            id: Uuid::from_u128(id),
            lane: Lane(3),
            order_id: Uuid::from_u128(7),
            customer_id: "ann".parse().expect("is an id"),
            kind: Kind::OrderConfirmed,
            channel: Channel::Inbox,
            status: Status::Delivered,
            attempts: 1,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_notice_is_shown_in_camel_case() {
        let shown = serde_json::to_value(NoticeAnswer::from(notice(1))).expect("is JSON");
        let expected = serde_json::json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "orderId": "00000000-0000-0000-0000-000000000007",
            "kind": "order-confirmed",
            "channel": "inbox",
            "status": "delivered",
            "attempts": 1,
            "createdAt": "1970-01-01T00:00:00Z",
        });
        assert_eq!(shown, expected);
    }

    #[tokio::test]
    async fn the_cursor_of_a_page_asks_for_what_is_older() {
        // given more notices than fit a page
        let page = NoticePage::of(vec![notice(9), notice(8), notice(7)], 2);
        assert_eq!(page.data.len(), 2);
        // when the next page is asked for
        let cursor = page.next_cursor.expect("there is more");
        let next = listing(&format!("cursor={cursor}")).await.expect("can be read");
        // then
        assert_eq!(next.filter().before, Some(Uuid::from_u128(8)));
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        assert_eq!(NoticePage::of(vec![notice(2), notice(1)], 2).next_cursor, None);
        assert_eq!(NoticePage::of(vec![], 2), NoticePage { data: vec![], next_cursor: None });
    }

    #[tokio::test]
    async fn the_link_to_the_next_page_keeps_the_filters() {
        let query = "orderId=00000000-0000-0000-0000-000000000007&status=delivered&limit=2&";
        let listing = listing(query.trim_end_matches('&')).await.expect("can be read");
        assert_eq!(
            listing.next("/v1/notifications", "abc"),
            format!("</v1/notifications?{query}cursor=abc>; rel=\"next\"")
        );
    }

    #[tokio::test]
    async fn a_limit_is_1_to_200() {
        assert_eq!(listing("").await.expect("can be read").limit().expect("is good"), 50);
        assert_eq!(listing("limit=200").await.expect("can be read").limit().expect("is good"), 200);
        for limit in [0, 201] {
            let listing = listing(&format!("limit={limit}")).await.expect("can be read");
            assert_eq!(listing.limit().expect_err("is bad").status(), StatusCode::BAD_REQUEST);
        }
    }

    #[tokio::test]
    async fn a_filter_that_cannot_be_meant_is_refused() {
        for query in ["orderId=7", "status=lost", "limit=many", "cursor=%21", "cursor=YWJj", "colour=red"] {
            let problem = listing(query).await.expect_err(query);
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{query}");
        }
    }
}
