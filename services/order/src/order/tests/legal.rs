//! Every row of the table of transitions.

use contract::order::{
    Amended, Cancelled, Confirmed, Expired, Paid, PaymentDeclined, PaymentUpdated, Rejected, RejectionReason, Reserved,
};

use super::*;

#[test]
fn placing_makes_a_pending_order_that_expires_after_the_payment_timeout() {
    let story = Story::placed();
    let shown = &story.order.shown;
    assert_eq!(story.status(), (Status::Pending, PaymentStatus::None));
    assert_eq!((shown.revision, shown.version, shown.total), (1, 1, 500));
    assert_eq!(shown.expires_at, shown.placed_at + POLICY.payment_timeout);
    assert_eq!(shown.lines, Lines::of(&lines()));
}

#[test]
fn reserved_stock_makes_a_pending_order_reserved_and_starts_its_payment() {
    let story = Story::placed();
    let reserved = Reserved { revision: 1, total: 500, currency: eur(), payment: Some(token()) };
    assert_eq!(story.learn(News::StockReserved), Ok(OrderEvent::Reserved(reserved)));
    assert_eq!(story.given(News::StockReserved).status(), (Status::Reserved, PaymentStatus::Authorizing));
}

#[test]
fn reserved_stock_of_an_order_without_a_method_awaits_a_payment() {
    let story = Story::placed_unpaid();
    let reserved = Reserved { revision: 1, total: 500, currency: eur(), payment: None };
    assert_eq!(story.learn(News::StockReserved), Ok(OrderEvent::Reserved(reserved)));
    let story = story.given(News::StockReserved);
    assert_eq!(story.status(), (Status::Reserved, PaymentStatus::None));
    assert_eq!(story.order.shown.allowed_actions(), [Action::Amend, Action::Cancel, Action::Pay]);
}

#[test]
fn a_shortage_rejects_a_pending_order() {
    let story = Story::placed();
    let rejected = Rejected { reason: RejectionReason::OutOfStock, shortages: shortages(), customer_id: customer() };
    assert_eq!(story.learn(News::StockRejected(shortages())), Ok(OrderEvent::Rejected(rejected)));
    let story = story.given(News::StockRejected(shortages()));
    assert_eq!(story.status(), (Status::Rejected, PaymentStatus::None));
    assert_eq!(story.order.shown.reason.as_deref(), Some("out_of_stock"));
    assert_eq!(story.order.shown.shortages, shortages());
}

#[test]
fn an_authorized_payment_confirms_a_reserved_order() {
    let story = Story::reserved();
    let confirmed = Confirmed { revision: 1, payment_id: PAYMENT, customer_id: customer() };
    assert_eq!(story.learn(authorized(500)), Ok(OrderEvent::Confirmed(confirmed)));
    assert_eq!(story.given(authorized(500)).status(), (Status::Confirmed, PaymentStatus::Authorized));
}

#[test]
fn a_declined_payment_leaves_a_reserved_order_open_for_another() {
    let story = Story::reserved();
    let event = PaymentDeclined { payment_id: PAYMENT, code: "insufficient_funds".to_owned(), customer_id: customer() };
    assert_eq!(story.learn(declined(false)), Ok(OrderEvent::PaymentDeclined(event)));
    let story = story.given(declined(false));
    assert_eq!(story.status(), (Status::Reserved, PaymentStatus::Declined));
    assert!(story.order.shown.allowed_actions().contains(&Action::Pay));
}

#[test]
fn a_payment_declined_for_good_rejects_a_reserved_order() {
    let story = Story::reserved();
    let rejected =
        Rejected { reason: RejectionReason::PaymentDeclined, shortages: Vec::new(), customer_id: customer() };
    assert_eq!(story.learn(declined(true)), Ok(OrderEvent::Rejected(rejected)));
    let story = story.given(declined(true));
    assert_eq!(story.status(), (Status::Rejected, PaymentStatus::Declined));
    assert_eq!(story.order.shown.reason.as_deref(), Some("payment_declined"));
}

#[test]
fn the_last_attempt_that_is_declined_rejects_a_reserved_order() {
    let story = Story::reserved().given(declined(false)).given(declined(false));
    assert_eq!(story.order.shown.status, Status::Reserved);
    assert_eq!(story.given(declined(false)).status(), (Status::Rejected, PaymentStatus::Declined));
}

