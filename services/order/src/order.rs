//! The order: its state, what its events make of it, and the rules by which events come about. Everything here is pure.
//!
//! [`command`] decides what people and the clock ask for, [`fact`] what the other services report; each gives at most one
//! event. [`Change::of`] is the one place that says what an event changes, for the row of the write side and the row of
//! the view alike.

pub mod command;
pub mod fact;
mod lines;

use chrono::{DateTime, Utc};
use contract::{
    Currency, CustomerId,
    order::{Line, OrderEvent, PaymentMethod, PaymentStatus, Placed, Rejected, RejectionReason},
    stock::Shortage,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub use command::{Amendment, Command, IfMatch, Place, Policy, Refusal, decide};
pub use fact::{Fact, Ignored, News, learn};
pub use lines::{Lines, Overflow, total};

/// The revision and the version of an order that was just placed.
const FIRST: i32 = 1;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = OrderStatus)]
pub enum Status {
    /// Waiting for stock.
    Pending,
    /// Stock is held; waiting for payment.
    Reserved,
    /// It stands: stock is held and payment authorized.
    Confirmed,
    /// It cannot be fulfilled.
    Rejected,
    /// It was called off.
    Cancelled,
    /// It was not confirmed in time.
    Expired,
}

/// What a client may do with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Replace its lines.
    Amend,
    /// Call it off.
    Cancel,
    /// Begin a payment.
    Pay,
}

/// An order, as everyone sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Order)]
pub struct Shown {
    /// The order's id, a `UUIDv7`.
    pub id: Uuid,
    /// Who ordered.
    pub customer_id: CustomerId,
    /// Where it stands.
    pub status: Status,
    /// Where its payment stands.
    pub payment_status: PaymentStatus,
    /// The number of the current line set, from 1.
    pub revision: i32,
    /// The number of its latest event, from 1; the `ETag`.
    pub version: i32,
    /// The currency of every price.
    pub currency: Currency,
    /// The sum of quantity times price, in the minor unit.
    pub total: i64,
    /// What was ordered.
    #[schema(value_type = Vec<Line>)]
    pub lines: Lines,
    /// Why it was rejected or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Box<str>>,
    /// What there is too little of, when that is the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shortages: Vec<Shortage>,
    /// When it was placed.
    pub placed_at: DateTime<Utc>,
    /// When its latest event happened.
    pub updated_at: DateTime<Utc>,
    /// When it expires unless it is confirmed before.
    pub expires_at: DateTime<Utc>,
}

/// An order with what only its decisions need.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// What everyone sees.
    pub shown: Shown,
    /// How it will be paid, when the customer said so with the order.
    pub payment: Option<PaymentMethod>,
    /// How many payments were declined.
    pub declines: i32,
}

/// What an event changes in an order; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The new status.
    pub status: Option<Status>,
    /// The new status of the payment.
    pub payment_status: Option<PaymentStatus>,
    /// The new revision.
    pub revision: Option<i32>,
    /// The new total, in the minor unit.
    pub total: Option<i64>,
    /// The new lines.
    pub lines: Option<Lines>,
    /// Why it is dead.
    pub reason: Option<Box<str>>,
    /// What there is too little of.
    pub shortages: Option<Vec<Shortage>>,
    /// How many more payments were declined.
    pub declines: i32,
}

/// The order that its events, oldest first and each with its time, make; nothing if they do not begin with its placing.
pub fn fold<'e>(id: Uuid, events: impl IntoIterator<Item = (DateTime<Utc>, &'e OrderEvent)>) -> Option<Order> {
    let mut events = events.into_iter();
    let (placed_at, OrderEvent::Placed(placed)) = events.next()? else { return None };
    let order = Order::placed(id, placed, placed_at);
    Some(events.fold(order, |order, (at, event)| order.evolve(event, at)))
}

impl Order {
    /// The order that was placed at `at`.
    pub fn placed(id: Uuid, placed: &Placed, at: DateTime<Utc>) -> Self {
        let shown = Shown {
            id,
            customer_id: placed.customer_id.clone(),
            status: Status::Pending,
            payment_status: PaymentStatus::None,
            revision: FIRST,
            version: FIRST,
            currency: placed.currency,
            total: placed.total,
            lines: Lines::of(&placed.lines),
            reason: None,
            shortages: Vec::new(),
            placed_at: at,
            updated_at: at,
            expires_at: placed.expires_at,
        };
        Self { shown, payment: placed.payment.clone(), declines: 0 }
    }

    /// Whether stock or its payment is being seen to. One that comes without a payment waits for its customer then, and so
    /// does one whose payment was declined.
    pub fn waits_for_us(&self) -> bool {
        match self.shown.status {
            Status::Pending => true,
            Status::Reserved => self.payment.is_some() && self.shown.payment_status != PaymentStatus::Declined,
            _ => false,
        }
    }

    /// The order after the next of its events.
    #[must_use]
    pub fn evolve(mut self, event: &OrderEvent, at: DateTime<Utc>) -> Self {
        self.apply(event, at);
        self
    }

