use std::collections::HashMap;

use contract::ProductId;
use contract::stock::{Adjusted, Counted, Held, Movement, Rejected, Shortage, StockEvent, stream_of};
use uuid::Uuid;

use super::{Adjustment, Balance, Change, Command, Hold, HoldStatus, Imbalance, MAX_ON_HAND, Rejection, Stock, Units};
use super::{changes, product_of};

const ORDER: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

fn product(name: &str) -> ProductId {
    name.parse().expect("a product id")
}

fn units(of: &[(&str, i64)]) -> Vec<Units> {
    of.iter().map(|(name, quantity)| Units { product: product(name), quantity: *quantity }).collect()
}

/// Movements of (product, quantity, version).
fn held(revision: i32, moved: &[(&str, i64, i64)]) -> Held {
    let movement = |(name, quantity, version): &(&str, i64, i64)| Movement {
        product_id: product(name),
        quantity: *quantity,
        version: *version,
    };
    Held { revision, movements: moved.iter().map(movement).collect() }
}

fn shortage(name: &str, requested: i64, available: i64) -> Shortage {
    Shortage { product_id: product(name), requested, available }
}

fn reserve(order: Uuid, revision: i32, needs: &[(&str, i64)]) -> Command {
    Command::Reserve { order, revision, needs: units(needs) }
}

fn count(name: &str, on_hand: i64) -> Command {
    Command::Count { product: product(name), on_hand }
}

fn adjust(name: &str, delta: i64) -> Command {
    let (reason, reference) = ("found".to_owned(), None);
    Command::Adjust(Adjustment { product: product(name), delta, reason, reference })
}

/// Decides, applies and returns the events.
fn settle(stock: &mut Stock, command: &Command) -> Result<Vec<StockEvent>, Rejection> {
    let events = stock.decide(command)?;
    for event in &events {
        stock.evolve(command.stream(), event);
    }
    Ok(events)
}

fn given(commands: &[Command]) -> Stock {
    let mut stock = Stock::default();
    for command in commands {
        settle(&mut stock, command).expect("what is given is possible");
    }
    stock
}

#[track_caller]
fn assert_units(stock: &Stock, name: &str, (available, reserved, sold): (i64, i64, i64)) {
    let balance = stock.balance(&product(name));
    assert_eq!((balance.available, balance.reserved, balance.sold), (available, reserved, sold), "{name}");
}

#[test]
fn an_order_holds_all_of_its_lines() {
    let mut stock = given(&[count("a", 5), count("b", 5)]);
    let events = settle(&mut stock, &reserve(ORDER, 1, &[("a", 2), ("b", 5)]));
    assert_eq!(events, Ok(vec![StockEvent::Reserved(held(1, &[("a", 2, 2), ("b", 5, 2)]))]));
    assert_units(&stock, "a", (3, 2, 0));
    assert_units(&stock, "b", (0, 5, 0));
    let hold = Hold { revision: 1, status: HoldStatus::Held, units: units(&[("a", 2), ("b", 5)]), version: 1 };
    assert_eq!(stock.holds, HashMap::from([(ORDER, hold)]));
}

#[test]
fn an_order_with_one_short_line_holds_nothing_and_names_every_shortage() {
    let mut stock = given(&[count("a", 5), count("b", 5), count("c", 1)]);
    let events = settle(&mut stock, &reserve(ORDER, 1, &[("a", 2), ("b", 6), ("c", 3), ("unknown", 1)]));
    let shortages = vec![shortage("b", 6, 5), shortage("c", 3, 1), shortage("unknown", 1, 0)];
    assert_eq!(events, Ok(vec![StockEvent::Rejected(Rejected { revision: 1, shortages })]));
    assert_units(&stock, "a", (5, 0, 0));
    assert!(!stock.products.contains_key(&product("unknown")));
    assert_eq!(stock.holds[&ORDER].status, HoldStatus::Rejected);
}

#[test]
fn one_of_many_orders_gets_the_last_unit() {
    let mut stock = given(&[count("a", 1)]);
    let orders = (1..=100).map(Uuid::from_u128);
    let held = orders.filter(|order| {
        let events = settle(&mut stock, &reserve(*order, 1, &[("a", 1)])).expect("a new order");
        matches!(events[..], [StockEvent::Reserved(_)])
    });
    assert_eq!(held.collect::<Vec<_>>(), [Uuid::from_u128(1)], "the first to arrive");
    assert_units(&stock, "a", (0, 1, 0));
    assert_eq!(stock.balance(&product("a")).version, 2);
}

#[test]
fn an_amended_order_may_keep_what_it_holds_itself() {
    let mut stock = given(&[count("a", 5), count("b", 5), reserve(ORDER, 1, &[("a", 5), ("b", 1)])]);
    let events = settle(&mut stock, &reserve(ORDER, 2, &[("a", 4)]));
    let released = StockEvent::Released(held(1, &[("a", 5, 3), ("b", 1, 3)]));
    assert_eq!(events, Ok(vec![released, StockEvent::Reserved(held(2, &[("a", 4, 4)]))]));
    assert_units(&stock, "a", (1, 4, 0));
    assert_units(&stock, "b", (5, 0, 0));
    let hold = Hold { revision: 2, status: HoldStatus::Held, units: units(&[("a", 4)]), version: 3 };
    assert_eq!(stock.holds[&ORDER], hold);
}

