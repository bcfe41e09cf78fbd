//! Pages: what they list, from where on, and what they show.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use contract::{CustomerId, ProductId};
use journal::StoredEvent;
use process::Problem;
use process::page::{self, Cursor};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::order::{Shown, Status};
use crate::view::Filter;

/// Seconds from 1970 to the year 10000: the times that can be asked for, all of which the database knows.
const MAX_TIME_SECONDS: i64 = 253_402_300_800;

/// Which orders are listed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only orders in this status
    #[param(inline)]
    status: Option<Status>,
    /// Only orders of this customer
    #[param(value_type = Option<String>)]
    customer_id: Option<CustomerId>,
    /// Only orders with a line of this product
    #[param(value_type = Option<String>)]
    product_id: Option<ProductId>,
    /// Only orders placed after this time
    placed_after: Option<DateTime<Utc>>,
    /// Only orders placed before this time
    placed_before: Option<DateTime<Utc>>,
    /// How many at most; 50 unless given
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u16>,
    /// `nextCursor` of the page before
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Uuid>>,
}

/// Which events are listed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// How many at most; 50 unless given
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u16>,
    /// `nextCursor` of the page before
    #[param(value_type = Option<String>)]
    pub cursor: Option<Cursor<i32>>,
}

/// A page of orders.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrderPage {
    /// The orders, newest first.
    pub data: Vec<Shown>,
    /// What to ask the next page with; null on the last.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A page of an order's events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventPage {
    /// The events, oldest first.
    pub data: Vec<StoredEvent>,
    /// What to ask the next page with; null on the last.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl ListQuery {
    /// The orders that are asked for.
    pub fn filter(self) -> Result<Filter, Problem> {
        let known = |time: &DateTime<Utc>| (0..MAX_TIME_SECONDS).contains(&time.timestamp());
        for (name, time) in [("placedAfter", &self.placed_after), ("placedBefore", &self.placed_before)] {
            if !time.as_ref().is_none_or(known) {
                let rule = format!("bad query: {name}: must be from 1970 to 9999");
                return Err(Problem::malformed().detail(rule));
            }
        }
        Ok(Filter {
            status: self.status,
            customer: self.customer_id,
            product: self.product_id,
            placed_after: self.placed_after,
            placed_before: self.placed_before,
            older_than: self.cursor.map(|cursor| cursor.0),
        })
    }
}

impl EventQuery {
    /// The numbers of so many events, from where the page begins.
    pub fn versions(&self, count: u16) -> RangeInclusive<i32> {
        let after = self.cursor.map_or(0, |cursor| cursor.0);
        after.saturating_add(1)..=after.saturating_add(count.into())
    }
}

impl OrderPage {
    /// A page of up to `limit` orders; what is beyond only tells that there is a next page.
    pub fn of(orders: Vec<Shown>, limit: u16) -> Self {
        let (data, next_cursor) = page::cut(orders, limit, |order| order.id);
        Self { data, next_cursor }
    }
}

