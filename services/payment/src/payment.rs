//! An order's account with the payment provider: the rules, and nothing else.
//!
//! An order has one account and pays it by attempts, of which at most one is live. What the order's events ask for and
//! what the provider answers both lead to events of the account; what the provider is to be asked next follows from the
//! account alone, see [`Account::next_call`]. So nothing is lost with the process that was about to ask.

mod attempt;
mod call;
mod decide;
mod ledger;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use contract::Currency;
use contract::payment::{Expected, PaymentEvent, Started};
use uuid::Uuid;

pub use attempt::{Payment, Status, payment_of};
pub use call::{Call, CallError, Outcome, Reply, Step, pause};
pub use ledger::{Kind, LedgerAccount, Posting, postings};

/// Where an order's payment stands: the fold of the events of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The order.
    pub order: Uuid,
    /// The number of the last event; 0 when nobody told us of the order.
    pub version: i32,
    /// What is to be paid, once that is known.
    pub terms: Option<Terms>,
    /// Whether the order is dead, so that no payment is welcome any more.
    pub closed: bool,
    /// The latest attempt to pay.
    pub payment: Option<Payment>,
}

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The order's revision.
    pub revision: i32,
    /// Its total, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// Whether a payment may start: stock is held, and the provider did not refuse for good.
    pub welcome: bool,
    /// What to pay with as soon as the attempt for the revision before has ended.
    pub token: Option<String>,
}

/// What may be asked of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The order was placed, and its payment will come from outside.
    Expect {
        /// What is to be paid, in the minor unit.
        amount: i64,
        /// Its currency.
        currency: Currency,
    },
    /// The order was amended: what was begun for the revision before is void.
    Amend {
        /// The new revision.
        revision: i32,
        /// What is to be paid now, in the minor unit.
        amount: i64,
    },
    /// Stock is held for this revision: payment may start, and does if there is something to pay with.
    Collect {
        /// The revision.
        revision: i32,
        /// What is to be paid, in the minor unit.
        amount: i64,
        /// Its currency.
        currency: Currency,
        /// What to pay with, when the order says so.
        token: Option<String>,
    },
    /// Someone pays.
    Pay {
        /// What with.
        token: String,
        /// How much they believe it is, in the minor unit.
        amount: Option<i64>,
    },
    /// The order stands on this payment: take the money.
    Capture {
        /// The payment.
        payment: Uuid,
    },
    /// The order is dead: nothing is to be held or kept of its money.
    Close,
    /// The provider was asked about this payment.
    Answer {
        /// The payment.
        payment: Uuid,
        /// What it was asked.
        step: Step,
        /// What came of it.
        result: Result<Outcome, CallError>,
    },
}

/// Why a command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such order wants a payment, or not yet.
    #[error("no payment is known of for this order")]
    UnknownOrder,
    /// The order waits for stock, was paid, or is dead.
    #[error("the order does not wait for a payment")]
    NotExpected,
    /// An attempt is under way; it has to end first.
    #[error("a payment of the order is under way")]
    AlreadyActive,
    /// They would pay another amount than what is due.
    #[error("{due} is to be paid")]
    OtherAmount {
        /// What is due, in the minor unit.
        due: i64,
    },
    /// A fact came again, or after a later one: what it tells was settled before.
    #[error("the account was settled past this before")]
    Stale,
}

impl Account {
    /// The account of an order that nobody told us of.
    pub fn unheard(order: Uuid) -> Self {
        Self { order, version: 0, terms: None, closed: false, payment: None }
    }

    /// The account that the events of an order's stream lead to.
    pub fn fold<'e>(order: Uuid, events: impl IntoIterator<Item = &'e PaymentEvent>) -> Self {
        let mut account = Self::unheard(order);
        for event in events {
            account.evolve(event);
        }
        account
    }

    /// Every attempt that the events of an order's stream tell of, in order.
    pub fn attempts<'e>(order: Uuid, events: impl IntoIterator<Item = &'e PaymentEvent>) -> Vec<Payment> {
        let mut account = Self::unheard(order);
        let mut attempts: Vec<Payment> = Vec::new();
        for event in events {
            account.evolve(event);
            let Some(payment) = &account.payment else { continue };
            match attempts.last_mut().filter(|last| last.id == payment.id) {
                Some(last) => last.clone_from(payment),
                None => attempts.push(payment.clone()),
            }
        }
        attempts
    }

    /// Applies the next event of the stream.
    pub fn evolve(&mut self, event: &PaymentEvent) {
        self.version += 1;
        match event {
            PaymentEvent::Expected(expected) => self.terms = Some(Terms::from(expected)),
            PaymentEvent::Started(started) => {
                self.terms = Some(Terms::from(started));
                self.payment = Some(Payment::from(started));
            }
            PaymentEvent::Closed(_) => self.closed = true,
            PaymentEvent::Declined(declined) => {
                if let Some(terms) = self.terms.as_mut().filter(|terms| terms.revision == declined.revision) {
                    terms.welcome &= !declined.for_good;
                }
                self.evolve_payment(event);
            }
            _ => self.evolve_payment(event),
        }
    }

    fn evolve_payment(&mut self, event: &PaymentEvent) {
        if let Some(payment) = &mut self.payment {
            payment.evolve(event);
        }
    }

    /// Whether the order still wants the latest attempt: it lives, and in the revision that the attempt pays.
    fn wants(&self, payment: &Payment) -> bool {
        let revision = self.terms.as_ref().map(|terms| terms.revision);
        !self.closed && revision == Some(payment.revision)
    }
}

/// Whether an event changes what an account holds beside its latest attempt.
pub fn concerns_terms(event: &PaymentEvent) -> bool {
    match event {
        PaymentEvent::Expected(_) | PaymentEvent::Started(_) | PaymentEvent::Closed(_) => true,
        PaymentEvent::Declined(declined) => declined.for_good,
        _ => false,
    }
}

impl From<&Expected> for Terms {
    fn from(expected: &Expected) -> Self {
        let Expected { revision, amount, currency, open, token } = expected.clone();
        Self { revision, amount, currency, welcome: open, token }
    }
}

impl From<&Started> for Terms {
    fn from(started: &Started) -> Self {
        let Started { revision, amount, currency, .. } = *started;
        Self { revision, amount, currency, welcome: true, token: None }
    }
}