    /// [`evolve`](Self::evolve) in place, for an order that is shared.
    pub fn apply(&mut self, event: &OrderEvent, at: DateTime<Utc>) {
        let change = Change::of(event);
        self.declines += change.declines;
        self.shown.apply(change, self.shown.version + 1, at);
    }
}

impl Shown {
    /// Makes the change that event number `version` made at `at`.
    pub fn apply(&mut self, change: Change, version: i32, at: DateTime<Utc>) {
        self.version = version;
        self.updated_at = at;
        self.status = change.status.unwrap_or(self.status);
        self.payment_status = change.payment_status.unwrap_or(self.payment_status);
        self.revision = change.revision.unwrap_or(self.revision);
        self.total = change.total.unwrap_or(self.total);
        if let Some(lines) = change.lines {
            self.lines = lines;
        }
        self.reason = change.reason.or(self.reason.take());
        if let Some(shortages) = change.shortages {
            self.shortages = shortages;
        }
    }

    /// What a client may do with it now.
    pub fn allowed_actions(&self) -> &'static [Action] {
        match self.status {
            Status::Reserved if self.awaits_payment() => &[Action::Amend, Action::Cancel, Action::Pay],
            Status::Pending | Status::Reserved => &[Action::Amend, Action::Cancel],
            Status::Confirmed => &[Action::Cancel],
            Status::Rejected | Status::Cancelled | Status::Expired => &[],
        }
    }

    /// Whether no payment is under way.
    fn awaits_payment(&self) -> bool {
        matches!(self.payment_status, PaymentStatus::None | PaymentStatus::Declined | PaymentStatus::Voided)
    }
}

impl Change {
    /// What `event` changes. The placing changes nothing: it begins the order, see [`Order::placed`].
    pub fn of(event: &OrderEvent) -> Self {
        match event {
            OrderEvent::Placed(_) => Self::default(),
            OrderEvent::Amended(amended) => Self {
                revision: Some(amended.revision),
                total: Some(amended.total),
                lines: Some(Lines::of(&amended.lines)),
                ..Self::to(Status::Pending, PaymentStatus::None)
            },
            OrderEvent::Reserved(reserved) if reserved.payment.is_some() => {
                Self::to(Status::Reserved, PaymentStatus::Authorizing)
            }
            OrderEvent::Reserved(_) => Self::to(Status::Reserved, PaymentStatus::None),
            OrderEvent::PaymentDeclined(_) => Self { declines: 1, ..Self::of_payment(PaymentStatus::Declined) },
            OrderEvent::PaymentUpdated(updated) => Self::of_payment(updated.status),
            OrderEvent::Confirmed(_) => Self::to(Status::Confirmed, PaymentStatus::Authorized),
            OrderEvent::Paid(_) => Self::of_payment(PaymentStatus::Captured),
            OrderEvent::Rejected(rejected) => Self::of_rejection(rejected),
            OrderEvent::Expired(_) => Self { status: Some(Status::Expired), ..Self::default() },
            OrderEvent::Cancelled(cancelled) => Self {
                status: Some(Status::Cancelled),
                reason: Some(cancelled.reason.as_str().into()),
                ..Self::default()
            },
        }
    }

    /// This change and then a later one.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            status: later.status.or(self.status),
            payment_status: later.payment_status.or(self.payment_status),
            revision: later.revision.or(self.revision),
            total: later.total.or(self.total),
            lines: later.lines.or(self.lines),
            reason: later.reason.or(self.reason),
            shortages: later.shortages.or(self.shortages),
            declines: self.declines + later.declines,
        }
    }

    fn to(status: Status, payment_status: PaymentStatus) -> Self {
        Self { status: Some(status), ..Self::of_payment(payment_status) }
    }

    fn of_payment(status: PaymentStatus) -> Self {
        Self { payment_status: Some(status), ..Self::default() }
    }

    fn of_rejection(rejected: &Rejected) -> Self {
        let rejection = Self {
            status: Some(Status::Rejected),
            reason: Some(rejected.reason.as_str().into()),
            shortages: Some(rejected.shortages.clone()),
            ..Self::default()
        };
        match rejected.reason {
            RejectionReason::OutOfStock => rejection,
            RejectionReason::PaymentDeclined => {
                rejection.then(Self { declines: 1, ..Self::of_payment(PaymentStatus::Declined) })
            }
        }
    }
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Reserved, Self::Confirmed, Self::Rejected, Self::Cancelled, Self::Expired];

    /// Its name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Reserved => "reserved",
            Self::Confirmed => "confirmed",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether it still waits for stock or payment, and so for its deadline.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Reserved)
    }

    /// Whether it never changes again.
    pub fn is_dead(self) -> bool {
        matches!(self, Self::Rejected | Self::Cancelled | Self::Expired)
    }
}

impl Action {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amend => "amend",
            Self::Cancel => "cancel",
            Self::Pay => "pay",
        }
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
