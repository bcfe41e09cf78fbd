//! What a command leads to.

use contract::Currency;
use contract::payment::{Closed, Declined, Expected, PaymentEvent, Started};
use uuid::Uuid;

use super::{Account, CallError, Command, Outcome, Payment, Rejection, Status, Terms};

/// What a command leads to: events, or the reason why there are none.
pub type Decided = Result<Vec<PaymentEvent>, Rejection>;

impl Account {
    /// What a command leads to. A rejected command changes nothing. `fresh` is an id that no attempt has, for the one
    /// that may start.
    pub fn decide(&self, command: &Command, fresh: Uuid) -> Decided {
        match command {
            Command::Expect { amount, currency } => self.expect(*amount, *currency),
            Command::Amend { revision, amount } => self.amend(*revision, *amount),
            Command::Collect { revision, amount, currency, token } => {
                let (revision, amount, currency, token) = (*revision, *amount, *currency, token.clone());
                self.collect(Terms { revision, amount, currency, welcome: true, token }, fresh)
            }
            Command::Pay { token, amount } => self.pay(token, *amount, fresh),
            Command::Capture { payment } => self.capture(*payment),
            Command::Close => self.close(),
            Command::Answer { payment, result, .. } => self.answer(*payment, result, fresh),
        }
    }

    fn expect(&self, amount: i64, currency: Currency) -> Decided {
        if self.version > 0 {
            return Err(Rejection::Stale);
        }
        Ok(vec![PaymentEvent::Expected(Expected { revision: 1, amount, currency, open: false, token: None })])
    }

    fn amend(&self, revision: i32, amount: i64) -> Decided {
        let Some(terms) = &self.terms else {
            // The order brings its method, so the account begins when stock is held, with all that there is to know.
            return if self.closed { Err(Rejection::Stale) } else { Ok(Vec::new()) };
        };
        if self.closed || revision <= terms.revision {
            return Err(Rejection::Stale);
        }
        let expected = Expected { revision, amount, currency: terms.currency, open: false, token: None };
        Ok([PaymentEvent::Expected(expected)].into_iter().chain(self.undo()).collect())
    }

    fn collect(&self, terms: Terms, fresh: Uuid) -> Decided {
        if self.closed || self.began(terms.revision) {
            return Err(Rejection::Stale);
        }
        if !self.is_live()
            && let Some(token) = &terms.token
        {
            return Ok(vec![self.start(&terms, token, fresh)]);
        }
        let Terms { revision, amount, currency, welcome: open, token } = terms;
        Ok(vec![PaymentEvent::Expected(Expected { revision, amount, currency, open, token })])
    }

    /// Whether payment of this revision, or of a later one, was welcome before.
    fn began(&self, revision: i32) -> bool {
        let paid = self.payment.as_ref().map(|payment| payment.revision);
        self.terms.as_ref().is_some_and(|terms| {
            terms.revision > revision || terms.revision == revision && (terms.welcome || paid == Some(revision))
        })
    }

    fn pay(&self, token: &str, amount: Option<i64>, fresh: Uuid) -> Decided {
        if self.version == 0 {
            return Err(Rejection::UnknownOrder);
        }
        let welcome = self.terms.as_ref().filter(|terms| terms.welcome && !self.closed && !self.is_paid());
        let terms = welcome.ok_or(Rejection::NotExpected)?;
        if self.is_live() {
            return Err(Rejection::AlreadyActive);
        }
        if amount.is_some_and(|amount| amount != terms.amount) {
            return Err(Rejection::OtherAmount { due: terms.amount });
        }
        Ok(vec![self.start(terms, token, fresh)])
    }

    fn capture(&self, payment: Uuid) -> Decided {
        let named = self.payment.as_ref().filter(|latest| latest.id == payment);
        let ready = named.filter(|latest| latest.status == Status::Authorized && self.wants(latest));
        let payment = ready.ok_or(Rejection::Stale)?;
        Ok(vec![PaymentEvent::CaptureRequested(payment.named())])
    }

