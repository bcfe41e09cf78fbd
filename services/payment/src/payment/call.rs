//! What the provider is asked, and what it may answer.

use std::time::Duration;

use contract::Currency;
use uuid::Uuid;

use super::{Account, Status};

/// The pause before a request is sent for the second time, at most: a provider that missed one request is mostly there
/// for the next.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause: a provider that is back hears of every open request within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the provider is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Hold the money.
    Authorize,
    /// Say what became of the request to hold it.
    Inquire,
    /// Hand over what is held.
    Capture,
    /// Let go of what is held, or see to it that nothing will be.
    Void,
    /// Give back what was handed over.
    Refund,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Authorize, Self::Inquire, Self::Capture, Self::Void, Self::Refund];

    /// Its name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Inquire => "inquire",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

/// One request to the provider. It may be sent any number of times: the provider knows it again by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is asked.
    pub step: Step,
    /// The idempotency key: the attempt's id.
    pub key: Uuid,
    /// The order.
    pub order: Uuid,
    /// The money, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// The provider's token of the customer's card or account.
    pub token: String,
    /// Whether the order still wants this attempt.
    pub wanted: bool,
}

/// What the provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds the money.
    Authorized,
    /// It refused to.
    Declined {
        /// Why.
        code: String,
        /// Whether no further attempt makes sense.
        for_good: bool,
    },
    /// It never heard of this key.
    NotFound,
    /// It handed the money over.
    Captured,
    /// It let the money go.
    Voided,
    /// It gave the money back.
    Refunded,
}

/// What the provider says, and of which money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What came of the request.
    pub outcome: Outcome,
    /// The money that it says this is about, in the minor unit.
    pub amount: i64,
}

/// Why the provider said nothing that helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It did not answer in time; it may have done what it was asked.
    #[error("the payment provider did not answer in time")]
    Timeout,
    /// It could not be reached.
    #[error("the payment provider cannot be reached")]
    Unavailable,
    /// It answers about another amount than it was asked about, so whatever it did is not what was asked.
    #[error("the payment provider answers about another amount")]
    OtherAmount,
    /// It says that the request makes no sense, such as a capture of what it let go.
    #[error("the payment provider refused: {0}")]
    Refused(&'static str),
}

impl Call {
    /// What a reply to this request means. Where no money moves, none need be named.
    pub fn understand(&self, reply: Reply) -> Result<Outcome, CallError> {
        match reply.outcome {
            Outcome::Declined { .. } | Outcome::NotFound => Ok(reply.outcome),
            _ if reply.amount == self.amount => Ok(reply.outcome),
            _ => Err(CallError::OtherAmount),
        }
    }

    /// The request that follows from an answer at once: what the provider never heard of is asked for again, under the
    /// same key, if it is wanted still.
    pub fn again(&self, answer: &Result<Outcome, CallError>) -> Option<Self> {
        let is_missing = self.step == Step::Inquire && *answer == Ok(Outcome::NotFound);
        (is_missing && self.wanted).then(|| Self { step: Step::Authorize, ..self.clone() })
    }
}

/// The pause before a request is repeated that brought nothing `tries` times, 1 or more: twice as long each time, less up to
/// a half by which requests that failed together come apart. It follows from the attempt, so that it can be repeated.
pub fn pause(key: Uuid, tries: i16) -> Duration {
    let doublings = u32::from(tries.unsigned_abs().saturating_sub(1));
    let whole = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE);
    // The last byte of an id is random, of version 7 as of version 4.
    let less = u32::from(key.as_bytes()[15].wrapping_add(tries.to_le_bytes()[0].wrapping_mul(97)));
    whole.saturating_sub(whole * less / (2 * u32::from(u8::MAX)))
}

impl Status {
    /// What the provider is asked as long as an attempt stands here.
    pub fn asks(self) -> Option<Step> {
        match self {
            Self::Authorizing => Some(Step::Authorize),
            Self::Unknown => Some(Step::Inquire),
            Self::Capturing => Some(Step::Capture),
            Self::Voiding => Some(Step::Void),
            Self::Refunding => Some(Step::Refund),
            Self::Authorized | Self::Captured | Self::Declined | Self::Voided | Self::Refunded => None,
        }
    }
}

impl Account {
    /// What the provider is to be asked next.
    pub fn next_call(&self) -> Option<Call> {
        let payment = self.payment.as_ref()?;
        Some(Call {
            step: payment.status.asks()?,
            key: payment.id,
            order: self.order,
            amount: payment.amount,
            currency: payment.currency,
            token: payment.token.clone(),
            wanted: self.wants(payment),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_about_another_amount_is_no_answer() {
        let currency = Currency::try_from("EUR").expect("is a currency");
        let (key, order, token) = (Uuid::from_u128(1), Uuid::from_u128(2), "tok_ok".to_owned());
        let call = Call { step: Step::Authorize, key, order, amount: 5, currency, token, wanted: true };
        for (outcome, names_money) in [
            (Outcome::Authorized, true),
            (Outcome::Captured, true),
            (Outcome::Voided, true),
            (Outcome::Refunded, true),
            (Outcome::NotFound, false),
            (Outcome::Declined { code: "no".to_owned(), for_good: true }, false),
        ] {
            let understood = |amount| call.understand(Reply { outcome: outcome.clone(), amount });
            assert_eq!(understood(5), Ok(outcome.clone()));
            assert_eq!(understood(6) == Err(CallError::OtherAmount), names_money, "{outcome:?}");
        }
    }

    #[test]
    fn pauses_grow_from_half_a_second_to_half_a_minute() {
        for tries in 1..=i16::MAX {
            let whole = Duration::from_millis(500 << (tries - 1).min(6)).min(LONGEST_PAUSE);
            let pause = pause(Uuid::from_u128(u128::from(tries.unsigned_abs()) * 31), tries);
            assert!(whole / 2 <= pause && pause <= whole, "{tries}: {pause:?}");
        }
    }

    #[test]
    fn what_failed_together_is_repeated_apart() {
        let pauses: std::collections::HashSet<_> = (0..100).map(|key| pause(Uuid::from_u128(key), 3)).collect();
        assert!(pauses.len() > 50);
    }
}
