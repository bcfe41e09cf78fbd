//! The races that the order's stream decides, in every order in which their halves can come.

use super::*;

#[test]
fn a_stock_answer_after_the_cancellation_changes_nothing() {
    for news in [News::StockReserved, News::StockRejected(shortages())] {
        assert_eq!(Story::cancelled().learn(news), Err(Ignored::Illegal));
    }
}

#[test]
fn a_cancellation_while_authorizing_wins_and_the_money_is_let_go() {
    let story = Story::reserved().given_command(&cancel());
    assert_eq!(story.status(), (Status::Cancelled, PaymentStatus::Authorizing));
    let story = story.given(authorized(500)).given(News::PaymentVoided(PAYMENT));
    assert_eq!(story.status(), (Status::Cancelled, PaymentStatus::Voided));
}

#[test]
fn a_cancellation_while_capturing_wins_and_the_money_is_given_back() {
    let story = Story::confirmed().given_command(&cancel()).given(captured());
    assert_eq!(story.status(), (Status::Cancelled, PaymentStatus::Captured));
    assert_eq!(story.given(News::PaymentRefunded(PAYMENT)).status(), (Status::Cancelled, PaymentStatus::Refunded));
}

#[test]
fn an_authorization_after_the_expiry_confirms_nothing() {
    let mut story = Story::reserved();
    story.now = story.order.shown.expires_at;
    let story = story.given_command(&Command::Expire).given(authorized(500)).given(News::PaymentVoided(PAYMENT));
    assert_eq!(story.status(), (Status::Expired, PaymentStatus::Voided));
}

#[test]
fn an_expiry_after_the_confirmation_changes_nothing() {
    let mut story = Story::confirmed();
    story.now = story.order.shown.expires_at;
    assert_eq!(story.decide(&Command::Expire), Ok(None));
}

#[test]
fn answers_to_the_old_revision_are_stale_after_an_amendment() {
    let story = Story::placed().given_command(&amend());
    for news in [News::StockReserved, News::StockRejected(shortages())] {
        assert_eq!(story.learn_of(1, news), Err(Ignored::StaleRevision));
    }
    assert_eq!(story.given(News::StockReserved).order.shown.status, Status::Reserved);
}

#[test]
fn the_old_revisions_payment_neither_confirms_nor_disturbs_the_new_one() {
    let story = Story::reserved().given_command(&amend()).given(News::StockReserved);
    assert_eq!(story.status(), (Status::Reserved, PaymentStatus::Authorizing));
    for news in [authorized(500), declined(true), News::PaymentUnknown(PAYMENT), News::PaymentVoided(PAYMENT)] {
        assert_eq!(story.learn_of(1, news), Err(Ignored::StaleRevision));
    }
    assert_eq!(story.given(authorized(700)).order.shown.status, Status::Confirmed);
}

#[test]
fn an_order_that_dies_before_its_new_revisions_payment_begins_shows_what_became_of_the_old_one() {
    let mut story = Story::reserved().given_command(&amend()).given(News::StockReserved).given_command(&cancel());
    assert_eq!(story.status(), (Status::Cancelled, PaymentStatus::Authorizing));
    for news in [authorized(500), News::PaymentVoided(PAYMENT)] {
        let event = story.learn_of(1, news).expect("the order is dead");
        story.append(event);
    }
    assert_eq!(story.status(), (Status::Cancelled, PaymentStatus::Voided));
}

#[test]
fn an_amendment_after_the_confirmation_is_refused() {
    let allowed: &[Action] = &[Action::Cancel];
    let refused = Err(Refusal::Conflict { status: Status::Confirmed, allowed });
    assert_eq!(Story::confirmed().decide(&amend()), refused);
}

#[test]
fn of_two_amendments_of_one_version_the_second_is_refused() {
    let first = amend_if(IfMatch::Versions(vec![1]));
    let story = Story::placed().given_command(&first);
    assert_eq!(story.decide(&first), Err(Refusal::VersionMismatch { current: 2 }));
}

#[test]
fn a_fact_that_comes_twice_counts_once() {
    let histories = [
        (Story::placed(), News::StockReserved),
        (Story::placed(), News::StockRejected(shortages())),
        (Story::reserved(), authorized(500)),
        (Story::reserved(), declined(true)),
        (Story::confirmed(), captured()),
        (Story::paid().given_command(&cancel()), News::PaymentRefunded(PAYMENT)),
    ];
    for (story, news) in histories {
        let story = story.given(news.clone());
        assert!(matches!(story.learn(news), Err(Ignored::Illegal | Ignored::Known)));
    }
}

#[test]
fn a_payment_begun_while_the_last_decline_was_on_its_way_is_let_go() {
    let story = Story::reserved().given(declined(true));
    assert_eq!(story.learn(News::PaymentStarted(PAYMENT)), Err(Ignored::Illegal));
    let story = story.given(authorized(500)).given(News::PaymentVoided(PAYMENT));
    assert_eq!(story.status(), (Status::Rejected, PaymentStatus::Voided));
}
