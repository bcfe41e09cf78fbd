//! Every transition, and the races that concern a payment.

mod answers;
mod beginnings;
mod orders;

use contract::Currency;
use contract::payment::{Amount, Attempt, Closed, Declined, Expected, PaymentEvent, Started};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as UnknownName;
use uuid::Uuid;

use super::*;

const ORDER: Uuid = Uuid::from_u128(1);
const FIRST: Uuid = Uuid::from_u128(11);
const SECOND: Uuid = Uuid::from_u128(12);
const TOTAL: i64 = 500;

fn euro() -> Currency {
    Currency::try_from("EUR").expect("a currency")
}

// Events.

fn expected(revision: i32, open: bool) -> PaymentEvent {
    PaymentEvent::Expected(Expected { revision, amount: TOTAL, currency: euro(), open, token: None })
}

fn waiting(revision: i32) -> PaymentEvent {
    let token = Some("tok_ok".to_owned());
    PaymentEvent::Expected(Expected { revision, amount: TOTAL, currency: euro(), open: true, token })
}

fn started(payment_id: Uuid, attempt: i32, revision: i32) -> PaymentEvent {
    let token = "tok_ok".to_owned();
    PaymentEvent::Started(Started { payment_id, attempt, revision, amount: TOTAL, currency: euro(), token })
}

fn money() -> Amount {
    Amount { payment_id: FIRST, revision: 1, amount: TOTAL, currency: euro() }
}

fn first() -> Attempt {
    Attempt { payment_id: FIRST, revision: 1 }
}

fn declined(for_good: bool) -> PaymentEvent {
    PaymentEvent::Declined(Declined { payment_id: FIRST, revision: 1, code: "no".to_owned(), for_good })
}

fn closed() -> PaymentEvent {
    PaymentEvent::Closed(Closed {})
}

fn authorizing() -> Vec<PaymentEvent> {
    vec![started(FIRST, 1, 1)]
}

fn after(mut events: Vec<PaymentEvent>, more: impl IntoIterator<Item = PaymentEvent>) -> Vec<PaymentEvent> {
    events.extend(more);
    events
}

fn unknown() -> Vec<PaymentEvent> {
    after(authorizing(), [PaymentEvent::Unknown(first())])
}

fn authorized() -> Vec<PaymentEvent> {
    after(authorizing(), [PaymentEvent::Authorized(money())])
}

fn capturing() -> Vec<PaymentEvent> {
    after(authorized(), [PaymentEvent::CaptureRequested(first())])
}

fn captured() -> Vec<PaymentEvent> {
    after(capturing(), [PaymentEvent::Captured(money())])
}

fn voiding() -> Vec<PaymentEvent> {
    after(authorized(), [closed(), PaymentEvent::VoidRequested(first())])
}

fn refunding() -> Vec<PaymentEvent> {
    after(captured(), [closed(), PaymentEvent::RefundRequested(first())])
}

// Commands.

fn expect() -> Command {
    Command::Expect { amount: TOTAL, currency: euro() }
}

fn amend(revision: i32) -> Command {
    Command::Amend { revision, amount: TOTAL }
}

fn collect(revision: i32, token: Option<&str>) -> Command {
    Command::Collect { revision, amount: TOTAL, currency: euro(), token: token.map(str::to_owned) }
}

fn pay(amount: Option<i64>) -> Command {
    Command::Pay { token: "tok_ok".to_owned(), amount }
}

fn capture() -> Command {
    Command::Capture { payment: FIRST }
}

fn answer(outcome: Outcome) -> Command {
    Command::Answer { payment: FIRST, step: Step::Authorize, result: Ok(outcome) }
}

fn no_answer(error: CallError) -> Command {
    Command::Answer { payment: FIRST, step: Step::Authorize, result: Err(error) }
}

fn refusal(for_good: bool) -> Outcome {
    Outcome::Declined { code: "no".to_owned(), for_good }
}

// Given, when, then.

struct Given(Account);

fn given(events: &[PaymentEvent]) -> Given {
    Given(Account::fold(ORDER, events))
}

impl Given {
    /// What the command leads to; an attempt that starts is [`FIRST`], or [`SECOND`] after it.
    fn when(&self, command: &Command) -> Result<Vec<PaymentEvent>, Rejection> {
        self.0.decide(command, if self.0.payment.is_some() { SECOND } else { FIRST })
    }

    fn asks(&self) -> Option<Step> {
        self.0.next_call().map(|call| call.step)
    }
}

#[test]
fn the_account_is_the_fold_of_its_events() {
    let account = given(&captured()).0;
    assert_eq!(account.version, 4);
    assert_eq!(account.payment.as_ref().map(|payment| payment.status), Some(Status::Captured));
    assert_eq!(
        account.terms.as_ref().map(|terms| (terms.revision, terms.amount, terms.welcome)),
        Some((1, TOTAL, true))
    );
}

#[test]
fn the_attempts_are_told_in_order() {
    let events = [started(FIRST, 1, 1), declined(false), started(SECOND, 2, 1), closed()];
    let attempts = Account::attempts(ORDER, &events);
    let seen: Vec<_> = attempts.iter().map(|payment| (payment.id, payment.attempt, payment.status)).collect();
    assert_eq!(seen, [(FIRST, 1, Status::Declined), (SECOND, 2, Status::Authorizing)]);
}

#[test]
fn a_status_is_read_as_it_is_written() {
    for status in Status::ALL {
        let read: Result<_, UnknownName> = Status::deserialize(status.as_str().into_deserializer());
        assert_eq!(read, Ok(status));
    }
}
