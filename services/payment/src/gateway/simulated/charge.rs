//! What the simulated provider keeps of a request to hold money, and how it answers. Nothing here knows of a database.

use std::time::Duration;

use contract::Currency;
use serde::Deserialize;
use uuid::Uuid;

use crate::payment::{Call, CallError, Outcome, Step};

/// How long `tok_slow` lets its caller wait: long enough to be noticed, and less than any caller's patience.
const SLOW: Duration = Duration::from_secs(3);

/// The code of a charge that was voided before it was ever authorized.
const VOIDED_BEFORE: &str = "voided_before_authorization";
/// The code that asks for no further attempt.
const DO_NOT_HONOR: &str = "do_not_honor";

/// What the provider keeps under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The idempotency key: our attempt's id.
    pub key: Uuid,
    /// The token it was asked to charge.
    pub token: String,
    /// The money, in the minor unit.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// Where it stands.
    pub status: ChargeStatus,
    /// Why it was declined, if it was.
    pub code: Option<String>,
    /// What was handed over, in the minor unit.
    pub captured: i64,
    /// What was given back, in the minor unit.
    pub refunded: i64,
}

/// Where a charge stands with the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChargeStatus {
    /// The money is held.
    Authorized,
    /// It is not, and will not be.
    Declined,
    /// It was handed over.
    Captured,
    /// It was let go.
    Voided,
    /// It was handed over and given back.
    Refunded,
}

impl ChargeStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Authorized, Self::Declined, Self::Captured, Self::Voided, Self::Refunded];

    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorized => "authorized",
            Self::Declined => "declined",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
        }
    }
}

impl Charge {
    fn is_for(&self, call: &Call) -> bool {
        (self.amount, self.currency, &self.token) == (call.amount, call.currency, &call.token)
    }
}

/// What a request makes of the charge under its key, and the answer. A request that was done before changes nothing and is
/// answered as it was then.
pub fn settle(charge: Option<Charge>, call: &Call) -> (Option<Charge>, Result<Outcome, CallError>) {
    match charge {
        None => begin(call),
        Some(charge) if !charge.is_for(call) => {
            (Some(charge), Err(CallError::Refused("the key belongs to another charge")))
        }
        Some(charge) => go_on(charge, call.step),
    }
}

/// The first request under a key.
fn begin(call: &Call) -> (Option<Charge>, Result<Outcome, CallError>) {
    let (status, code, answer) = match call.step {
        Step::Authorize => match refusal(&call.token) {
            None => (ChargeStatus::Authorized, None, Outcome::Authorized),
            Some(code) => (ChargeStatus::Declined, Some(code), declined(code)),
        },
        // The request to hold the money may still come, and is refused then.
        Step::Void => (ChargeStatus::Voided, Some(VOIDED_BEFORE), Outcome::Voided),
        Step::Inquire => return (None, Ok(Outcome::NotFound)),
        Step::Capture | Step::Refund => return (None, Err(CallError::Refused("there is no such charge"))),
    };
    let charge = Charge {
        key: call.key,
        token: call.token.clone(),
        amount: call.amount,
        currency: call.currency,
        status,
        code: code.map(str::to_owned),
        captured: 0,
        refunded: 0,
    };
    (Some(charge), Ok(answer))
}

/// A further request under a key.
fn go_on(mut charge: Charge, step: Step) -> (Option<Charge>, Result<Outcome, CallError>) {
    use ChargeStatus::{Authorized, Captured, Declined, Refunded, Voided};
    let answer = match (step, charge.status) {
        (Step::Authorize | Step::Inquire, _) => Ok(charge.code.as_deref().map_or(Outcome::Authorized, declined)),
        (Step::Capture, Authorized) => {
            (charge.status, charge.captured) = (Captured, charge.amount);
            Ok(Outcome::Captured)
        }
        (Step::Capture, Captured | Refunded) => Ok(Outcome::Captured),
        (Step::Void, Authorized) => {
            charge.status = Voided;
            Ok(Outcome::Voided)
        }
        // Nothing is held, which is all that was asked for.
        (Step::Void, Voided | Declined) => Ok(Outcome::Voided),
        (Step::Refund, Captured) => {
            (charge.status, charge.refunded) = (Refunded, charge.captured);
            Ok(Outcome::Refunded)
        }
        (Step::Refund, Refunded) => Ok(Outcome::Refunded),
        (Step::Capture, _) => Err(CallError::Refused("nothing is held")),
        (Step::Void, _) => Err(CallError::Refused("it was captured")),
        (Step::Refund, _) => Err(CallError::Refused("nothing was captured")),
    };
    (Some(charge), answer)
}

/// Why a token is refused; nothing when it is good.
fn refusal(token: &str) -> Option<&'static str> {
    match token {
        "tok_ok" | "tok_slow" | "tok_timeout_then_ok" => None,
        "tok_declined" => Some(DO_NOT_HONOR),
        "tok_insufficient_funds" => Some("insufficient_funds"),
        _ => Some("unknown_token"),
    }
}