#[test]
fn an_amended_order_that_is_short_keeps_nothing() {
    let mut stock = given(&[count("a", 5), reserve(ORDER, 1, &[("a", 3)])]);
    let events = settle(&mut stock, &reserve(ORDER, 2, &[("a", 6)]));
    let released = StockEvent::Released(held(1, &[("a", 3, 3)]));
    let rejected = StockEvent::Rejected(Rejected { revision: 2, shortages: vec![shortage("a", 6, 5)] });
    assert_eq!(events, Ok(vec![released, rejected]));
    assert_units(&stock, "a", (5, 0, 0));
}

#[test]
fn a_rejected_order_is_tried_again_when_it_is_amended() {
    let mut stock = given(&[count("a", 5), reserve(ORDER, 1, &[("a", 6)])]);
    let events = settle(&mut stock, &reserve(ORDER, 2, &[("a", 5)]));
    assert_eq!(events, Ok(vec![StockEvent::Reserved(held(2, &[("a", 5, 2)]))]));
}

#[test]
fn a_revision_is_decided_once() {
    let mut stock = given(&[count("a", 5), reserve(ORDER, 2, &[("a", 1)]), reserve(OTHER, 1, &[("a", 9)])]);
    let before = stock.clone();
    for repeated in [reserve(ORDER, 2, &[("a", 1)]), reserve(ORDER, 1, &[("a", 2)]), reserve(OTHER, 1, &[("a", 9)])] {
        assert_eq!(settle(&mut stock, &repeated), Err(Rejection::Stale));
    }
    assert_eq!(stock, before);
}

#[test]
fn a_confirmed_order_is_sold_once() {
    let mut stock = given(&[count("a", 5), reserve(ORDER, 1, &[("a", 2)])]);
    let sell = Command::Sell { order: ORDER, revision: 1 };
    assert_eq!(settle(&mut stock, &sell), Ok(vec![StockEvent::Sold(held(1, &[("a", 2, 3)]))]));
    assert_units(&stock, "a", (3, 0, 2));
    assert_eq!(stock.holds[&ORDER].status, HoldStatus::Sold);
    assert_eq!(settle(&mut stock, &sell), Err(Rejection::Stale));
    assert_eq!(settle(&mut stock, &reserve(ORDER, 2, &[("a", 1)])), Err(Rejection::Stale));
}

#[test]
fn only_the_held_revision_is_sold() {
    let mut stock = given(&[count("a", 5), reserve(ORDER, 2, &[("a", 2)]), reserve(OTHER, 1, &[("a", 9)])]);
    for (order, revision) in [(ORDER, 1), (ORDER, 3), (OTHER, 1), (Uuid::from_u128(3), 1)] {
        assert_eq!(settle(&mut stock, &Command::Sell { order, revision }), Err(Rejection::Stale));
    }
}

#[test]
fn a_dead_order_gives_back_what_it_holds() {
    let mut stock = given(&[count("a", 5), reserve(ORDER, 1, &[("a", 2)])]);
    let give_back = Command::GiveBack { order: ORDER };
    assert_eq!(settle(&mut stock, &give_back), Ok(vec![StockEvent::Released(held(1, &[("a", 2, 3)]))]));
    assert_units(&stock, "a", (5, 0, 0));
    assert_eq!(settle(&mut stock, &give_back), Err(Rejection::Stale));
    assert_eq!(settle(&mut stock, &reserve(ORDER, 2, &[("a", 1)])), Err(Rejection::Stale));
    assert_eq!(settle(&mut stock, &Command::Sell { order: ORDER, revision: 1 }), Err(Rejection::Stale));
}

#[test]
fn an_order_cancelled_after_it_was_sold_returns_its_units() {
    let sell = Command::Sell { order: ORDER, revision: 1 };
    let mut stock = given(&[count("a", 5), reserve(ORDER, 1, &[("a", 2)]), sell]);
    let events = settle(&mut stock, &Command::GiveBack { order: ORDER });
    assert_eq!(events, Ok(vec![StockEvent::Returned(held(1, &[("a", 2, 4)]))]));
    assert_units(&stock, "a", (5, 0, 0));
    let hold = Hold { revision: 1, status: HoldStatus::Closed, units: Vec::new(), version: 3 };
    assert_eq!(stock.holds[&ORDER], hold);
}

#[test]
fn a_dead_order_without_a_hold_gives_nothing_back() {
    let mut stock = given(&[count("a", 5), reserve(ORDER, 1, &[("a", 9)])]);
    for order in [ORDER, OTHER] {
        assert_eq!(settle(&mut stock, &Command::GiveBack { order }), Ok(Vec::new()));
    }
}

