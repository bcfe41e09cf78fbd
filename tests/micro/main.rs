//! `make micro`: what each step of a batch costs in memory, with neither broker nor database. Times are of a batch of
//! [`ORDERS`]; items a second are orders.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use contract::order::{Line, OrderEvent, PaymentMethod};
use contract::{Currency, Envelope, Event, Lane, Record, Topic};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use inventory::stock::Balance;
use inventory::store::Inventory;
use journal::protocol::{Batch, Body, Holding, Incoming, Item, Origin, Position};
use journal::{Decision, Model};
use order::order::{Place, Policy};
use order::store::{Command, Placing, Rows, key};
use tokio::sync::oneshot;
use uuid::Uuid;

/// A full batch: beyond, an order gets no cheaper.
const ORDERS: usize = 512;
/// Products that orders are of.
const PRODUCTS: usize = 10_000;
/// Units of each.
const ON_HAND: i64 = 1_000_000;
const LANE: Lane = Lane(0);
const POLICY: Policy = Policy { payment_timeout: TimeDelta::minutes(15), payment_attempts: 3 };

fn main() {
    divan::main();
}

/// A record as a consumer gets it.
struct Message {
    headers: HashMap<String, Vec<u8>>,
    value: Vec<u8>,
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn product(number: usize) -> String {
    format!("product-{}", number % PRODUCTS)
}

fn line(product: String) -> Line {
    Line { product_id: product.try_into().expect("an id"), quantity: 2, unit_price: 1250 }
}

/// Order `number`, of two products.
fn placing(number: usize) -> Placing {
    let place = Place {
        customer_id: format!("customer-{number}").try_into().expect("an id"),
        currency: Currency::try_from("EUR").expect("a currency"),
        lines: vec![line(product(number)), line(product(7 * number + 1))],
        total: 5000,
        payment: Some(PaymentMethod { token: "tok_ok".to_owned() }),
    };
    Placing { id: Uuid::now_v7(), key: Some(key(&format!("cart-{number}"), &place)), place }
}

fn placings() -> Vec<Command> {
    (0..ORDERS).map(|number| Command::Place(Box::new(placing(number)))).collect()
}

/// The batch of [`placings`], as it is decided.
fn decided(commands: &[Command]) -> (Rows, Vec<Record>) {
    let (mut rows, mut appended) = (Rows::default(), Vec::with_capacity(ORDERS));
    for command in commands {
        rows.settle(command, POLICY, &mut Decision::new(now(), LANE, &mut appended));
    }
    for (record, seq) in appended.iter_mut().zip(1..) {
        record.seq = seq;
    }
    (rows, appended)
}

/// Records that tell of placed orders.
fn placed() -> Vec<Record> {
    decided(&placings()).1
}

fn events(records: &[Record]) -> Vec<OrderEvent> {
    let event =
        |record: &Record| OrderEvent::decode(&record.kind, &record.data).expect("is readable").expect("is known");
    records.iter().map(event).collect()
}

fn message(record: &Record) -> Message {
    let mut headers = HashMap::new();
    record.headers(Topic::Orders, |name, value| {
        headers.insert(name.to_owned(), value.to_owned());
    });
    Message { headers, value: record.data.to_vec() }
}

/// Inventory's rows for the products of these requests, as they were read from its tables.
fn stock(requests: &[inventory::store::Request]) -> inventory::store::Rows {
    let mut rows = inventory::store::Rows::default();
    for product in requests.iter().flat_map(|request| request.command().products()) {
        rows.take_product(product.clone(), Balance { available: ON_HAND, version: 1, ..Balance::default() });
    }
    rows
}

fn reservations(records: &[Record]) -> Vec<inventory::store::Request> {
    let read = |record: &Record| inventory::messages::read(record).expect("is readable").expect("is of interest");
    records.iter().map(read).map(Into::into).collect()
}

fn inventory() -> Inventory {
    Inventory::new(process::Process::new("micro").metrics())
}

#[divan::bench]
fn decide_placing(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(ORDERS)).with_inputs(placings).bench_refs(|commands| decided(commands));
}

