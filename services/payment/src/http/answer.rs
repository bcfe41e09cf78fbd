//! What clients see.

use chrono::{DateTime, Utc};
use contract::Currency;
use contract::event::UnreadableData;
use contract::payment::PaymentEvent;
use journal::StoredEvent;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::payment::{Account, Payment, payment_of};

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
    history: Vec<StoredEvent>,
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
                latest.history.push(stored.conceal("/token"));
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

impl From<Vec<PaymentWithHistory>> for PaymentList {
    fn from(data: Vec<PaymentWithHistory>) -> Self {
        Self { data, next_cursor: None }
    }
}
