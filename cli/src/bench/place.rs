//! One order: placed, and then whatever its twist asks for.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::header::{ETAG, HeaderName, HeaderValue, IF_MATCH};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::client::{ANSWER_TIMEOUT, Answer, Call, Connection};
use super::mix::Twist;
use super::plan::{Plan, PlannedOrder};
use super::tally::{Placed, Tally};
use super::target::Target;

/// How long a settled order is waited for, in seconds: what a patient client would ask for.
const WAIT_SECONDS: u16 = 30;
const PREFER: HeaderName = HeaderName::from_static("prefer");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const CANCELLATION: &[u8] = br#"{"reason": "called off by the load generator"}"#;

/// An order as the system answers it; the rest of the answer is of no interest here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrderAnswer {
    pub id: Uuid,
    pub customer_id: String,
    pub status: String,
    pub reason: Option<String>,
    pub total: i64,
    pub placed_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The connections of one worker, and what it has counted.
pub(super) struct Placer {
    plan: Arc<Plan>,
    first: Connection,
    /// For the other one of two requests at once.
    second: Connection,
    /// Whether what it places is after the warm-up.
    measured: bool,
    pub tally: Tally,
}

impl OrderAnswer {
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.status.as_str(), "pending" | "reserved")
    }
}

impl Placer {
    pub(super) fn new(plan: &Arc<Plan>, target: &Arc<Target>, measured: bool) -> Self {
        let [first, second] = [Connection::new(target), Connection::new(target)];
        Self { plan: Arc::clone(plan), first, second, measured, tally: Tally::default() }
    }

    /// Places `order`, which was to arrive at `intended`, and does what its twist asks for.
    pub(super) async fn place(&mut self, order: &PlannedOrder, intended: Instant) {
        self.tally.behind.add(intended.elapsed());
        let placed = if order.twist == Twist::Duplicated {
            self.place_twice(order, intended).await
        } else {
            let answer = self.first.call(&self.placing(order), &mut self.tally).await;
            self.accept(order, intended, answer.as_ref())
        };
        match (placed, order.twist) {
            (Some(placed), Twist::Cancelled) => self.cancel(placed.id).await,
            (Some(placed), Twist::Amended) => self.amend(order, &placed).await,
            _ => {}
        }
    }

    /// Places `order` and waits until it is settled.
    pub(super) async fn place_and_wait(&mut self, order: &PlannedOrder, intended: Instant) {
        self.tally.behind.add(intended.elapsed());
        let wait = Duration::from_secs(WAIT_SECONDS.into());
        let prefer = HeaderValue::try_from(format!("wait={WAIT_SECONDS}")).ok();
        let call = prefer.into_iter().fold(self.placing(order), |call, prefer| call.header(PREFER, prefer));
        let answer = self.first.call(&call.timeout(wait + ANSWER_TIMEOUT), &mut self.tally).await;
        let Some(answer) = answer else { return };
        let Some(named) = self.named(order, &answer) else { return };
        let taken = answer.at - intended;
        if !named.is_settled() {
            self.tally.waits_over += 1;
        }
        // An unsettled answer before its time is the repetition of one that was lost, and says nothing of settling.
        if named.is_settled() || taken >= wait {
            self.tally.settle.add(taken);
        }
    }

    fn placing(&self, order: &PlannedOrder) -> Call {
        let call = Call::new("place", Method::POST, "/orders".to_owned()).json(order.body());
        let key = HeaderValue::try_from(self.plan.key(order.number)).ok();
        key.into_iter().fold(call, |call, key| call.header(IDEMPOTENCY_KEY, key))
    }

    /// The order that an answer names, which the system owes us from now on.
    fn named(&mut self, order: &PlannedOrder, answer: &Answer) -> Option<OrderAnswer> {
        let named = self.read("place", answer, StatusCode::CREATED)?;
        if named.total != order.total {
            self.tally.unexpected("place", "another total");
        }
        self.tally.placed.push(Placed::new(order, named.id, named.placed_at, self.measured));
        Some(named)
    }

    fn accept(&mut self, order: &PlannedOrder, intended: Instant, answer: Option<&Answer>) -> Option<Accepted> {
        let answer = answer?;
        let named = self.named(order, answer)?;
        self.tally.accept.add(answer.at - intended);
        self.tally.last_accepted = self.tally.last_accepted.max(Some(answer.at));
        Some(Accepted { id: named.id, etag: answer.headers.get(ETAG).cloned() })
    }

    /// Sends the order on both connections at once: whichever comes first, both are told of one order.
    async fn place_twice(&mut self, order: &PlannedOrder, intended: Instant) -> Option<Accepted> {
        let call = self.placing(order);
        let mut other_tally = Tally::default();
        let (answer, other) =
            tokio::join!(self.first.call(&call, &mut self.tally), self.second.call(&call, &mut other_tally));
        self.tally.add(other_tally);
        self.tally.specials.duplicated += 1;
        let other = other.and_then(|other| self.read("place again", &other, StatusCode::CREATED));
        let accepted = self.accept(order, intended, answer.as_ref())?;
        if other.is_some_and(|other| other.id != accepted.id) {
            self.tally.specials.duplicates_that_differ += 1;
        }
        Some(accepted)
    }

    async fn cancel(&mut self, id: Uuid) {
        let path = format!("/orders/{id}/cancel");
        let call = Call::new("cancel", Method::POST, path).json(CANCELLATION.into());
        let Some(answer) = self.first.call(&call, &mut self.tally).await else {
            return;
        };
        if self.read("cancel", &answer, StatusCode::OK).is_some() {
            self.tally.specials.cancelled += 1;
        }
    }

    /// Replaces the lines of the version that was answered; when the order has moved on meanwhile, of any version.
    async fn amend(&mut self, order: &PlannedOrder, accepted: &Accepted) {
        let any = HeaderValue::from_static("*");
        let versions = [accepted.etag.clone(), Some(any)];
        for version in versions.into_iter().flatten() {
            let Some(answer) = self.replace_lines(order, accepted.id, version).await else {
                return;
            };
            match answer.status {
                StatusCode::PRECONDITION_FAILED => continue,
                StatusCode::CONFLICT => self.tally.specials.amended_too_late += 1,
                _ if self.read("amend", &answer, StatusCode::OK).is_some() => {
                    self.tally.specials.amended += 1;
                }
                _ => {}
            }
            return;
        }
        self.tally.unexpected("amend", StatusCode::PRECONDITION_FAILED.as_str());
    }

    async fn replace_lines(&mut self, order: &PlannedOrder, id: Uuid, version: HeaderValue) -> Option<Answer> {
        let call = Call::new("amend", Method::PUT, format!("/orders/{id}"))
            .header(IF_MATCH, version)
            .json(self.plan.amendment(order.number));
        self.first.call(&call, &mut self.tally).await
    }

    /// The order in an answer with this status; any other answer is counted as unexpected.
    fn read(&mut self, call: &'static str, answer: &Answer, expected: StatusCode) -> Option<OrderAnswer> {
        let order = if answer.status == expected { answer.json() } else { None };
        match (&order, answer.status == expected) {
            (Some(_), _) => {}
            (None, true) => self.tally.unexpected(call, "unreadable"),
            (None, false) => self.tally.unexpected(call, answer.status.as_str()),
        }
        order
    }
}

/// An order that was accepted, and in which version.
struct Accepted {
    id: Uuid,
    etag: Option<HeaderValue>,
}
