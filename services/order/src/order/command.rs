//! What people and the clock ask of an order, and what comes of it.

use chrono::{DateTime, TimeDelta, Utc};
use contract::{
    Currency, CustomerId,
    order::{Amended, Cancelled, Expired, Line, OrderEvent, PaymentMethod, Placed},
};
use serde::Serialize;

use super::{Action, Order, Shown, Status};

/// What the operator sets.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long an order waits for stock and payment.
    pub payment_timeout: TimeDelta,
    /// The declined payment with this number, counted from 1, is the last.
    pub payment_attempts: i32,
}

/// An order that someone wants to place. It was checked: ids, quantities and prices are in range, the total is exact.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// Who orders.
    pub customer_id: CustomerId,
    /// The currency of every price.
    pub currency: Currency,
    /// What is ordered.
    pub lines: Vec<Line>,
    /// The sum of quantity times price, in the minor unit.
    pub total: i64,
    /// How it will be paid, when that is known already.
    pub payment: Option<PaymentMethod>,
}

/// New lines for an order, checked as those of [`Place`] are.
#[derive(Clone, Debug, PartialEq)]
pub struct Amendment {
    /// The lines.
    pub lines: Vec<Line>,
    /// Their total, in the minor unit.
    pub total: i64,
    /// The currencies that lines name, with the lines' places, counted from 0. They must be the order's.
    pub named: Vec<(usize, Currency)>,
}

/// What is asked of an order that exists.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Replace the lines.
    Amend {
        /// The version that the caller has seen.
        if_match: IfMatch,
        /// What to replace them by.
        amendment: Amendment,
    },
    /// Call it off.
    Cancel {
        /// The version that the caller has seen.
        if_match: IfMatch,
        /// Why.
        reason: String,
    },
    /// End it if its deadline has passed.
    Expire,
}

/// The versions that a caller expects an order to have (RFC 9110, 13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Whichever it has.
    Any,
    /// One of these.
    Versions(Vec<i32>),
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The order has another version than the caller expects.
    VersionMismatch {
        /// The version it has.
        current: i32,
    },
    /// The order's status does not admit it.
    Conflict {
        /// The status.
        status: Status,
        /// What it does admit.
        allowed: &'static [Action],
    },
    /// These lines, counted from 0, name another currency than the order's.
    OtherCurrency {
        /// The order's currency.
        currency: Currency,
        /// The lines.
        lines: Vec<usize>,
    },
}

impl Place {
    /// The event that places the order at `now`.
    pub fn decide(&self, policy: Policy, now: DateTime<Utc>) -> Placed {
        Placed {
            customer_id: self.customer_id.clone(),
            currency: self.currency,
            lines: self.lines.clone(),
            total: self.total,
            payment: self.payment.clone(),
            expires_at: now + policy.payment_timeout,
        }
    }
}

/// The event that `command` brings about at `now`; nothing when it asks for what already is.
pub fn decide(order: &Order, command: &Command, now: DateTime<Utc>) -> Result<Option<OrderEvent>, Refusal> {
    use Status::{Cancelled as Dropped, Confirmed, Pending, Reserved};
    let order = &order.shown;
    match (command, order.status) {
        (Command::Cancel { .. }, Dropped) => Ok(None),
        (Command::Cancel { if_match, reason }, Pending | Reserved | Confirmed) => {
            order.must_match(if_match)?;
            let customer_id = order.customer_id.clone();
            Ok(Some(OrderEvent::Cancelled(Cancelled { reason: reason.clone(), customer_id })))
        }
        (Command::Amend { if_match, amendment }, Pending | Reserved) => {
            order.must_match(if_match)?;
            amendment.decide(order).map(Some)
        }
        (Command::Cancel { if_match, .. } | Command::Amend { if_match, .. }, status) => {
            order.must_match(if_match)?;
            Err(Refusal::Conflict { status, allowed: order.allowed_actions() })
        }
        (Command::Expire, Pending | Reserved) if order.expires_at <= now => {
            Ok(Some(OrderEvent::Expired(Expired { customer_id: order.customer_id.clone() })))
        }
        (Command::Expire, _) => Ok(None),
    }
}

impl Amendment {
    fn decide(&self, order: &Shown) -> Result<OrderEvent, Refusal> {
        let others = self.named.iter().filter(|(_, named)| *named != order.currency);
        let lines: Vec<usize> = others.map(|(line, _)| *line).collect();
        if !lines.is_empty() {
            return Err(Refusal::OtherCurrency { currency: order.currency, lines });
        }
        let revision = order.revision + 1;
        Ok(OrderEvent::Amended(Amended { revision, lines: self.lines.clone(), total: self.total }))
    }
}

impl Shown {
    fn must_match(&self, if_match: &IfMatch) -> Result<(), Refusal> {
        match if_match {
            IfMatch::Versions(versions) if !versions.contains(&self.version) => {
                Err(Refusal::VersionMismatch { current: self.version })
            }
            IfMatch::Any | IfMatch::Versions(_) => Ok(()),
        }
    }
}
