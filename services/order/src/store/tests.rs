//! Batches in memory: what is decided, what is written, who is told.

use contract::{Lane, stock::Shortage};
use journal::idempotency::Used;
use process::Process;
use std::time::Duration;

use super::*;
use crate::order::fixtures::{self, POLICY, noon};
use crate::order::{IfMatch, News, Status};

const NEW: Uuid = Uuid::from_u128(7);

fn model() -> Orders {
    let metrics = OrderMetrics::register(Process::new("test").metrics());
    let (waiters, admission) = (Waiters::new(metrics.waiting.clone()), Admission::new(metrics.on_their_way.clone()));
    Orders::new(Lanes::new(6).expect("in range"), POLICY, waiters, admission, metrics)
}

/// A batch under way.
struct Batch {
    model: Orders,
    rows: Rows,
    appended: Vec<Record>,
}

impl Batch {
    /// Nothing is loaded.
    fn new() -> Self {
        Self { model: model(), rows: Rows::default(), appended: Vec::new() }
    }

    /// A batch that loaded this order.
    fn with(order: Order) -> Self {
        let mut batch = Self::new();
        batch.rows.orders.insert(order.shown.id, Kept::stored(order.into()));
        batch
    }

    fn decide(&mut self, command: &Command) -> Answer {
        let mut decision = Decision::new(noon(), Lane(0), &mut self.appended);
        self.model.decide(&mut self.rows, command, &mut decision)
    }

    fn versions(&self) -> Vec<i32> {
        self.appended.iter().map(|record| record.version).collect()
    }

    /// What is written, by statement.
    fn written(&self) -> Vec<&'static str> {
        self.model.write(&self.rows).iter().map(|query| query.sql).collect()
    }
}

fn place(id: Uuid, key: Option<Key>) -> Command {
    Command::Place(Box::new(Placing { id, place: fixtures::place(None), key }))
}

fn key(text: &str) -> Key {
    super::key(text, &fixtures::place(None))
}

fn learn(order: Uuid, news: News) -> Command {
    Command::Learn { order, fact: Fact { revision: 1, news } }
}

fn cancel(order: Uuid) -> Command {
    let command = order::Command::Cancel { if_match: IfMatch::Any, reason: "changed my mind".to_owned() };
    Command::Change { order, command }
}

fn shown(answer: Answer) -> (Status, i32) {
    let Answer::Order(order) = answer else { panic!("no order: {answer:?}") };
    (order.shown.status, order.shown.version)
}

#[test]
fn an_order_that_is_placed_and_changed_in_one_batch_is_inserted_as_it_is_in_the_end() {
    let mut batch = Batch::new();
    assert_eq!(shown(batch.decide(&place(NEW, None))), (Status::Pending, 1));
    batch.decide(&learn(NEW, News::StockReserved));
    assert_eq!(shown(batch.decide(&cancel(NEW))), (Status::Cancelled, 3));
    assert_eq!(batch.versions(), [1, 2, 3]);
    assert_eq!(batch.written(), [columns::INSERT]);
}

#[test]
fn an_answer_shows_the_order_as_it_was_then() {
    let mut batch = Batch::new();
    let Answer::Order(placed) = batch.decide(&place(NEW, None)) else { panic!("not placed") };
    batch.decide(&learn(NEW, News::StockReserved));
    assert_eq!((placed.shown.status, placed.shown.version), (Status::Pending, 1));
}

#[test]
fn an_order_that_was_there_is_updated() {
    let mut batch = Batch::with(fixtures::confirmed(NEW));
    assert_eq!(shown(batch.decide(&cancel(NEW))), (Status::Cancelled, 4));
    assert_eq!(batch.written(), [columns::UPDATE]);
    assert_eq!(batch.rows.orders[&NEW].new_lines(), None);
}

#[test]
fn new_lines_are_written() {
    let order = order::fold(NEW, fixtures::confirmed_events().iter().take(2).map(|(at, event)| (*at, event)));
    let mut batch = Batch::with(order.expect("placed"));
    let amendment = order::Amendment { lines: vec![fixtures::line("SKU-3", 1, 1)], total: 1, named: Vec::new() };
    let command = order::Command::Amend { if_match: IfMatch::Any, amendment };
    assert_eq!(shown(batch.decide(&Command::Change { order: NEW, command })), (Status::Pending, 3));
    assert!(batch.rows.orders[&NEW].new_lines().is_some());
}

#[test]
fn what_changes_nothing_writes_nothing_and_is_counted() {
    let mut batch = Batch::with(fixtures::confirmed(NEW));
    batch.decide(&learn(NEW, News::StockReserved));
    batch.decide(&learn(Uuid::from_u128(8), News::StockReserved));
    assert_eq!(batch.rows.ignored, [Ignored::Illegal, Ignored::UnknownOrder]);
    assert!(batch.appended.is_empty() && batch.written().is_empty());
}

