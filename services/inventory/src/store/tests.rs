use chrono::DateTime;
use contract::stock::{StockEvent, stream_of};
use contract::{Lane, ProductId, Record, Topic};
use journal::{Decision, Loaded, Model as _, Query, idempotency};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as UnknownName;
use uuid::Uuid;

use super::batch::Rows;
use super::memory::Memory;
use super::{Answer, Inventory, Request, columns, rows};
use crate::messages::tests::{ORDER, confirmed, placed, record};
use crate::stock::{Adjustment, Balance, Command, Hold, HoldStatus, Rejection, Units};

fn product(name: &str) -> ProductId {
    name.parse().expect("is an id")
}

fn inventory() -> Inventory {
    Inventory::new(process::Process::new("test").metrics())
}

/// Rows in which so many units of a product are stored.
fn stored(name: &str, available: i64) -> Rows {
    let mut rows = Rows::default();
    rows.take_product(product(name), Balance { available, version: 1, stream_version: 1, ..Balance::default() });
    rows
}

fn adjust(name: &str, delta: i64, key: Option<&str>) -> Request {
    let (reason, reference) = ("found".to_owned(), None);
    Request::adjust(Adjustment { product: product(name), delta, reason, reference }, key)
}

/// Decides in one batch; gives the answers and the events.
fn batch(rows: &mut Rows, requests: &[Request]) -> (Vec<Answer>, Vec<Record>) {
    let (inventory, mut appended) = (inventory(), Vec::new());
    let answers = requests.iter().map(|request| {
        let mut decision = Decision::new(DateTime::UNIX_EPOCH, Lane(3), &mut appended);
        inventory.decide(rows, request, &mut decision)
    });
    (answers.collect(), appended)
}

fn statements(rows: &Rows) -> Vec<&'static str> {
    inventory().write(rows).iter().map(|Query { sql, .. }| *sql).collect()
}

/// What the orders' events ask for.
fn asked(events: &[(Uuid, contract::order::OrderEvent)]) -> Vec<Request> {
    let read = |(order, event): &(Uuid, _)| inventory().read(Topic::Orders, &record(*order, event));
    events.iter().map(|event| read(event).expect("can be read").expect("asks for something")).collect()
}

#[test]
fn a_storm_for_the_last_unit_is_one_change_of_one_row() {
    // given one unit
    let mut rows = stored("a", 1);
    // when a hundred orders want it in one batch
    let orders: Vec<_> = (1..=100).map(|n| (Uuid::from_u128(n), placed(&[("a", 1)]))).collect();
    let (_, appended) = batch(&mut rows, &asked(&orders));
    // then the first has it, each has its answer, and the product's row is written once
    let kinds: Vec<&str> = appended.iter().map(|record| &*record.kind).collect();
    assert_eq!(kinds[0], "stock.reserved.v1");
    assert_eq!(kinds[1..], ["stock.rejected.v1"; 99]);
    let now = Balance { reserved: 1, version: 2, stream_version: 1, ..Balance::default() };
    assert_eq!(rows.changed_products(), [(&product("a"), &now, 1)]);
    assert_eq!(rows.new_holds().len(), 100);
    assert_eq!(statements(&rows), [columns::UPDATE_STOCK, columns::INSERT_HOLDS]);
}

#[test]
fn an_order_that_is_placed_and_confirmed_in_one_batch_is_one_new_row() {
    let mut rows = stored("a", 3);
    let (_, appended) = batch(&mut rows, &asked(&[(ORDER, placed(&[("a", 2)])), (ORDER, confirmed())]));
    assert_eq!(appended.iter().map(|record| record.version).collect::<Vec<_>>(), [1, 2]);
    let units = vec![Units { product: product("a"), quantity: 2 }];
    let hold = Hold { revision: 1, status: HoldStatus::Sold, units, version: 2 };
    assert_eq!(rows.new_holds(), [(&ORDER, &hold)]);
    assert!(rows.changed_holds().is_empty());
}

