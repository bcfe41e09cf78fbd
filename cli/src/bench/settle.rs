//! Waiting until every placed order is settled, at little cost to the system: whole pages of the list instead of a
//! question per order.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hyper::StatusCode;
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::books::Books;
use super::client::{Call, Connection};
use super::place::OrderAnswer;
use super::tally::Tally;
use super::target::Target;

/// Orders on a page: the most that the API gives.
const PAGE: u16 = 200;
/// Between two looks at the last order, while most are still being settled.
const LAST_ORDER_PAUSE: Duration = Duration::from_millis(50);
/// Between two passes through the list, which lags a little behind the orders themselves.
const PASS_PAUSE: Duration = Duration::from_millis(500);
/// Orders of whose end the list did not tell and that are asked for one by one. Beyond, one does not need to know which.
const MAX_LOOKUPS: usize = 1000;

/// Follows the orders of `books` until all are settled or `patience` is over.
pub(super) struct Settling<'b> {
    connection: Connection,
    books: &'b mut Books,
    tally: &'b mut Tally,
    deadline: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    data: Vec<OrderAnswer>,
    next_cursor: Option<String>,
}

impl<'b> Settling<'b> {
    pub(super) fn new(target: &Arc<Target>, books: &'b mut Books, tally: &'b mut Tally, patience: Duration) -> Self {
        Self { connection: Connection::new(target), books, tally, deadline: Instant::now() + patience }
    }

    /// Goes through the list until every order was seen settled, or time is up.
    pub(super) async fn see_all(mut self) {
        let Some(first_placed) = self.books.first_placed() else {
            return;
        };
        loop {
            self.pass(first_placed).await;
            if self.books.unsettled().is_empty() || self.time_is_up() {
                break;
            }
            sleep(PASS_PAUSE).await;
        }
        self.look_up().await;
    }

    fn time_is_up(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Waits for the order that was placed last: while it is not settled, most others are not worth asking for.
    pub(super) async fn wait_for(&mut self, last: Uuid) {
        while let Some(Some(order)) = self.order(last).await {
            if order.is_settled() || self.time_is_up() {
                break;
            }
            sleep(LAST_ORDER_PAUSE).await;
        }
    }

    /// Goes through the list, newest first, until every unsettled order was seen.
    async fn pass(&mut self, first_placed: DateTime<Utc>) {
        let mut unseen: HashSet<Uuid> = self.books.unsettled().clone();
        let mut path = first_page(first_placed);
        while !unseen.is_empty() && !self.time_is_up() {
            let Some(page) = self.page(path).await else {
                return;
            };
            for order in &page.data {
                unseen.remove(&order.id);
                self.books.listed(order);
            }
            let Some(cursor) = page.next_cursor else {
                return;
            };
            path = format!("{}&cursor={}", first_page(first_placed), encoded(&cursor));
        }
    }

    async fn page(&mut self, path: String) -> Option<Page> {
        let answer = self.connection.call(&Call::get("list", path), self.tally).await?;
        let page = if answer.status == StatusCode::OK { answer.json() } else { None };
        if page.is_none() {
            self.tally.unexpected("list", answer.status.as_str());
        }
        page
    }

    /// Asks for what the list did not show as settled, one by one.
    async fn look_up(&mut self) {
        let unsettled: Vec<Uuid> = self.books.unsettled().iter().take(MAX_LOOKUPS).copied().collect();
        for id in unsettled {
            match self.order(id).await {
                Some(Some(order)) => self.books.note(&order),
                Some(None) => self.books.missing(id),
                None => return,
            }
        }
    }

    /// The order, or that there is none; nothing when that cannot be known.
    async fn order(&mut self, id: Uuid) -> Option<Option<OrderAnswer>> {
        let answer = self.connection.call(&Call::get("get", format!("/orders/{id}")), self.tally).await?;
        match answer.status {
            StatusCode::OK => match answer.json() {
                Some(order) => return Some(Some(order)),
                None => self.tally.unexpected("get", "unreadable"),
            },
            StatusCode::NOT_FOUND => return Some(None),
            other => self.tally.unexpected("get", other.as_str()),
        }
        None
    }
}

fn first_page(first_placed: DateTime<Utc>) -> String {
    // A moment earlier, whether the bound itself is within or not.
    let after = first_placed - TimeDelta::milliseconds(1);
    let after = encoded(&after.to_rfc3339_opts(SecondsFormat::Micros, true));
    format!("/orders?limit={PAGE}&placedAfter={after}")
}

/// Percent-encodes a query's value (RFC 3986, unreserved characters stay).
fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let hex = |nibble| char::from(b"0123456789ABCDEF"[usize::from(nibble)]);
            text.extend(['%', hex(byte >> 4), hex(byte & 0xf)]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_querys_value_is_percent_encoded() {
        assert_eq!(encoded("aZ-9_~."), "aZ-9_~.");
        assert_eq!(encoded("a+b/é=&"), "a%2Bb%2F%C3%A9%3D%26");
    }

    #[test]
    fn the_list_is_read_from_just_before_the_first_order() {
        let placed = DateTime::from_timestamp_micros(1_700_000_000_000_500).expect("in range");
        assert_eq!(first_page(placed), "/orders?limit=200&placedAfter=2023-11-14T22%3A13%3A19.999500Z");
    }
}
