//! What happened to an order's payment. The stream is the order's account with the payment provider, under the order's
//! id; each attempt to pay has an id of its own, which is also the provider's idempotency key.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Currency, event::events};

events! {
    /// An event of payment's journal.
    PaymentEvent {
        /// A payment of this amount is welcome, and none was begun.
        Expected(Expected) = "payment.expected.v1",
        /// The provider is being asked to hold the money.
        Started(Started) = "payment.started.v1",
        /// The provider holds the money.
        Authorized(Amount) = "payment.authorized.v1",
        /// The provider refused.
        Declined(Declined) = "payment.declined.v1",
        /// The provider did not answer; it is being asked what became of it.
        Unknown(Attempt) = "payment.unknown.v1",
        /// The order stands: the money is to be taken.
        CaptureRequested(Attempt) = "payment.capture-requested.v1",
        /// The money was taken.
        Captured(Amount) = "payment.captured.v1",
        /// The money is to be let go.
        VoidRequested(Attempt) = "payment.void-requested.v1",
        /// The money was let go.
        Voided(Amount) = "payment.voided.v1",
        /// The money is to be given back.
        RefundRequested(Attempt) = "payment.refund-requested.v1",
        /// The money was given back.
        Refunded(Amount) = "payment.refunded.v1",
        /// The order is dead: no payment is welcome any more.
        Closed(Closed) = "payment.closed.v1",
    }
}

/// Data of `payment.expected.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// The order's revision that is to be paid.
    pub revision: i32,
    /// What is to be paid, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// Whether a payment may start now; not before stock is held.
    pub open: bool,
    /// What to pay with as soon as the attempt for the revision before has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Data of `payment.started.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The attempt; the provider's idempotency key.
    pub payment_id: Uuid,
    /// Its number, 1 for the order's first.
    pub attempt: i32,
    /// The order's revision that it pays.
    pub revision: i32,
    /// What is to be paid, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// The provider's token of the customer's card or account.
    pub token: String,
}

/// Data of the events that name an attempt and its money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Amount {
    /// The attempt.
    pub payment_id: Uuid,
    /// The order's revision that it pays.
    pub revision: i32,
    /// The money, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
}

/// Data of the events that name an attempt only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The attempt.
    pub payment_id: Uuid,
    /// The order's revision that it pays.
    pub revision: i32,
}

/// Data of `payment.declined.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Declined {
    /// The attempt.
    pub payment_id: Uuid,
    /// The order's revision that it was to pay.
    pub revision: i32,
    /// The provider's reason.
    pub code: String,
    /// Whether the provider wants no further attempt for this order.
    pub for_good: bool,
}

/// Data of `payment.closed.v1`: nothing beside the fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closed {}

/// Digits of a card number (ISO/IEC 7812-1).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Whether a text is a card's number rather than a provider's token for it. What is kept in events is kept for ever, and
/// a card's number must not be.
pub fn is_card_number(text: &str) -> bool {
    let digits: Option<Vec<u32>> =
        text.chars().filter(|c| !matches!(c, ' ' | '-' | '.')).map(|c| c.to_digit(10)).collect();
    digits.is_some_and(|digits| CARD_DIGITS.contains(&digits.len()) && luhn(&digits).is_multiple_of(10))
}

/// The sum that a card's last digit makes a multiple of ten: every second digit from the right counts double.
fn luhn(digits: &[u32]) -> u32 {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let counted = |(place, digit): (usize, &u32)| if place % 2 == 1 { doubled(*digit) } else { *digit };
    digits.iter().rev().enumerate().map(counted).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_is_told_from_a_token() {
        for number in ["4111111111111111", "4111-1111-1111-1111", "378282246310005", "5555 5555 5555 4444"] {
            assert!(is_card_number(number), "{number}");
        }
        for token in ["tok_ok", "4111", "4111111111111112", "", "tok_4111111111111111", "00000000000000000000"] {
            assert!(!is_card_number(token), "{token}");
        }
    }
}
