//! What the other services report about an order, and what comes of it.
//!
//! A fact is never refused: it has happened. One that no longer fits is counted and ignored, because whoever reported it
//! puts things right when it reads the order's own event.

use contract::{
    Currency,
    order::{
        Confirmed, OrderEvent, Paid, PaymentDeclined, PaymentStatus, PaymentUpdated, Rejected, RejectionReason,
        Reserved,
    },
    stock::Shortage,
};
use uuid::Uuid;

use super::{Order, Policy, Status};

/// Something that happened to one revision of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// The revision.
    pub revision: i32,
    /// What happened.
    pub news: News,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Stock is held for every line.
    StockReserved,
    /// At least one product is short.
    StockRejected(Vec<Shortage>),
    /// The provider is being asked for this payment.
    PaymentStarted(Uuid),
    /// The provider holds the money.
    PaymentAuthorized {
        /// The payment.
        payment: Uuid,
        /// How much, in the minor unit.
        amount: i64,
        /// Of which currency.
        currency: Currency,
    },
    /// The provider refused.
    PaymentDeclined {
        /// The payment.
        payment: Uuid,
        /// The provider's reason.
        code: String,
        /// Whether the provider wants no further attempt.
        for_good: bool,
    },
    /// The provider did not answer; it is being asked what became of this payment.
    PaymentUnknown(Uuid),
    /// The money was taken.
    PaymentCaptured {
        /// The payment.
        payment: Uuid,
        /// How much, in the minor unit.
        amount: i64,
    },
    /// The money was let go.
    PaymentVoided(Uuid),
    /// The money was given back.
    PaymentRefunded(Uuid),
}

/// Why a fact is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// There is no such order.
    UnknownOrder,
    /// It is about another revision than the current one.
    StaleRevision,
    /// The order's status does not admit it.
    Illegal,
    /// Another amount than the order's total was authorized.
    OtherAmount,
    /// The order says so already.
    Known,
}

/// The event that `fact` brings about.
pub fn learn(order: &Order, fact: &Fact, policy: Policy) -> Result<OrderEvent, Ignored> {
    use Status::{Cancelled, Confirmed, Expired, Pending, Rejected, Reserved};
    // No payment begins for a dead order, so the last that is heard of any of its payments is where its money is.
    if fact.revision != order.shown.revision && !order.shown.status.is_dead() {
        return Err(Ignored::StaleRevision);
    }
    match (order.shown.status, &fact.news) {
        (Pending, News::StockReserved) => Ok(order.reserve()),
        (Pending, News::StockRejected(shortages)) => Ok(order.reject(RejectionReason::OutOfStock, shortages.clone())),
        (Reserved, News::PaymentStarted(payment)) => order.update(*payment, PaymentStatus::Authorizing),
        (Reserved, News::PaymentAuthorized { payment, amount, currency }) => {
            order.confirm(*payment, *amount, *currency)
        }
        (Reserved, News::PaymentDeclined { payment, code, for_good }) => {
            Ok(order.decline(*payment, code, *for_good, policy))
        }
        (Confirmed, News::PaymentCaptured { payment, amount }) => order.pay(*payment, *amount),
        // The money of a dead order still moves until it is back where it came from; readers are told.
        (Rejected | Cancelled | Expired, News::PaymentAuthorized { payment, .. }) => {
            order.update(*payment, PaymentStatus::Authorized)
        }
        (Rejected | Cancelled | Expired, News::PaymentDeclined { payment, .. }) => {
            order.update(*payment, PaymentStatus::Declined)
        }
        (Rejected | Cancelled | Expired, News::PaymentCaptured { payment, .. }) => {
            order.update(*payment, PaymentStatus::Captured)
        }
        (Pending, _) => Err(Ignored::Illegal),
        (_, News::PaymentUnknown(payment)) => order.update(*payment, PaymentStatus::Unknown),
        (_, News::PaymentVoided(payment)) => order.update(*payment, PaymentStatus::Voided),
        (_, News::PaymentRefunded(payment)) => order.update(*payment, PaymentStatus::Refunded),
        _ => Err(Ignored::Illegal),
    }
}

impl Order {
    fn reserve(&self) -> OrderEvent {
        let (revision, total, currency) = (self.shown.revision, self.shown.total, self.shown.currency);
        OrderEvent::Reserved(Reserved { revision, total, currency, payment: self.payment.clone() })
    }

    fn reject(&self, reason: RejectionReason, shortages: Vec<Shortage>) -> OrderEvent {
        OrderEvent::Rejected(Rejected { reason, shortages, customer_id: self.shown.customer_id.clone() })
    }

    fn confirm(&self, payment_id: Uuid, amount: i64, currency: Currency) -> Result<OrderEvent, Ignored> {
        if (amount, currency) != (self.shown.total, self.shown.currency) {
            return Err(Ignored::OtherAmount);
        }
        let (revision, customer_id) = (self.shown.revision, self.shown.customer_id.clone());
        Ok(OrderEvent::Confirmed(Confirmed { revision, payment_id, customer_id }))
    }

    fn decline(&self, payment_id: Uuid, code: &str, for_good: bool, policy: Policy) -> OrderEvent {
        if for_good || self.declines + 1 >= policy.payment_attempts {
            return self.reject(RejectionReason::PaymentDeclined, Vec::new());
        }
        let (code, customer_id) = (code.to_owned(), self.shown.customer_id.clone());
        OrderEvent::PaymentDeclined(PaymentDeclined { payment_id, code, customer_id })
    }

    fn pay(&self, payment_id: Uuid, amount: i64) -> Result<OrderEvent, Ignored> {
        match self.shown.payment_status {
            PaymentStatus::Captured => Err(Ignored::Known),
            _ => Ok(OrderEvent::Paid(Paid { payment_id, amount })),
        }
    }

    fn update(&self, payment_id: Uuid, status: PaymentStatus) -> Result<OrderEvent, Ignored> {
        if self.shown.payment_status == status {
            return Err(Ignored::Known);
        }
        let customer_id = self.shown.customer_id.clone();
        Ok(OrderEvent::PaymentUpdated(PaymentUpdated { payment_id, status, customer_id }))
    }
}

impl Ignored {
    /// Its name in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownOrder => "unknown_order",
            Self::StaleRevision => "stale_revision",
            Self::Illegal => "illegal",
            Self::OtherAmount => "other_amount",
            Self::Known => "known",
        }
    }
}
