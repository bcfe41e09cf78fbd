//! Notices over HTTP.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use contract::notice::{Channel, Kind};
use journal::{Journal, ReadError};
use process::page::{self, Cursor};
use process::{Json, Path, Problem, Query};
use serde::{Deserialize, Serialize};
use tracing::error;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::notice::{Notice, Status};
use crate::store::{self, Filter, Notices};

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
    cursor: Option<Cursor<Uuid>>,
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
    let limit = page::size(listing.limit)?;
    // One more than asked for tells whether there is a next page.
    let notices = store::page(journal.reads(), listing.filter(), limit + 1).await.map_err(|error| unread(&error))?;
    let page = NoticePage::of(notices, limit);
    Ok(page::answer(&uri, page.next_cursor.as_deref(), &page))
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
    let notice = store::find(journal.reads(), id).await.map_err(|error| unread(&error))?;
    notice.map(|notice| Json(notice.into())).ok_or_else(Problem::not_found)
}

impl Listing {
    fn filter(&self) -> Filter {
        Filter { order: self.order_id, status: self.status, before: self.cursor.map(|cursor| cursor.0) }
    }
}

impl NoticePage {
    /// A page of up to `limit` notices; what is beyond only tells that there is a next page.
    fn of(notices: Vec<Notice>, limit: u16) -> Self {
        let (notices, next_cursor) = page::cut(notices, limit, |notice| notice.id);
        Self { data: notices.into_iter().map(Into::into).collect(), next_cursor }
    }
}

impl From<Notice> for NoticeAnswer {
    fn from(notice: Notice) -> Self {
        let Notice { id, order_id, kind, channel, status, attempts, created_at, .. } = notice;
        Self { id, order_id, kind, channel, status, attempts, created_at }
    }
}

fn unread(error: &ReadError) -> Problem {
    error!(error = error as &dyn std::error::Error, "cannot read notices");
    error.problem()
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
    async fn a_filter_that_cannot_be_meant_is_refused() {
        for query in ["orderId=7", "status=lost", "limit=many", "cursor=%21", "cursor=YWJj", "colour=red"] {
            let problem = listing(query).await.expect_err(query);
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{query}");
        }
    }
}
