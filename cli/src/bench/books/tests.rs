//! The books, held against answers that are right and wrong.

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn placed(id: u128, end: End) -> Placed {
    Placed { id: Uuid::from_u128(id), end, at: at(10), measured: true, left_alone: true }
}

fn answer(id: u128, status: &str, reason: Option<&str>) -> OrderAnswer {
    OrderAnswer {
        id: Uuid::from_u128(id),
        customer_id: "run-1".to_owned(),
        status: status.to_owned(),
        reason: reason.map(ToOwned::to_owned),
        total: 1,
        placed_at: at(10),
        updated_at: at(12),
    }
}

fn books(placed: &[Placed]) -> Books {
    Books::open(placed, "run-".to_owned())
}

#[test]
fn what_ended_as_it_should_leaves_nothing_to_say() {
    // given
    let mut books = books(&[placed(1, End::Confirmed), placed(2, End::OutOfStock), placed(3, End::PaymentDeclined)]);
    // when
    books.listed(&answer(1, "pending", None));
    assert_eq!(books.unsettled().len(), 3);
    books.listed(&answer(1, "confirmed", None));
    books.listed(&answer(2, "rejected", Some("out_of_stock")));
    books.listed(&answer(3, "rejected", Some("payment_declined")));
    // then
    let judgement = books.judge();
    assert!(books.unsettled().is_empty());
    assert_eq!((judgement.settled, judgement.lost, judgement.unsettled), (3, 0, 0));
    assert_eq!((judgement.unlisted, judgement.otherwise, judgement.unclaimed), (0, 0, 0));
    assert_eq!(judgement.span, Some(TimeDelta::seconds(2)));
    assert!(judgement.ends.iter().all(|end| end.expected == 1 && end.found == 1), "{:?}", judgement.ends);
}

#[test]
fn an_order_that_no_one_knows_is_lost() {
    let mut books = books(&[placed(1, End::Confirmed), placed(2, End::Confirmed)]);
    books.missing(Uuid::from_u128(1));
    let judgement = books.judge();
    assert_eq!((judgement.lost, judgement.settled), (2, 0));
}

#[test]
fn an_order_that_is_there_and_not_settled_is_unsettled() {
    let mut books = books(&[placed(1, End::Confirmed)]);
    books.listed(&answer(1, "reserved", None));
    let judgement = books.judge();
    assert_eq!((judgement.lost, judgement.unsettled, judgement.settled), (0, 1, 0));
}

#[test]
fn a_settled_order_that_the_list_never_showed_is_unlisted() {
    let mut books = books(&[placed(1, End::Confirmed)]);
    books.note(&answer(1, "confirmed", None));
    let judgement = books.judge();
    assert_eq!((judgement.unlisted, judgement.settled, judgement.lost), (1, 1, 0));
}

#[test]
fn two_orders_that_ended_as_each_other_are_noticed() {
    let mut books = books(&[placed(1, End::Confirmed), placed(2, End::Cancelled)]);
    books.listed(&answer(1, "cancelled", Some("why not")));
    books.listed(&answer(2, "confirmed", None));
    assert_eq!(books.judge().otherwise, 2);
}

#[test]
fn only_an_unknown_order_of_this_runs_customers_is_unclaimed() {
    let mut books = books(&[]);
    books.listed(&answer(1, "confirmed", None));
    books.listed(&answer(1, "confirmed", None));
    books.listed(&OrderAnswer { customer_id: "ann".to_owned(), ..answer(2, "confirmed", None) });
    assert_eq!(books.judge().unclaimed, 1);
}

#[test]
fn a_warm_up_is_judged_but_not_timed() {
    let mut books = books(&[Placed { measured: false, ..placed(1, End::Confirmed) }]);
    books.listed(&answer(1, "confirmed", None));
    let judgement = books.judge();
    assert_eq!((judgement.settled, judgement.span, judgement.ends[0].found), (0, None, 1));
    assert_eq!(judgement.changes.percentiles(), None);
}
