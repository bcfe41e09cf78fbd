//! Every pair of status and input that the table of transitions does not have.

use super::*;

#[test]
fn a_dead_or_confirmed_order_is_not_amended() {
    for story in Story::in_every_status() {
        let status = story.order.shown.status;
        let decided = story.decide(&amend());
        if status.is_open() {
            assert!(decided.is_ok(), "{status:?}");
        } else {
            let allowed = story.order.shown.allowed_actions();
            assert_eq!(decided, Err(Refusal::Conflict { status, allowed }));
        }
    }
}

#[test]
fn a_rejected_or_expired_order_is_not_cancelled() {
    for story in [Story::rejected(), Story::expired()] {
        let status = story.order.shown.status;
        assert_eq!(story.decide(&cancel()), Err(Refusal::Conflict { status, allowed: &[] }));
    }
}

#[test]
fn only_an_open_order_expires() {
    for mut story in Story::in_every_status() {
        story.now = story.order.shown.expires_at + TimeDelta::days(1);
        let expires = matches!(story.decide(&Command::Expire), Ok(Some(OrderEvent::Expired(_))));
        assert_eq!(expires, story.order.shown.status.is_open());
    }
}

#[test]
fn a_command_for_another_version_is_refused_before_the_status_is_looked_at() {
    let stale = IfMatch::Versions(vec![7, 9]);
    for story in Story::in_every_status() {
        let current = story.order.shown.version;
        assert_eq!(story.decide(&amend_if(stale.clone())), Err(Refusal::VersionMismatch { current }));
    }
}

#[test]
fn a_command_for_one_of_several_versions_is_taken() {
    let seen = IfMatch::Versions(vec![1, 2]);
    assert!(Story::reserved().decide(&amend_if(seen)).is_ok());
}

#[test]
fn a_cancellation_for_another_version_is_refused() {
    let stale = Command::Cancel { if_match: IfMatch::Versions(vec![1]), reason: "late".to_owned() };
    assert_eq!(Story::reserved().decide(&stale), Err(Refusal::VersionMismatch { current: 2 }));
}

#[test]
fn lines_in_another_currency_are_refused_all_at_once() {
    let named = vec![(0, usd()), (1, eur()), (2, usd())];
    let amendment = Amendment { lines: lines(), total: 500, named };
    let decided = Story::placed().decide(&Command::Amend { if_match: IfMatch::Any, amendment });
    assert_eq!(decided, Err(Refusal::OtherCurrency { currency: eur(), lines: vec![0, 2] }));
}

#[test]
fn a_fact_of_another_revision_is_stale_while_the_order_lives() {
    for story in [Story::placed(), Story::reserved(), Story::confirmed()] {
        for news in every_news() {
            for revision in [0, 2] {
                assert_eq!(story.learn_of(revision, news.clone()), Err(Ignored::StaleRevision));
            }
        }
    }
}

/// The pairs that the table has, and the payment's news that every order but a pending one tells its readers.
fn is_legal(status: Status, news: &News) -> bool {
    match news {
        News::StockReserved | News::StockRejected(_) => status == Status::Pending,
        News::PaymentStarted(_) => status == Status::Reserved,
        News::PaymentAuthorized { .. } | News::PaymentDeclined { .. } => status == Status::Reserved || status.is_dead(),
        News::PaymentCaptured { .. } => status == Status::Confirmed || status.is_dead(),
        News::PaymentUnknown(_) | News::PaymentVoided(_) | News::PaymentRefunded(_) => status != Status::Pending,
    }
}

#[test]
fn every_other_fact_is_illegal() {
    for story in Story::in_every_status() {
        let status = story.order.shown.status;
        for news in every_news() {
            let learned = story.learn(news.clone());
            assert_eq!(learned == Err(Ignored::Illegal), !is_legal(status, &news), "{status:?} {news:?}");
        }
    }
}

#[test]
fn no_fact_changes_the_status_of_a_dead_order() {
    for story in [Story::rejected(), Story::cancelled(), Story::expired()] {
        for news in every_news() {
            let learned = story.learn(news);
            assert!(matches!(learned, Err(_) | Ok(OrderEvent::PaymentUpdated(_))), "{learned:?}");
        }
    }
}

#[test]
fn no_fact_changes_the_status_of_a_confirmed_order() {
    for news in every_news() {
        let learned = Story::confirmed().learn(news);
        let harmless = matches!(learned, Err(_) | Ok(OrderEvent::PaymentUpdated(_) | OrderEvent::Paid(_)));
        assert!(harmless, "{learned:?}");
    }
}

#[test]
fn another_amount_or_currency_than_the_total_confirms_nothing() {
    let story = Story::reserved();
    for amount in [0, 499, 501] {
        assert_eq!(story.learn(authorized(amount)), Err(Ignored::OtherAmount));
    }
    let dollars = News::PaymentAuthorized { payment: PAYMENT, amount: 500, currency: usd() };
    assert_eq!(story.learn(dollars), Err(Ignored::OtherAmount));
}

#[test]
fn events_that_do_not_begin_with_a_placing_make_no_order() {
    let story = Story::confirmed();
    let tail = story.events.iter().skip(1).map(|(at, event)| (*at, event));
    assert_eq!(fold(ID, tail), None);
    assert_eq!(fold(ID, std::iter::empty()), None);
}