fn declined(code: &str) -> Outcome {
    Outcome::Declined { code: code.to_owned(), for_good: code == DO_NOT_HONOR }
}

/// How a token's answer reaches its caller: after this long, and whether at all.
pub(crate) fn delivery(call: &Call) -> (Duration, bool) {
    match (call.step, call.token.as_str()) {
        (Step::Authorize, "tok_slow") => (SLOW, true),
        (Step::Authorize, "tok_timeout_then_ok") => (Duration::ZERO, false),
        _ => (Duration::ZERO, true),
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::Error as UnknownName;

    use super::*;

    fn call(step: Step, token: &str) -> Call {
        let currency = Currency::try_from("EUR").expect("a currency");
        let (key, order) = (Uuid::from_u128(1), Uuid::from_u128(2));
        Call { step, key, order, amount: 500, currency, token: token.to_owned(), wanted: true }
    }

    /// The answers to these steps, one after the other, under one key; and the charge they lead to.
    fn asked(token: &str, steps: &[Step]) -> (Option<Charge>, Vec<Result<Outcome, CallError>>) {
        let mut charge = None;
        let mut answers = Vec::new();
        for step in steps {
            let (after, answer) = settle(charge, &call(*step, token));
            charge = after;
            answers.push(answer);
        }
        (charge, answers)
    }

    #[test]
    fn a_capture_asked_for_twice_is_done_once() {
        let (charge, answers) = asked("tok_ok", &[Step::Authorize, Step::Capture, Step::Capture]);
        assert_eq!(answers, [Ok(Outcome::Authorized), Ok(Outcome::Captured), Ok(Outcome::Captured)]);
        assert_eq!(charge.map(|charge| (charge.captured, charge.refunded)), Some((500, 0)));
    }

    #[test]
    fn a_refund_asked_for_twice_is_done_once() {
        let (charge, answers) = asked("tok_ok", &[Step::Authorize, Step::Capture, Step::Refund, Step::Refund]);
        assert_eq!(answers[2..], [Ok(Outcome::Refunded), Ok(Outcome::Refunded)]);
        assert_eq!(charge.map(|charge| (charge.captured, charge.refunded)), Some((500, 500)));
    }

    #[test]
    fn what_was_let_go_cannot_be_captured() {
        let (charge, answers) = asked("tok_ok", &[Step::Authorize, Step::Void, Step::Capture]);
        assert_eq!(answers[2], Err(CallError::Refused("nothing is held")));
        assert_eq!(charge.map(|charge| charge.captured), Some(0));
    }

    #[test]
    fn an_authorization_that_arrives_after_its_void_is_refused() {
        let (charge, answers) = asked("tok_ok", &[Step::Void, Step::Authorize, Step::Void]);
        let refused = Outcome::Declined { code: VOIDED_BEFORE.to_owned(), for_good: false };
        assert_eq!(answers, [Ok(Outcome::Voided), Ok(refused), Ok(Outcome::Voided)]);
        assert_eq!(charge.map(|charge| charge.status), Some(ChargeStatus::Voided));
    }

    #[test]
    fn a_declined_charge_may_be_voided_as_nothing_is_held() {
        let (charge, answers) = asked("tok_declined", &[Step::Authorize, Step::Void]);
        assert_eq!(answers[1], Ok(Outcome::Voided));
        assert_eq!(charge.map(|charge| charge.status), Some(ChargeStatus::Declined));
    }

    #[test]
    fn a_request_that_never_arrived_is_not_found() {
        assert_eq!(asked("tok_ok", &[Step::Inquire]), (None, vec![Ok(Outcome::NotFound)]));
    }

    #[test]
    fn the_same_key_with_another_amount_is_refused() {
        let (charge, _) = asked("tok_ok", &[Step::Authorize]);
        let other = Call { amount: 501, ..call(Step::Authorize, "tok_ok") };
        let (after, answer) = settle(charge.clone(), &other);
        assert_eq!(answer, Err(CallError::Refused("the key belongs to another charge")));
        assert_eq!(after, charge);
    }

    #[test]
    fn the_token_says_what_becomes_of_it() {
        for (token, code, for_good) in [
            ("tok_declined", "do_not_honor", true),
            ("tok_insufficient_funds", "insufficient_funds", false),
            ("4111111111111111", "unknown_token", false),
        ] {
            let (_, answers) = asked(token, &[Step::Authorize, Step::Inquire]);
            let declined = Outcome::Declined { code: code.to_owned(), for_good };
            assert_eq!(answers, [Ok(declined.clone()), Ok(declined)], "{token}");
        }
        for token in ["tok_ok", "tok_slow", "tok_timeout_then_ok"] {
            assert_eq!(asked(token, &[Step::Authorize]).1, [Ok(Outcome::Authorized)], "{token}");
        }
    }

    #[test]
    fn a_status_is_read_as_it_is_written() {
        for status in ChargeStatus::ALL {
            let read: Result<_, UnknownName> = ChargeStatus::deserialize(status.as_str().into_deserializer());
            assert_eq!(read, Ok(status));
        }
    }
}