#[test]
fn a_stored_hold_is_changed_in_place() {
    let mut rows = stored("a", 3);
    let units = vec![Units { product: product("a"), quantity: 2 }];
    rows.take_hold(ORDER, Hold { revision: 1, status: HoldStatus::Rejected, units, version: 1 });
    let (answers, _) = batch(&mut rows, &[Command::GiveBack { order: ORDER }.into()]);
    assert_eq!(answers, [Answer::Noted]);
    assert_eq!(statements(&rows), [""; 0], "nothing was held");
    let reserve = Command::Reserve { order: ORDER, revision: 2, needs: vec![] };
    batch(&mut rows, &[reserve.into()]);
    assert_eq!(statements(&rows), [columns::UPDATE_HOLDS]);
}

#[test]
fn a_fact_that_comes_again_is_counted_and_writes_nothing() {
    let mut rows = stored("a", 3);
    let sell = Command::Sell { order: ORDER, revision: 1 };
    let (answers, appended) = batch(&mut rows, &[sell.into()]);
    assert_eq!(answers, [Answer::Rejected(Rejection::Stale)]);
    assert_eq!((rows.ignored, appended.len()), (1, 0));
    assert_eq!(statements(&rows), [""; 0]);
}

#[test]
fn a_count_tells_whether_the_product_is_new() {
    let mut rows = stored("a", 3);
    let count = |name| Command::Count { product: product(name), on_hand: 3 }.into();
    let (answers, appended) = batch(&mut rows, &[count("a"), count("b"), count("b")]);
    let balance = Balance { available: 3, version: 1, stream_version: 1, ..Balance::default() };
    let counted = |is_new| Answer::Counted { balance, is_new };
    assert_eq!(answers, [counted(false), counted(true), counted(false)]);
    assert_eq!(statements(&rows), [columns::INSERT_STOCK]);
    // The product's own stream is keyed by the product.
    assert_eq!((&*appended[0].key(), appended[0].stream), ("b", stream_of(&product("b"))));
}

#[test]
fn an_adjustment_under_a_key_is_made_once() {
    let mut rows = stored("a", 3);
    let (answers, appended) = batch(&mut rows, &vec![adjust("a", 1, Some("k")); 100]);
    assert!(matches!(&answers[0], Answer::Adjusted(movement) if movement.change.version == 2));
    assert_eq!(answers[1..], vec![Answer::AdjustedBefore(2); 99]);
    assert_eq!(appended.len(), 1);
    assert_eq!(statements(&rows), [columns::UPDATE_STOCK, idempotency::INSERT]);
}

#[test]
fn a_key_stands_for_one_request_about_one_product() {
    let mut rows = stored("a", 3);
    rows.take_product(product("b"), Balance::default());
    let (answers, _) =
        batch(&mut rows, &[adjust("a", 1, Some("k")), adjust("a", 2, Some("k")), adjust("b", 1, Some("k"))]);
    assert!(matches!(answers[..], [Answer::Adjusted(_), Answer::KeyReused, Answer::Adjusted(_)]), "{answers:?}");
}

#[test]
fn a_refused_adjustment_leaves_its_key_free() {
    let mut rows = stored("a", 3);
    let (answers, _) = batch(&mut rows, &[adjust("a", -4, Some("k")), adjust("a", -3, Some("k"))]);
    assert!(matches!(answers[..], [Answer::Rejected(Rejection::BelowReserved { .. }), Answer::Adjusted(_)]));
}

#[test]
fn requests_differ_by_anything_that_is_asked() {
    let hash = |delta, reason: &str, reference: Option<&str>| {
        let (reason, reference) = (reason.to_owned(), reference.map(ToOwned::to_owned));
        Request::adjust(Adjustment { product: product("a"), delta, reason, reference }, Some("k")).key
    };
    let one = hash(1, "ab", None);
    assert_eq!(one, hash(1, "ab", None));
    for other in [hash(2, "ab", None), hash(1, "a", Some("b")), hash(1, "ab", Some(""))] {
        assert_ne!(one, other);
    }
}

