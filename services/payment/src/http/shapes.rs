//! What clients send and see.

use chrono::{DateTime, Utc};
use contract::Currency;
use contract::envelope::TYPE_PREFIX;
use contract::event::UnreadableData;
use contract::payment::PaymentEvent;
use journal::StoredEvent;
use journal::idempotency::Key;
use process::{Problem, Violation};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::payment::{Account, Command, Payment, payment_of};

/// The longest token, in characters; providers' tokens have some dozens. It is kept with each attempt.
const MAX_TOKEN_CHARACTERS: usize = 255;

/// A payment to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PaymentRequest {
    /// The order to pay.
    pub order_id: Uuid,
    /// The provider's token of the customer's card or account.
    #[schema(min_length = 1, max_length = 255, example = "tok_ok")]
    token: String,
    /// What the caller believes is due, in the minor unit; refused when it is not.
    #[schema(minimum = 0)]
    amount: Option<i64>,
}

/// Which payments are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// The order whose payments are wanted
    pub order_id: Uuid,
}

/// A payment: one attempt to pay for an order.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Payment)]
pub(super) struct PaymentAnswer {
    /// Its id.
    id: Uuid,
    /// The order it pays.
    order_id: Uuid,
    /// Its number, 1 for the order's first.
    attempt: i32,
    /// Where it stands.
    #[schema(inline)]
    status: ShownStatus,
    /// The money, in the minor unit.
    amount: i64,
    /// Its currency.
    currency: Currency,
    /// The provider's reason, when it declined.
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<String>,
    /// When it began.
    created_at: DateTime<Utc>,
    /// When it last changed.
    updated_at: DateTime<Utc>,
}

/// A payment and how it came to be what it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PaymentWithHistory {
    /// The payment.
    #[serde(flatten)]
    payment: PaymentAnswer,
    /// What happened to it, oldest first.
    history: Vec<HistoryEntry>,
}

/// One event of a payment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HistoryEntry {
    /// Its number among the events of the order's payments.
    version: i32,
    /// What it means, as in its `CloudEvents` type.
    #[serde(rename = "type")]
    #[schema(example = "ordersystem.payment.authorized.v1")]
    kind: String,
    /// When it happened.
    at: DateTime<Utc>,
    /// The event that caused it; null when a request or the provider did.
    #[schema(required)]
    causation_id: Option<Uuid>,
    /// Its data, by its type.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

/// The payments of an order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PaymentList {
    /// The payments, in the order of the attempts.
    data: Vec<PaymentWithHistory>,
    /// Always null: an order's attempts fit one page.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Where a payment stands, as clients see it. What the provider is asked to do does not show until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ShownStatus {
    /// The provider is asked to hold the money.
    Authorizing,
    /// The provider did not answer; it is asked what became of it.
    Unknown,
    /// The provider holds the money.
    Authorized,
    /// The money is ours.
    Captured,
    /// The provider refused.
    Declined,
    /// The provider let the money go.
    Voided,
    /// The money was given back.
    Refunded,
}

impl PaymentRequest {
    /// What is asked of the order's account.
    pub fn command(self) -> Result<Command, Problem> {
        let mut violations = Vec::new();
        let visible = |c: char| !c.is_control() && !c.is_whitespace();
        if !(1..=MAX_TOKEN_CHARACTERS).contains(&self.token.chars().count()) || !self.token.chars().all(visible) {
            let rule = format!("has 1 to {MAX_TOKEN_CHARACTERS} visible characters");
            violations.push(Violation::new("/token", rule));
        }
        if self.amount.is_some_and(i64::is_negative) {
            violations.push(Violation::new("/amount", "is at least 0"));
        }
        if violations.is_empty() {
            Ok(Command::Pay { token: self.token, amount: self.amount })
        } else {
            Err(Problem::validation_failed(violations))
        }
    }

    /// The idempotency key `text` for this request. Each order has keys of its own, which are settled in its lane.
    pub fn key(&self, text: &str) -> Key {
        Key::of(self.order_id.to_string(), text, &(&self.token, self.amount))
    }
}

impl PaymentAnswer {
    /// A payment of `order` that begins at `at`.
    pub fn begun(order: Uuid, payment: &Payment, at: DateTime<Utc>) -> Self {
        Self {
            id: payment.id,
            order_id: order,
            attempt: payment.attempt,
            status: ShownStatus::Authorizing,
            amount: payment.amount,
            currency: payment.currency,
            decline_code: None,
            created_at: at,
            updated_at: at,
        }
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    fn tell(&mut self, event: &PaymentEvent, at: DateTime<Utc>) {
        self.updated_at = at;
        self.status = match event {
            PaymentEvent::Authorized(_) => ShownStatus::Authorized,
            PaymentEvent::Declined(declined) => {
                self.decline_code = Some(declined.code.clone());
                ShownStatus::Declined
            }
            PaymentEvent::Unknown(_) => ShownStatus::Unknown,
            PaymentEvent::Captured(_) => ShownStatus::Captured,
            PaymentEvent::Voided(_) => ShownStatus::Voided,
            PaymentEvent::Refunded(_) => ShownStatus::Refunded,
            PaymentEvent::Expected(_)
            | PaymentEvent::Started(_)
            | PaymentEvent::CaptureRequested(_)
            | PaymentEvent::VoidRequested(_)
            | PaymentEvent::RefundRequested(_)
            | PaymentEvent::Closed(_) => self.status,
        };
    }
}

impl PaymentWithHistory {
    /// The payments of an order that its stream tells of, in the order of the attempts.
    pub fn all(order: Uuid, events: Vec<StoredEvent>) -> Result<Vec<Self>, UnreadableData> {
        let mut account = Account::unheard(order);
        let mut payments: Vec<Self> = Vec::new();
        for stored in events {
            let Some(event) = PaymentEvent::decode(&stored.kind, stored.bytes())? else { continue };
            account.evolve(&event);
            let named = account.payment.as_ref().filter(|payment| payment_of(&event) == Some(payment.id));
            let Some(payment) = named else { continue };
            if matches!(event, PaymentEvent::Started(_)) {
                payments.push(PaymentAnswer::begun(order, payment, stored.at).into());
            }
            if let Some(latest) = payments.last_mut() {
                latest.payment.tell(&event, stored.at);
                latest.history.push(stored.into());
            }
        }
        Ok(payments)
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.payment.id
    }

    /// The payment alone.
    pub fn into_payment(self) -> PaymentAnswer {
        self.payment
    }
}

impl From<PaymentAnswer> for PaymentWithHistory {
    fn from(payment: PaymentAnswer) -> Self {
        Self { payment, history: Vec::new() }
    }
}

impl From<StoredEvent> for HistoryEntry {
    fn from(event: StoredEvent) -> Self {
        let StoredEvent { version, kind, at, cause: causation_id, data } = event;
        Self { version, kind: format!("{TYPE_PREFIX}{kind}"), at, causation_id, data }
    }
}

impl From<Vec<PaymentWithHistory>> for PaymentList {
    fn from(data: Vec<PaymentWithHistory>) -> Self {
        Self { data, next_cursor: None }
    }
}