impl EventPage {
    /// A page of up to `limit` events; what is beyond only tells that there is a next page.
    pub fn of(events: Vec<StoredEvent>, limit: u16) -> Self {
        let (data, next_cursor) = page::cut(events, limit, |event| event.version);
        // Whoever may look at an order may not charge the card again.
        let data = data.into_iter().map(|event: StoredEvent| event.conceal("/payment/token")).collect();
        Self { data, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::FromRequestParts as _;
    use axum::http::Request;
    use process::Query;
    use serde_json::value::RawValue;

    use crate::order::fixtures;

    async fn listing(query: &str) -> Result<ListQuery, Problem> {
        let request = Request::get(format!("/orders?{query}")).body(()).expect("is a request");
        let Query(listing) = Query::from_request_parts(&mut request.into_parts().0, &()).await?;
        Ok(listing)
    }

    fn orders(ids: &[u128]) -> Vec<Shown> {
        ids.iter().map(|id| fixtures::confirmed(Uuid::from_u128(*id)).shown).collect()
    }

    fn event(version: i32) -> StoredEvent {
        let data = RawValue::from_string("{\"customerId\":\"ann\"}".to_owned()).expect("JSON");
        StoredEvent { version, kind: "order.expired.v1".to_owned(), at: DateTime::UNIX_EPOCH, cause: None, data }
    }

    #[tokio::test]
    async fn every_filter_is_read() {
        let query = "status=confirmed&customerId=ann&productId=SKU-1&placedAfter=2026-01-01T00:00:00Z\
            &placedBefore=2026-02-01T00:00:00%2B01:00&limit=3";
        let listing = listing(query).await.expect("can be read");
        assert_eq!(listing.limit, Some(3));
        let filter = listing.filter().expect("is good");
        assert_eq!(filter.status, Some(Status::Confirmed));
        assert_eq!(filter.customer.expect("is there").as_str(), "ann");
        assert_eq!(filter.product.expect("is there").as_str(), "SKU-1");
        assert_eq!(filter.placed_after.expect("is there").to_rfc3339(), "2026-01-01T00:00:00+00:00");
        assert_eq!(filter.placed_before.expect("is there").to_rfc3339(), "2026-01-31T23:00:00+00:00");
    }

    #[tokio::test]
    async fn what_cannot_be_understood_is_refused() {
        for query in ["status=lost", "customerId=", "productId=a%00b", "placedAfter=soon", "limit=x", "colour=red"] {
            assert_eq!(listing(query).await.expect_err("is bad").slug(), "malformed-request", "{query}");
        }
        for query in ["cursor=!", "cursor=AAAA", "limit=-1"] {
            assert!(listing(query).await.is_err(), "{query}");
        }
        for query in ["placedAfter=1969-12-31T23:59:59Z", "placedBefore=%2B10000-01-01T00:00:00Z"] {
            assert!(listing(query).await.expect("can be read").filter().is_err(), "{query}");
        }
    }

    #[tokio::test]
    async fn the_cursor_of_a_page_asks_for_what_is_older() {
        let page = OrderPage::of(orders(&[9, 8, 7]), 2);
        assert_eq!(page.data.len(), 2);
        let cursor = page.next_cursor.expect("there is more");
        let next = listing(&format!("cursor={cursor}")).await.expect("can be read");
        assert_eq!(next.filter().expect("is good").older_than, Some(Uuid::from_u128(8)));
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        assert_eq!(OrderPage::of(orders(&[2, 1]), 2).next_cursor, None);
        assert_eq!(EventPage::of(vec![event(1)], 2).next_cursor, None);
    }

    #[test]
    fn the_cursor_of_events_asks_for_what_comes_later() {
        let page = EventPage::of(vec![event(1), event(2), event(3)], 2);
        let cursor = page.next_cursor.expect("there is more").try_into().expect("is ours");
        assert_eq!(EventQuery { limit: None, cursor: Some(cursor) }.versions(2), 3..=4);
    }

    #[test]
    fn the_token_that_an_order_is_paid_with_is_not_shown() {
        let data = r#"{"customerId":"ann","payment":{"token":"tok_ok"},"total":250}"#;
        let placed = StoredEvent { data: RawValue::from_string(data.to_owned()).expect("JSON"), ..event(1) };
        let shown = EventPage::of(vec![placed], 2).data.remove(0);
        assert_eq!(shown.data.get(), r#"{"customerId":"ann","payment":{"token":"***"},"total":250}"#);
    }

    #[test]
    fn an_event_is_shown_with_its_cloud_events_type_and_its_data_as_they_are() {
        let shown = serde_json::to_value(event(7)).expect("is JSON");
        let expected = serde_json::json!({
            "version": 7,
            "type": "ordersystem.order.expired.v1",
            "at": "1970-01-01T00:00:00Z",
            "causationId": null,
            "data": {"customerId": "ann"},
        });
        assert_eq!(shown, expected);
    }
}