#[test]
fn the_rows_are_the_fold_of_the_appended_events() {
    let mut rows = stored("a", 3);
    let (_, appended) = batch(&mut rows, &asked(&[(ORDER, placed(&[("a", 2)])), (ORDER, confirmed())]));
    let decoded = |record: &Record| StockEvent::decode(&record.kind, &record.data).expect("can be read");
    let events: Vec<StockEvent> = appended.iter().filter_map(decoded).collect();
    assert_eq!(rows.new_holds(), [(&ORDER, &Hold::fold(&events).expect("there are events"))]);
}

#[test]
fn a_batch_loads_each_product_once() {
    let orders: Vec<_> = (1..=3).map(|n| (Uuid::from_u128(n), placed(&[("b", 1), ("a", 1)]))).collect();
    let requests = asked(&orders);
    assert_eq!(Memory::default().unknown_products(&requests.iter().collect::<Vec<_>>()), ["a", "b"]);
}

#[test]
fn what_a_batch_left_is_not_read_by_the_next() {
    // given a batch that reserved stock for an order
    let (inventory, mut memory, mut rows) = (inventory(), Memory::default(), stored("a", 3));
    batch(&mut rows, &asked(&[(ORDER, placed(&[("a", 2)]))]));
    inventory.committed(rows, &mut memory);
    // when the next sells it
    let sell = asked(&[(ORDER, confirmed())]);
    let sell: Vec<&Request> = sell.iter().collect();
    assert!(inventory.load(&sell, &memory).is_empty());
    let mut rows = inventory.rows(&sell, Loaded::default(), &mut memory).expect("nothing is read");
    let (_, appended) = batch(&mut rows, &[Request::clone(sell[0])]);
    // then it goes on where the one before ended
    assert_eq!(&*appended[0].kind, "stock.sold.v1");
    let now = Balance { available: 1, sold: 2, version: 3, stream_version: 1, ..Balance::default() };
    assert_eq!(rows.changed_products(), [(&product("a"), &now, 2)]);
    assert_eq!(statements(&rows), [columns::UPDATE_STOCK, columns::UPDATE_HOLDS]);
}

#[test]
fn another_order_reads_its_hold_and_only_products_that_are_not_remembered() {
    let (inventory, mut memory) = (inventory(), Memory::default());
    inventory.committed(stored("a", 3), &mut memory);
    let requests = asked(&[(ORDER, placed(&[("b", 1), ("a", 2)]))]);
    let requests: Vec<&Request> = requests.iter().collect();
    assert_eq!(memory.unknown_products(&requests), ["b"]);
    let loads: Vec<_> = inventory.load(&requests, &memory).iter().map(|query| query.sql).collect();
    assert_eq!(loads, [rows::LOAD_HOLDS, rows::LOAD_STOCK]);
}

#[test]
fn every_statement_is_declared() {
    let mut rows = stored("a", 3);
    let requests = [adjust("a", 1, Some("k")), adjust("a", 1, None)];
    batch(&mut rows, &requests);
    let loads = inventory().load(&requests.iter().collect::<Vec<_>>(), &Memory::default());
    let used = loads.iter().map(|query| query.sql).chain(statements(&rows));
    for sql in used {
        assert!(Inventory::STATEMENTS.contains(&sql), "{sql}");
    }
}

#[test]
fn a_status_is_read_as_it_is_written() {
    for status in [HoldStatus::Held, HoldStatus::Sold, HoldStatus::Closed, HoldStatus::Rejected] {
        let read: Result<_, UnknownName> = HoldStatus::deserialize(status.as_str().into_deserializer());
        assert_eq!(read, Ok(status));
    }
}