#[test]
fn the_first_count_makes_a_product_known_even_when_it_finds_nothing() {
    let mut stock = Stock::default();
    let counted = Counted { product_id: product("a"), on_hand: 0, delta: 0, version: 1 };
    assert_eq!(settle(&mut stock, &count("a", 0)), Ok(vec![StockEvent::Counted(counted)]));
    assert!(stock.products.contains_key(&product("a")));
    assert_eq!(settle(&mut stock, &count("a", 0)), Ok(Vec::new()), "the same count again changes nothing");
}

#[test]
fn a_count_sets_what_is_on_hand_and_leaves_holds_alone() {
    let mut stock = given(&[count("a", 5), reserve(ORDER, 1, &[("a", 2)])]);
    let counted = Counted { product_id: product("a"), on_hand: 2, delta: -3, version: 3 };
    assert_eq!(settle(&mut stock, &count("a", 2)), Ok(vec![StockEvent::Counted(counted)]));
    assert_units(&stock, "a", (0, 2, 0));
    assert_eq!(settle(&mut stock, &count("a", 1)), Err(Rejection::BelowReserved { on_hand: 1, reserved: 2 }));
}

#[test]
fn an_adjustment_adds_or_takes_what_is_available() {
    let mut stock = given(&[count("a", 5), reserve(ORDER, 1, &[("a", 2)])]);
    let adjusted = |delta, version| {
        let (product_id, reason, reference) = (product("a"), "found".to_owned(), None);
        Ok(vec![StockEvent::Adjusted(Adjusted { product_id, delta, reason, reference, version })])
    };
    assert_eq!(settle(&mut stock, &adjust("a", 1)), adjusted(1, 3));
    assert_eq!(settle(&mut stock, &adjust("a", -4)), adjusted(-4, 4));
    assert_units(&stock, "a", (0, 2, 0));
    assert_eq!(settle(&mut stock, &adjust("a", -1)), Err(Rejection::BelowReserved { on_hand: 1, reserved: 2 }));
}

#[test]
fn an_adjustment_is_refused_for_an_unknown_product_and_above_the_maximum() {
    let mut stock = given(&[count("a", MAX_ON_HAND)]);
    assert_eq!(settle(&mut stock, &adjust("b", 1)), Err(Rejection::UnknownProduct));
    assert_eq!(settle(&mut stock, &adjust("a", 1)), Err(Rejection::AboveMaximum));
}

#[test]
fn what_came_back_above_the_maximum_may_be_taken_away() {
    let sell = Command::Sell { order: ORDER, revision: 1 };
    let sold = [count("a", MAX_ON_HAND), reserve(ORDER, 1, &[("a", 9)]), sell, count("a", MAX_ON_HAND)];
    let mut stock = given(&sold);
    settle(&mut stock, &Command::GiveBack { order: ORDER }).expect("it was sold");
    assert_eq!(settle(&mut stock, &adjust("a", 1)), Err(Rejection::AboveMaximum));
    assert!(settle(&mut stock, &adjust("a", -1)).is_ok());
}

#[test]
fn counts_and_adjustments_number_their_own_stream() {
    let mut stock = Stock::default();
    let commands = [count("a", 5), reserve(ORDER, 1, &[("a", 2)]), adjust("a", 1)];
    let numbered = commands.map(|command| {
        let events = stock.decide(&command).expect("possible");
        let numbers = events.iter().map(|event| stock.evolve(command.stream(), event));
        (command.stream(), numbers.collect::<Vec<_>>())
    });
    let of_a = stream_of(&product("a"));
    assert_eq!(numbered, [(of_a, vec![1]), (ORDER, vec![1]), (of_a, vec![2])]);
    assert_eq!(stock.balance(&product("a")).version, 3);
}

#[test]
fn an_event_names_the_product_whose_stream_it_belongs_to() {
    let counted = Counted { product_id: product("a"), on_hand: 1, delta: 1, version: 1 };
    assert_eq!(product_of(&StockEvent::Counted(counted)), Some(&product("a")));
    assert_eq!(product_of(&StockEvent::Sold(held(1, &[("a", 1, 1)]))), None);
}

#[test]
fn a_balance_is_the_fold_of_its_changes() {
    let mut stock = Stock::default();
    let sell = Command::Sell { order: ORDER, revision: 1 };
    let commands = [count("a", 5), reserve(ORDER, 1, &[("a", 2)]), sell, adjust("a", -3)];
    let events: Vec<_> = commands.iter().flat_map(|command| settle(&mut stock, command).expect("possible")).collect();
    let of_a = events.iter().flat_map(changes).map(|(_, change)| change);
    assert_eq!(Balance::fold(of_a), Ok(stock.balance(&product("a"))));
}

#[test]
fn a_fold_refuses_gaps_repeats_and_units_that_were_not_there() {
    let change = |version, available| Change { version, available, reserved: 0, sold: 0, own: true };
    assert_eq!(Balance::fold([change(1, 1), change(3, 1)]), Err(Imbalance::Gap { last: 1, found: 3 }));
    assert_eq!(Balance::fold([change(1, 1), change(1, 1)]), Err(Imbalance::Gap { last: 1, found: 1 }));
    let oversold = Balance::fold([change(1, 1), change(2, -2), change(3, 2)]);
    assert!(matches!(oversold, Err(Imbalance::Negative(Balance { version: 2, available: -1, .. }))));
}