#[test]
fn a_refused_command_changes_nothing() {
    let shortages: Vec<Shortage> = Vec::new();
    let mut batch = Batch::new();
    batch.decide(&place(NEW, None));
    batch.decide(&learn(NEW, News::StockRejected(shortages)));
    assert!(matches!(batch.decide(&cancel(NEW)), Answer::Refused(Refusal::Conflict { .. })));
    assert!(matches!(batch.decide(&cancel(Uuid::from_u128(8))), Answer::NotFound));
    assert_eq!(batch.versions(), [1, 2]);
}

#[test]
fn a_key_that_comes_a_hundred_times_at_once_places_one_order() {
    let mut batch = Batch::new();
    assert_eq!(shown(batch.decide(&place(NEW, Some(key("k"))))), (Status::Pending, 1));
    for again in 8..107 {
        let answer = batch.decide(&place(Uuid::from_u128(again), Some(key("k"))));
        assert!(matches!(answer, Answer::Replayed(NEW)), "{answer:?}");
    }
    assert_eq!(batch.appended.len(), 1);
    assert_eq!(batch.written(), [columns::INSERT, idempotency::INSERT]);
}

#[test]
fn a_key_that_was_used_before_answers_with_the_order_of_then() {
    let mut batch = Batch::new();
    batch.rows.keys = Keys::from_iter([Used { key: key("k"), stream: NEW, version: 1 }]);
    let answer = batch.decide(&place(Uuid::from_u128(8), Some(key("k"))));
    assert!(matches!(answer, Answer::Replayed(NEW)), "{answer:?}");
    assert!(batch.appended.is_empty() && batch.written().is_empty());
}

#[test]
fn a_key_of_another_request_is_refused() {
    let mut batch = Batch::new();
    batch.decide(&place(NEW, Some(key("k"))));
    let other = fixtures::place(Some(fixtures::token()));
    let other = Placing { id: Uuid::from_u128(8), key: Some(super::key("k", &other)), place: other };
    assert!(matches!(batch.decide(&Command::Place(Box::new(other))), Answer::KeyReused));
    assert_eq!(batch.appended.len(), 1);
}

#[test]
fn the_rows_are_the_fold_of_the_appended_events() {
    let mut batch = Batch::new();
    batch.decide(&place(NEW, None));
    batch.decide(&learn(NEW, News::StockReserved));
    batch.decide(&cancel(NEW));
    let events: Vec<_> = batch
        .appended
        .iter()
        .map(|record| {
            let event = OrderEvent::decode(&record.kind, &record.data).expect("can be read").expect("is known");
            (record.at, event)
        })
        .collect();
    let folded = order::fold(NEW, events.iter().map(|(at, event)| (*at, event)));
    assert_eq!(folded.as_ref(), Some(&*batch.rows.orders[&NEW].order));
}

#[test]
fn a_batch_loads_each_order_once_and_keys_only_if_there_are_any() {
    let loaded = |commands: &[&Command]| statements(&model().load(commands, &Recent::default()));
    assert_eq!(loaded(&[&cancel(NEW), &learn(NEW, News::StockReserved)]), [rows::LOAD]);
    assert_eq!(loaded(&[&place(NEW, Some(key("k")))]), [idempotency::LOAD]);
}

fn statements(queries: &[Query]) -> Vec<&'static str> {
    queries.iter().map(|query| query.sql).collect()
}

#[test]
fn an_order_that_a_batch_left_is_not_read_by_the_next() {
    let (mut batch, mut memory) = (Batch::new(), Recent::default());
    batch.decide(&place(NEW, None));
    let Batch { model, rows, .. } = batch;
    model.committed(rows, &mut memory);
    let (learn, cancel) = (learn(NEW, News::StockReserved), cancel(NEW));
    let commands = [&learn, &cancel];
    assert_eq!(statements(&model.load(&commands, &memory)), [""; 0]);
    let rows = model.rows(&commands, Loaded::default(), &mut memory).expect("nothing is read");
    let mut next = Batch { model, rows, appended: Vec::new() };
    assert!(matches!(next.decide(&learn), Answer::Noted));
    assert_eq!(shown(next.decide(&cancel)), (Status::Cancelled, 3));
    assert_eq!(next.written(), [columns::UPDATE]);
}

#[tokio::test]
async fn whoever_waits_is_told_by_the_batch_that_settles_the_order() {
    let mut batch = Batch::new();
    let waiter = batch.model.waiters.wait_for(NEW).expect("there is room");
    batch.decide(&place(NEW, None));
    batch.decide(&cancel(NEW));
    let Batch { model, rows, .. } = batch;
    model.committed(rows, &mut Recent::default());
    let settled = waiter.settled(Duration::ZERO).await.expect("is settled");
    assert_eq!(settled.shown.status, Status::Cancelled);
}