#[test]
fn another_payment_after_a_declined_one_is_under_way_and_confirms() {
    let story = Story::reserved().given(declined(false));
    let updated = PaymentUpdated { payment_id: PAYMENT, status: PaymentStatus::Authorizing, customer_id: customer() };
    assert_eq!(story.learn(News::PaymentStarted(PAYMENT)), Ok(OrderEvent::PaymentUpdated(updated)));
    let story = story.given(News::PaymentStarted(PAYMENT));
    assert!(!story.order.shown.allowed_actions().contains(&Action::Pay));
    assert_eq!(story.given(authorized(500)).status(), (Status::Confirmed, PaymentStatus::Authorized));
}

#[test]
fn the_start_of_the_orders_own_payment_is_known_already() {
    assert_eq!(Story::reserved().learn(News::PaymentStarted(PAYMENT)), Err(Ignored::Known));
}

#[test]
fn a_payment_without_an_answer_is_unknown_until_it_is_found() {
    let story = Story::reserved().given(News::PaymentUnknown(PAYMENT));
    assert_eq!(story.status(), (Status::Reserved, PaymentStatus::Unknown));
    assert!(!story.order.shown.allowed_actions().contains(&Action::Pay));
    assert_eq!(story.given(authorized(500)).status(), (Status::Confirmed, PaymentStatus::Authorized));
}

#[test]
fn a_captured_payment_pays_a_confirmed_order() {
    let story = Story::confirmed();
    assert_eq!(story.learn(captured()), Ok(OrderEvent::Paid(Paid { payment_id: PAYMENT, amount: 500 })));
    assert_eq!(story.given(captured()).status(), (Status::Confirmed, PaymentStatus::Captured));
}

#[test]
fn an_open_order_expires_at_its_deadline_and_not_before() {
    for mut story in [Story::placed(), Story::reserved()] {
        story.now = story.order.shown.expires_at - TimeDelta::microseconds(1);
        assert_eq!(story.decide(&Command::Expire), Ok(None));
        story.now = story.order.shown.expires_at;
        let expired = OrderEvent::Expired(Expired { customer_id: customer() });
        assert_eq!(story.decide(&Command::Expire), Ok(Some(expired)));
        assert_eq!(story.given_command(&Command::Expire).order.shown.status, Status::Expired);
    }
}

#[test]
fn an_open_order_is_amended_and_waits_for_stock_again() {
    for story in [Story::placed(), Story::reserved()] {
        let event = Amended { revision: 2, lines: vec![line("SKU-3", 7, 100)], total: 700 };
        assert_eq!(story.decide(&amend()), Ok(Some(OrderEvent::Amended(event))));
        let story = story.given_command(&amend());
        assert_eq!(story.status(), (Status::Pending, PaymentStatus::None));
        assert_eq!((story.order.shown.revision, story.order.shown.total), (2, 700));
        assert_eq!(story.order.shown.lines, Lines::of(&[line("SKU-3", 7, 100)]));
    }
}

#[test]
fn an_amended_order_is_paid_anew_by_the_same_method() {
    let story = Story::reserved().given_command(&amend());
    let reserved = Reserved { revision: 2, total: 700, currency: eur(), payment: Some(token()) };
    assert_eq!(story.learn(News::StockReserved), Ok(OrderEvent::Reserved(reserved)));
}

#[test]
fn a_living_order_is_cancelled() {
    for story in [Story::placed(), Story::reserved(), Story::confirmed(), Story::paid()] {
        let event = Cancelled { reason: "changed my mind".to_owned(), customer_id: customer() };
        assert_eq!(story.decide(&cancel()), Ok(Some(OrderEvent::Cancelled(event))));
        let story = story.given_command(&cancel());
        assert_eq!(story.order.shown.status, Status::Cancelled);
        assert_eq!(story.order.shown.reason.as_deref(), Some("changed my mind"));
    }
}

#[test]
fn a_cancelled_order_is_cancelled_again_without_a_word() {
    let again = Command::Cancel { if_match: IfMatch::Versions(vec![1]), reason: "once more".to_owned() };
    assert_eq!(Story::cancelled().decide(&again), Ok(None));
}

#[test]
fn the_money_of_a_dead_order_is_followed_until_it_is_back() {
    let story = Story::paid().given_command(&cancel()).given(News::PaymentRefunded(PAYMENT));
    assert_eq!(story.status(), (Status::Cancelled, PaymentStatus::Refunded));
    let story = Story::confirmed().given_command(&cancel()).given(News::PaymentVoided(PAYMENT));
    assert_eq!(story.status(), (Status::Cancelled, PaymentStatus::Voided));
    let story = Story::reserved().given_command(&cancel()).given(declined(false));
    assert_eq!(story.status(), (Status::Cancelled, PaymentStatus::Declined));
}
