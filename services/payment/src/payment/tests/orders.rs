//! What the order's events do, and how they race with the provider's answers.

use super::*;

#[test]
fn a_confirmed_order_is_captured_once() {
    assert_eq!(given(&authorized()).when(&capture()), Ok(vec![PaymentEvent::CaptureRequested(first())]));
    for events in [authorizing(), unknown(), capturing(), captured(), voiding(), refunding()] {
        assert_eq!(given(&events).when(&capture()), Err(Rejection::Stale), "{events:?}");
    }
}

#[test]
fn only_the_payment_that_confirmed_the_order_is_captured() {
    let other = Command::Capture { payment: SECOND };
    assert_eq!(given(&authorized()).when(&other), Err(Rejection::Stale));
}

#[test]
fn a_dead_order_that_was_never_heard_of_is_closed() {
    assert_eq!(given(&[]).when(&Command::Close), Ok(vec![closed()]));
    assert_eq!(given(&[closed()]).when(&pay(None)), Err(Rejection::NotExpected));
}

#[test]
fn cancel_while_authorizing_voids_and_never_captures() {
    for before in [authorizing(), unknown()] {
        assert_eq!(given(&before).when(&Command::Close), Ok(vec![closed()]));
        let dead = after(before, [closed()]);
        let voided = vec![PaymentEvent::Authorized(money()), PaymentEvent::VoidRequested(first())];
        assert_eq!(given(&dead).when(&answer(Outcome::Authorized)), Ok(voided.clone()));
        let dead = after(dead, voided);
        assert_eq!(given(&dead).when(&capture()), Err(Rejection::Stale));
        assert_eq!(given(&dead).asks(), Some(Step::Void));
    }
}

#[test]
fn cancel_of_an_authorized_order_voids() {
    let voided = vec![closed(), PaymentEvent::VoidRequested(first())];
    assert_eq!(given(&authorized()).when(&Command::Close), Ok(voided));
}

#[test]
fn cancel_while_capturing_refunds_to_a_net_of_zero() {
    assert_eq!(given(&capturing()).when(&Command::Close), Ok(vec![closed()]));
    let dead = after(capturing(), [closed()]);
    let refunding = vec![PaymentEvent::Captured(money()), PaymentEvent::RefundRequested(first())];
    assert_eq!(given(&dead).when(&answer(Outcome::Captured)), Ok(refunding.clone()));
    let end = after(after(dead, refunding), [PaymentEvent::Refunded(money())]);
    let lines: Vec<_> = end.iter().flat_map(postings).collect();
    assert_eq!(lines.len(), 4);
    for account in [LedgerAccount::Provider, LedgerAccount::Sales] {
        assert_eq!(lines.iter().filter(|line| line.account == account).map(|line| line.amount).sum::<i64>(), 0);
    }
}

#[test]
fn cancel_of_a_captured_order_refunds() {
    let refunding = vec![closed(), PaymentEvent::RefundRequested(first())];
    assert_eq!(given(&captured()).when(&Command::Close), Ok(refunding));
}

#[test]
fn an_authorization_after_expiry_is_voided() {
    let expired = after(authorizing(), [closed()]);
    let voided = vec![PaymentEvent::Authorized(money()), PaymentEvent::VoidRequested(first())];
    assert_eq!(given(&expired).when(&answer(Outcome::Authorized)), Ok(voided));
}

#[test]
fn a_decline_after_expiry_leaves_nothing_to_undo() {
    let expired = after(authorizing(), [closed()]);
    assert_eq!(given(&expired).when(&answer(refusal(false))), Ok(vec![declined(false)]));
}

#[test]
fn amend_before_payment_begins_changes_what_is_expected() {
    assert_eq!(given(&[expected(1, true)]).when(&amend(2)), Ok(vec![expected(2, false)]));
    assert_eq!(given(&[]).when(&amend(2)), Ok(vec![]));
}

#[test]
fn amend_of_an_authorized_order_voids_what_is_held() {
    let voided = vec![expected(2, false), PaymentEvent::VoidRequested(first())];
    assert_eq!(given(&authorized()).when(&amend(2)), Ok(voided));
}

#[test]
fn amend_while_authorizing_voids_the_old_attempt_before_the_new_one_starts() {
    // Amended, and the new revision's stock held, before the provider answered.
    let mut events = authorizing();
    for (command, then) in [
        (amend(2), vec![expected(2, false)]),
        (collect(2, Some("tok_ok")), vec![waiting(2)]),
        (answer(Outcome::Authorized), vec![PaymentEvent::Authorized(money()), PaymentEvent::VoidRequested(first())]),
        (answer(Outcome::Voided), vec![PaymentEvent::Voided(money()), started(SECOND, 2, 2)]),
    ] {
        assert_eq!(given(&events).when(&command), Ok(then.clone()), "{command:?}");
        events.extend(then);
    }
    assert_eq!(given(&events).asks(), Some(Step::Authorize));
}

#[test]
fn amend_while_authorizing_starts_anew_when_the_old_attempt_is_declined() {
    let events = after(authorizing(), [expected(2, false), waiting(2)]);
    let then = vec![declined(true), started(SECOND, 2, 2)];
    assert_eq!(given(&events).when(&answer(refusal(true))), Ok(then));
}

#[test]
fn the_new_attempt_waits_for_stock_even_when_the_old_one_has_ended() {
    let events = after(authorizing(), [expected(2, false), declined(false)]);
    assert_eq!(given(&events).when(&pay(None)), Err(Rejection::NotExpected));
    assert_eq!(given(&events).when(&collect(2, Some("tok_ok"))), Ok(vec![started(SECOND, 2, 2)]));
}

#[test]
fn an_attempt_that_waits_does_not_start_for_a_dead_order() {
    let events = after(authorizing(), [expected(2, false), waiting(2), closed()]);
    assert_eq!(given(&events).when(&answer(refusal(false))), Ok(vec![declined(false)]));
}

#[test]
fn every_message_twice_is_settled_once() {
    let journey = [
        expect(),
        collect(1, None),
        pay(None),
        answer(Outcome::Authorized),
        amend(2),
        answer(Outcome::Voided),
        collect(2, None),
        Command::Close,
    ];
    let mut events = Vec::new();
    for command in journey {
        let then = given(&events).when(&command).expect("the first time");
        events.extend(then);
        assert!(given(&events).when(&command).is_err(), "{command:?} again");
    }
    for command in [expect(), collect(1, Some("tok_ok")), amend(2), collect(2, Some("tok_ok")), capture()] {
        assert_eq!(given(&events).when(&command), Err(Rejection::Stale), "{command:?} late");
    }
}
