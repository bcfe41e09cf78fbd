//! What the provider's answers do.

use super::*;

#[test]
fn the_provider_is_asked_what_the_status_calls_for() {
    let cases = [
        (vec![expected(1, true)], None),
        (authorizing(), Some(Step::Authorize)),
        (unknown(), Some(Step::Inquire)),
        (authorized(), None),
        (capturing(), Some(Step::Capture)),
        (captured(), None),
        (after(authorizing(), [declined(false)]), None),
        (voiding(), Some(Step::Void)),
        (after(voiding(), [PaymentEvent::Voided(money())]), None),
        (refunding(), Some(Step::Refund)),
        (after(refunding(), [PaymentEvent::Refunded(money())]), None),
    ];
    for (events, step) in cases {
        assert_eq!(given(&events).asks(), step, "{events:?}");
    }
}

#[test]
fn every_request_names_the_attempt_as_its_key() {
    for events in [authorizing(), unknown(), capturing(), voiding(), refunding()] {
        let call = given(&events).0.next_call().expect("there is something to ask");
        assert_eq!((call.key, call.order, call.amount, call.token.as_str()), (FIRST, ORDER, TOTAL, "tok_ok"));
    }
}

#[test]
fn an_answer_moves_the_attempt_on() {
    for events in [authorizing(), unknown()] {
        let held = given(&events).when(&answer(Outcome::Authorized));
        assert_eq!(held, Ok(vec![PaymentEvent::Authorized(money())]));
        assert_eq!(given(&events).when(&answer(refusal(true))), Ok(vec![declined(true)]));
    }
    let taken = given(&capturing()).when(&answer(Outcome::Captured));
    assert_eq!(taken, Ok(vec![PaymentEvent::Captured(money())]));
    assert_eq!(given(&voiding()).when(&answer(Outcome::Voided)), Ok(vec![PaymentEvent::Voided(money())]));
    assert_eq!(given(&refunding()).when(&answer(Outcome::Refunded)), Ok(vec![PaymentEvent::Refunded(money())]));
}

#[test]
fn a_request_without_an_answer_leaves_the_attempt_unknown_and_is_inquired() {
    let late = no_answer(CallError::Timeout);
    assert_eq!(given(&authorizing()).when(&late), Ok(vec![PaymentEvent::Unknown(first())]));
    for events in [unknown(), authorized(), capturing(), voiding(), refunding()] {
        assert_eq!(given(&events).when(&late), Err(Rejection::Stale), "{events:?}");
    }
}

#[test]
fn money_of_another_amount_than_was_asked_for_is_let_go() {
    let lie = no_answer(CallError::OtherAmount);
    for events in [authorizing(), unknown()] {
        assert_eq!(given(&events).when(&lie), Ok(vec![PaymentEvent::VoidRequested(first())]), "{events:?}");
    }
    for events in [authorized(), capturing(), voiding(), refunding()] {
        assert_eq!(given(&events).when(&lie), Err(Rejection::Stale), "it is asked again: {events:?}");
    }
}

#[test]
fn a_provider_that_is_away_or_refuses_is_asked_again() {
    for error in [CallError::Unavailable, CallError::Refused("why")] {
        for events in [authorizing(), unknown(), capturing(), voiding(), refunding()] {
            assert_eq!(given(&events).when(&no_answer(error)), Err(Rejection::Stale));
        }
    }
}

#[test]
fn a_request_that_never_arrived_is_sent_again_as_long_as_it_is_wanted() {
    assert_eq!(given(&unknown()).when(&answer(Outcome::NotFound)), Err(Rejection::Stale));
    assert_eq!(given(&unknown()).0.next_call().map(|call| call.wanted), Some(true));
}

#[test]
fn a_request_that_never_arrived_and_is_not_wanted_any_more_is_barred() {
    let dead = after(unknown(), [closed()]);
    assert_eq!(given(&dead).0.next_call().map(|call| call.wanted), Some(false));
    let barred = given(&dead).when(&answer(Outcome::NotFound));
    assert_eq!(barred, Ok(vec![PaymentEvent::VoidRequested(first())]));
}

#[test]
fn an_answer_that_does_not_fit_changes_nothing() {
    use Outcome::{Authorized, Captured, Refunded, Voided};
    let cases = [
        (authorizing(), vec![Captured, Voided, Refunded, Outcome::NotFound]),
        (authorized(), vec![Authorized, refusal(true), Captured, Voided, Refunded]),
        (capturing(), vec![Authorized, refusal(true), Voided, Refunded]),
        (captured(), vec![Authorized, Captured, Voided, Refunded]),
        (voiding(), vec![Authorized, Captured, Refunded]),
        (refunding(), vec![Captured, Voided]),
    ];
    for (events, outcomes) in cases {
        for outcome in outcomes {
            assert_eq!(given(&events).when(&answer(outcome.clone())), Err(Rejection::Stale), "{outcome:?}");
        }
    }
}

#[test]
fn an_answer_about_an_attempt_before_the_latest_changes_nothing() {
    let events = [started(FIRST, 1, 1), declined(false), started(SECOND, 2, 1)];
    assert_eq!(given(&events).when(&answer(Outcome::Authorized)), Err(Rejection::Stale));
}
