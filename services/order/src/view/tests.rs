//! A batch of events, however it is cut, makes the row that the events make.

use contract::order::{Amended, Cancelled, PaymentStatus, PaymentUpdated};

use super::*;
use crate::order::{Status, fixtures};

const ORDER: Uuid = Uuid::from_u128(1);

type Events = Vec<(DateTime<Utc>, OrderEvent)>;

/// An order that is placed, reserved, amended, reserved again, confirmed, cancelled and refunded.
fn eventful() -> Events {
    let mut events = fixtures::confirmed_events();
    let lines = vec![fixtures::line("SKU-3", 7, 100), fixtures::line("SKU-3", 1, 0), fixtures::line("SKU-1", 1, 0)];
    let amended = OrderEvent::Amended(Amended { revision: 2, lines, total: 700 });
    events.insert(2, (events[1].0, amended));
    let customer_id = fixtures::customer();
    let cancelled =
        OrderEvent::Cancelled(Cancelled { reason: "too late".to_owned(), customer_id: customer_id.clone() });
    let payment_id = Uuid::from_u128(2);
    let refunded = PaymentUpdated { payment_id, status: PaymentStatus::Refunded, customer_id };
    let at = events[events.len() - 1].0;
    events.extend([(at, cancelled), (at, OrderEvent::PaymentUpdated(refunded))]);
    events
}

/// What one batch of these events, the first of which has number `version`, brings.
fn batch(events: &[(DateTime<Utc>, OrderEvent)], version: i32) -> Touched {
    let mut rows = Rows::default();
    for (version, (at, event)) in (version..).zip(events) {
        rows.take_note(&Happened { order: ORDER, version, at: *at, event: event.clone() });
    }
    rows.0.remove(&ORDER).expect("touched")
}

/// What PostgreSQL makes of a row and a later batch.
fn updated(row: Touched, later: Touched) -> ViewRow {
    let (Touched::Placed(mut row), Touched::Changed(changed)) = (row, later) else { panic!("a row and its update") };
    row.shown.apply(changed.change, changed.version, changed.at);
    row.products = changed.products.unwrap_or(row.products);
    *row
}

#[test]
fn an_order_that_a_batch_brings_whole_is_one_row() {
    let events = eventful();
    for length in 1..=events.len() {
        let Touched::Placed(row) = batch(&events[..length], 1) else { panic!("a whole row") };
        assert_eq!(Some(*row), project(ORDER, &events[..length]));
    }
}

#[test]
fn an_order_that_two_batches_bring_is_a_row_and_one_update() {
    let events = eventful();
    for cut in 1..events.len() {
        let later = batch(&events[cut..], i32::try_from(cut).expect("few") + 1);
        let row = updated(batch(&events[..cut], 1), later);
        assert_eq!(Some(row), project(ORDER, &events), "cut at {cut}");
    }
}

#[test]
fn an_order_is_found_by_the_products_of_its_latest_lines() {
    let row = project(ORDER, &eventful()).expect("placed");
    let products: Vec<_> = row.products.iter().map(ProductId::as_str).collect();
    assert_eq!(products, ["SKU-1", "SKU-3"]);
    assert_eq!(row.shown.status, Status::Cancelled);
}

#[test]
fn a_batch_writes_each_table_once() {
    let mut rows = Rows::default();
    let events = eventful();
    for order in 1..=3_u128 {
        for (version, (at, event)) in (1..).zip(&events[..4]).skip(usize::from(order == 3)) {
            let order = Uuid::from_u128(order);
            rows.take_note(&Happened { order, version, at: *at, event: event.clone() });
        }
    }
    let written: Vec<_> = columns::write(&rows).iter().map(|query| query.sql).collect();
    assert_eq!(written, [columns::INSERT, columns::DELETE_LINES, columns::UPDATE, columns::INSERT_LINES]);
}
