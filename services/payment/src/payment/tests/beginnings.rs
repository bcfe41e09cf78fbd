//! How a payment begins.

use super::*;

#[test]
fn an_order_without_a_method_is_expected_to_be_paid_but_not_before_stock_is_held() {
    assert_eq!(given(&[]).when(&expect()), Ok(vec![expected(1, false)]));
    assert_eq!(given(&[expected(1, false)]).when(&pay(None)), Err(Rejection::NotExpected));
    assert_eq!(given(&[expected(1, false)]).when(&collect(1, None)), Ok(vec![expected(1, true)]));
}

#[test]
fn a_held_order_with_a_method_is_paid_at_once() {
    assert_eq!(given(&[]).when(&collect(1, Some("tok_ok"))), Ok(vec![started(FIRST, 1, 1)]));
}

#[test]
fn a_payment_may_come_from_outside() {
    let open = [expected(1, false), expected(1, true)];
    assert_eq!(given(&open).when(&pay(None)), Ok(vec![started(FIRST, 1, 1)]));
    assert_eq!(given(&open).when(&pay(Some(TOTAL))), Ok(vec![started(FIRST, 1, 1)]));
}

#[test]
fn a_payment_of_another_amount_is_refused() {
    let open = [expected(1, true)];
    assert_eq!(given(&open).when(&pay(Some(TOTAL - 1))), Err(Rejection::OtherAmount { due: TOTAL }));
}

#[test]
fn a_payment_for_an_order_nobody_told_of_is_refused() {
    assert_eq!(given(&[]).when(&pay(None)), Err(Rejection::UnknownOrder));
}

#[test]
fn a_second_payment_is_refused_while_the_first_is_live() {
    for events in [authorizing(), unknown(), authorized()] {
        assert_eq!(given(&events).when(&pay(None)), Err(Rejection::AlreadyActive), "{events:?}");
    }
}

#[test]
fn a_payment_is_refused_once_the_order_is_paid_or_dead() {
    let dead = vec![expected(1, true), closed()];
    for events in [capturing(), captured(), voiding(), refunding(), dead] {
        assert_eq!(given(&events).when(&pay(None)), Err(Rejection::NotExpected), "{events:?}");
    }
}

#[test]
fn a_decline_leaves_room_for_another_attempt() {
    let events = after(authorizing(), [declined(false)]);
    assert_eq!(given(&events).when(&pay(None)), Ok(vec![started(SECOND, 2, 1)]));
}

#[test]
fn a_decline_for_good_does_not() {
    let events = after(authorizing(), [declined(true)]);
    assert_eq!(given(&events).when(&pay(None)), Err(Rejection::NotExpected));
}