    fn close(&self) -> Decided {
        if self.closed {
            return Err(Rejection::Stale);
        }
        Ok([PaymentEvent::Closed(Closed {})].into_iter().chain(self.undo()).collect())
    }

    fn answer(&self, payment: Uuid, result: &Result<Outcome, CallError>, fresh: Uuid) -> Decided {
        use Status::{Authorizing, Capturing, Refunding, Unknown, Voiding};
        let payment = self.payment.as_ref().filter(|latest| latest.id == payment).ok_or(Rejection::Stale)?;
        let event = match (payment.status, result) {
            (Authorizing | Unknown, Ok(Outcome::Authorized)) => PaymentEvent::Authorized(payment.money()),
            (Authorizing | Unknown, Ok(Outcome::Declined { code, for_good })) => declined(payment, code, *for_good),
            (Authorizing, Err(CallError::Timeout)) => PaymentEvent::Unknown(payment.named()),
            // Whatever is held is not what was asked for: it goes back, and another attempt may come.
            (Authorizing | Unknown, Err(CallError::OtherAmount)) => PaymentEvent::VoidRequested(payment.named()),
            // The request may still be on its way, and must find the door closed.
            (Unknown, Ok(Outcome::NotFound)) if !self.wants(payment) => PaymentEvent::VoidRequested(payment.named()),
            (Capturing, Ok(Outcome::Captured)) => PaymentEvent::Captured(payment.money()),
            (Voiding, Ok(Outcome::Voided)) => PaymentEvent::Voided(payment.money()),
            (Refunding, Ok(Outcome::Refunded)) => PaymentEvent::Refunded(payment.money()),
            _ => return Err(Rejection::Stale),
        };
        Ok(self.with_consequence(event, fresh))
    }

    /// An answer's event, and what the order makes of it: money that is not wanted goes back, and an attempt that ended
    /// makes room for the one that waits.
    fn with_consequence(&self, event: PaymentEvent, fresh: Uuid) -> Vec<PaymentEvent> {
        let mut after = self.clone();
        after.evolve(&event);
        let unwanted = after.payment.as_ref().is_some_and(|payment| !after.wants(payment));
        let consequence = if unwanted { after.undo().or_else(|| after.start_waiting(fresh)) } else { None };
        [event].into_iter().chain(consequence).collect()
    }

    /// The request that takes back what the latest attempt reached; nothing as long as the provider still has to answer,
    /// or when there is nothing to take back.
    fn undo(&self) -> Option<PaymentEvent> {
        let payment = self.payment.as_ref()?;
        match payment.status {
            Status::Authorized => Some(PaymentEvent::VoidRequested(payment.named())),
            Status::Captured => Some(PaymentEvent::RefundRequested(payment.named())),
            _ => None,
        }
    }

    fn start_waiting(&self, fresh: Uuid) -> Option<PaymentEvent> {
        let terms = self.terms.as_ref().filter(|terms| terms.welcome && !self.closed && !self.is_live())?;
        Some(self.start(terms, terms.token.as_deref()?, fresh))
    }

    fn start(&self, terms: &Terms, token: &str, fresh: Uuid) -> PaymentEvent {
        PaymentEvent::Started(Started {
            payment_id: fresh,
            attempt: self.payment.as_ref().map_or(1, |payment| payment.attempt + 1),
            revision: terms.revision,
            amount: terms.amount,
            currency: terms.currency,
            token: token.to_owned(),
        })
    }

    fn is_live(&self) -> bool {
        self.payment.as_ref().is_some_and(|payment| payment.status.is_live())
    }

    /// Whether the order's money was taken, or is being taken.
    fn is_paid(&self) -> bool {
        let status = self.payment.as_ref().map(|payment| payment.status);
        matches!(status, Some(Status::Capturing | Status::Captured | Status::Refunding | Status::Refunded))
    }
}

fn declined(payment: &Payment, code: &str, for_good: bool) -> PaymentEvent {
    let (payment_id, revision) = (payment.id, payment.revision);
    PaymentEvent::Declined(Declined { payment_id, revision, code: code.to_owned(), for_good })
}