#[divan::bench]
fn decide_reserving(bencher: Bencher<'_, '_>) {
    let (inventory, records) = (inventory(), placed());
    let given = || {
        let requests = reservations(&records);
        (stock(&requests), requests)
    };
    bencher.counter(ItemsCount::new(ORDERS)).with_inputs(given).bench_refs(|(rows, requests)| {
        let mut appended = Vec::with_capacity(ORDERS);
        for request in requests {
            let mut decision = Decision::new(now(), LANE, &mut appended);
            black_box(inventory.decide(rows, request, &mut decision));
        }
        appended
    });
}

#[divan::bench]
fn encode_data(bencher: Bencher<'_, '_>) {
    let events = events(&placed());
    bencher.counter(ItemsCount::new(ORDERS)).bench(|| {
        let mut data = Vec::with_capacity(ORDERS * 512);
        for event in &events {
            event.encode(&mut data);
        }
        data
    });
}

#[divan::bench]
fn encode_headers(bencher: Bencher<'_, '_>) {
    let records = placed();
    bencher.counter(ItemsCount::new(ORDERS)).bench(|| {
        for record in &records {
            record.headers(Topic::Orders, |name, value| {
                black_box((name, value));
            });
        }
    });
}

#[divan::bench]
fn decode_headers(bencher: Bencher<'_, '_>) {
    let messages: Vec<Message> = placed().iter().map(message).collect();
    bencher.counter(ItemsCount::new(ORDERS)).bench(|| {
        for Message { headers, value } in &messages {
            let headers = headers.iter().map(|(name, value)| (&**name, &**value));
            let record = Record::read(&Envelope::of(headers), Some(value));
            black_box(record.expect("is readable"));
        }
    });
}

#[divan::bench]
fn decode_data(bencher: Bencher<'_, '_>) {
    let records = placed();
    bencher.counter(ItemsCount::new(ORDERS)).bench(|| reservations(&records));
}

/// What inventory takes from its topic until the batch can be decided.
#[divan::bench]
fn assemble_from_records(bencher: Bencher<'_, '_>) {
    let records = placed();
    bencher.counter(ItemsCount::new(ORDERS)).with_inputs(|| records.clone()).bench_values(|records| {
        let mut holding = Holding::default();
        holding.take(LANE, 1, [(Topic::Orders, Position::default())]);
        let mut batch = Batch::<_, ()>::new();
        let at = Instant::now();
        for (record, offset) in records.into_iter().zip(0..) {
            let incoming = Incoming { source: Topic::Orders, lane: LANE, offset, body: Body::Record(Box::new(record)) };
            batch.take_in(incoming, &mut holding, at, |_, record| inventory::messages::read(record));
        }
        batch.reach = holding.dirty();
        assert_eq!(batch.items.len(), ORDERS);
        batch
    });
}

/// What the order service does with the orders that callers wait for: decided, and their events numbered.
#[divan::bench]
fn assemble_from_callers(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(ORDERS)).with_inputs(placings).bench_values(|commands| {
        let mut batch = Batch::new();
        for command in commands {
            let origin = Origin::<()>::Caller { answer: oneshot::channel().0, trace: None };
            batch.items.push(Item { lane: LANE, command, origin });
        }
        let mut rows = Rows::default();
        let heads = BTreeMap::from([(LANE, 0)]);
        let settle = |command: &Command, decision: &mut Decision<'_>| rows.settle(command, POLICY, decision);
        batch.decide(now(), &heads, &mut Uuid::now_v7, settle).expect("its lane is locked")
    });
}

/// The columns that inventory sends, from the rows that its batch changed.
#[divan::bench]
fn assemble_columns(bencher: Bencher<'_, '_>) {
    let inventory = inventory();
    let requests = reservations(&placed());
    let mut rows = stock(&requests);
    let mut appended = Vec::new();
    for request in &requests {
        inventory.decide(&mut rows, request, &mut Decision::new(now(), LANE, &mut appended));
    }
    bencher.counter(ItemsCount::new(ORDERS)).bench_local(|| inventory.write(&rows).len());
}
