//! One attempt to pay.

use contract::Currency;
use contract::payment::{Amount, Attempt, PaymentEvent, Started};
use serde::Deserialize;
use uuid::Uuid;

/// One attempt to pay for an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The attempt's own id, and the provider's idempotency key.
    pub id: Uuid,
    /// Its number, 1 for the order's first.
    pub attempt: i32,
    /// The order's revision that it pays.
    pub revision: i32,
    /// Where it stands.
    pub status: Status,
    /// The money, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// The provider's token of the customer's card or account.
    pub token: String,
    /// The provider's reason, when it declined.
    pub decline_code: Option<String>,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The provider is asked to hold the money.
    Authorizing,
    /// The provider did not answer; it is asked what became of it.
    Unknown,
    /// The provider holds the money.
    Authorized,
    /// The provider is asked to hand the money over.
    Capturing,
    /// The money is ours.
    Captured,
    /// The provider refused.
    Declined,
    /// The provider is asked to let the money go.
    Voiding,
    /// The provider let the money go.
    Voided,
    /// The provider is asked to give the money back.
    Refunding,
    /// The money was given back.
    Refunded,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 10] = [
        Self::Authorizing,
        Self::Unknown,
        Self::Authorized,
        Self::Capturing,
        Self::Captured,
        Self::Declined,
        Self::Voiding,
        Self::Voided,
        Self::Refunding,
        Self::Refunded,
    ];

    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorizing => "authorizing",
            Self::Unknown => "unknown",
            Self::Authorized => "authorized",
            Self::Capturing => "capturing",
            Self::Captured => "captured",
            Self::Declined => "declined",
            Self::Voiding => "voiding",
            Self::Voided => "voided",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
        }
    }

    /// Whether money is, or may be, held or kept under this attempt. An order has at most one such attempt.
    pub fn is_live(self) -> bool {
        !matches!(self, Self::Declined | Self::Voided | Self::Refunded)
    }

    /// Whether this attempt is not at rest: the provider is asked something, or will be soon.
    pub fn is_open(self) -> bool {
        self.is_live() && self != Self::Captured
    }
}

impl Payment {
    /// Applies an event that names this attempt.
    pub(super) fn evolve(&mut self, event: &PaymentEvent) {
        self.status = match event {
            PaymentEvent::Expected(_) | PaymentEvent::Closed(_) => return,
            PaymentEvent::Started(_) => Status::Authorizing,
            PaymentEvent::Authorized(_) => Status::Authorized,
            PaymentEvent::Declined(declined) => {
                self.decline_code = Some(declined.code.clone());
                Status::Declined
            }
            PaymentEvent::Unknown(_) => Status::Unknown,
            PaymentEvent::CaptureRequested(_) => Status::Capturing,
            PaymentEvent::Captured(_) => Status::Captured,
            PaymentEvent::VoidRequested(_) => Status::Voiding,
            PaymentEvent::Voided(_) => Status::Voided,
            PaymentEvent::RefundRequested(_) => Status::Refunding,
            PaymentEvent::Refunded(_) => Status::Refunded,
        };
    }

    /// The attempt as the events about money name it.
    pub(super) fn money(&self) -> Amount {
        Amount { payment_id: self.id, revision: self.revision, amount: self.amount, currency: self.currency }
    }

    /// The attempt as the events about requests name it.
    pub(super) fn named(&self) -> Attempt {
        Attempt { payment_id: self.id, revision: self.revision }
    }
}

impl From<&Started> for Payment {
    fn from(started: &Started) -> Self {
        let Started { payment_id, attempt, revision, amount, currency, token } = started.clone();
        let (status, decline_code) = (Status::Authorizing, None);
        Self { id: payment_id, attempt, revision, status, amount, currency, token, decline_code }
    }
}

/// The attempt that an event is about; nothing when it is about the account as a whole.
pub fn payment_of(event: &PaymentEvent) -> Option<Uuid> {
    match event {
        PaymentEvent::Expected(_) | PaymentEvent::Closed(_) => None,
        PaymentEvent::Started(started) => Some(started.payment_id),
        PaymentEvent::Declined(declined) => Some(declined.payment_id),
        PaymentEvent::Unknown(attempt)
        | PaymentEvent::CaptureRequested(attempt)
        | PaymentEvent::VoidRequested(attempt)
        | PaymentEvent::RefundRequested(attempt) => Some(attempt.payment_id),
        PaymentEvent::Authorized(money)
        | PaymentEvent::Captured(money)
        | PaymentEvent::Voided(money)
        | PaymentEvent::Refunded(money) => Some(money.payment_id),
    }
}
