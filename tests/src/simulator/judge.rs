//! What must never happen, and what must have happened in the end. The books are judged by the audit's own judges.

use std::collections::{BTreeMap, BTreeSet};

use contract::event::UnreadableData;
use contract::notice::NoticeEvent;
use contract::order::OrderEvent;
use contract::payment::PaymentEvent;
use contract::stock::{StockEvent, stream_of};
use contract::{Lane, Record, Topic};
use journal::idempotency::Used;
use ordersystem::audit::{self, Case, Dossier, Duty, Key, Moment, Told};
use uuid::Uuid;

use super::parts::Part;
use super::service::Service;
use super::world::World;

type Applied = ((&'static str, Topic, Lane), i64);

/// Judges the books while everything is under way.
pub fn in_passing(world: &mut World) {
    let found = judge(world, false);
    world.env.violations.extend(found);
}

/// Judges the books, what clients were told, and what became of every record, when everything has settled.
pub fn at_rest(world: &mut World) {
    let mut found = judge(world, true);
    found.extend(applied_once(&world.orders, world));
    found.extend(applied_once(&world.stocks, world));
    found.extend(applied_once(&world.payments, world));
    found.extend(applied_once(&world.notices, world));
    found.extend(history(world));
    world.env.violations.extend(found);
}

/// What is not settled yet; nothing when everything is.
pub fn waits_for(world: &World) -> Option<String> {
    let open = world.orders.store.tables.orders.values().find(|order| order.shown.status.is_open());
    let open = open.map(|order| format!("order {} is {}", order.shown.id, order.shown.status.as_str()));
    let asks = || {
        let mut accounts = world.payments.store.tables.accounts.values();
        let call = accounts.find_map(|(account, _)| account.next_call());
        call.map(|call| format!("the provider is asked to {} {}", call.step.as_str(), call.key))
    };
    let behind = || {
        behind(&world.orders, world)
            .or_else(|| behind(&world.stocks, world))
            .or_else(|| behind(&world.payments, world))
            .or_else(|| behind(&world.notices, world))
    };
    open.or_else(asks).or_else(behind)
}

/// A consumer that has not applied everything.
fn behind<P: Part>(service: &Service<P>, world: &World) -> Option<String> {
    world.env.lanes.all().find_map(|lane| {
        P::SOURCES.iter().find_map(|source| {
            let (applied, last) = (service.store.inbox(*source, lane).seq, events(world, *source)[lane.index()].len());
            let is_behind = applied != i64::try_from(last).unwrap_or(i64::MAX);
            is_behind.then(|| format!("{} has applied {applied} of {last} in lane {lane} of {source}", P::SCHEMA))
        })
    })
}

/// Every record that a service reads had its effects once, and none that was not there had any.
fn applied_once<P: Part>(service: &Service<P>, world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut left = service.store.effects.clone();
    for source in P::SOURCES {
        for record in events(world, *source).iter().flatten() {
            let times = left.remove(&(*source, record.lane, record.seq)).unwrap_or(0);
            let due = u32::from(P::read(*source, record).is_ok_and(|command| command.is_some()));
            if times != due {
                let (place, kind) = ((record.lane, record.seq), &record.kind);
                wrong.push(format!("{} applied {kind} at {place:?} of {source} {times} times", P::SCHEMA));
            }
        }
    }
    wrong.extend(left.keys().map(|place| format!("{} applied {place:?}, which nobody wrote", P::SCHEMA)));
    wrong
}

/// What was acknowledged is there, what is there was sent, and a key stands for one order.
fn history(world: &World) -> Vec<String> {
    let orders: BTreeSet<Uuid> = world.orders.store.tables.orders.keys().copied().collect();
    let clients = &world.clients;
    let lost =
        clients.acknowledged.difference(&orders).map(|id| format!("order {id} was acknowledged and is not there"));
    let unasked = orders.difference(&clients.sent).map(|id| format!("order {id} is there, and nobody sent it"));
    let twice = clients.by_key.iter().filter(|(_, ids)| ids.len() > 1);
    let twice = twice.map(|(key, ids)| format!("{key} was acknowledged as {ids:?}"));
    lost.chain(unasked).chain(twice).collect()
}

fn events(world: &World, topic: Topic) -> &[Vec<Record>] {
    match topic {
        Topic::Orders => &world.orders.store.events,
        Topic::Inventory => &world.stocks.store.events,
        Topic::Payments => &world.payments.store.events,
        Topic::Notifications => &world.notices.store.events,
    }
}

fn judge(world: &World, settled: bool) -> Vec<String> {
    let numbered = Topic::ALL.into_iter().flat_map(|topic| numbered(topic, events(world, topic)));
    let mut found: Vec<String> = numbered.collect();
    match case(world, settled) {
        Ok(case) => found.extend(case.judge()),
        Err(error) => found.push(error.to_string()),
    }
    found
}

/// The events of each lane are 1, 2, 3 …
fn numbered(topic: Topic, lanes: &[Vec<Record>]) -> Vec<String> {
    let wrong = |lane: &Vec<Record>| {
        let place = (1..).zip(lane).find(|(seq, record)| record.seq != *seq);
        place.map(|(seq, record)| format!("{topic}, lane {}: {} where {seq} belongs", record.lane, record.seq))
    };
    lanes.iter().filter_map(wrong).collect()
}

/// Everything that is kept, as the audit reads it.
fn case(world: &World, settled: bool) -> Result<Case, UnreadableData> {
    let mut dossiers: BTreeMap<Uuid, Dossier> = BTreeMap::new();
    let orders = &world.orders.store;
    for record in streams(&orders.events) {
        if let Some(event) = OrderEvent::decode(&record.kind, &record.data)? {
            of(&mut dossiers, record.stream).order.push(Told { record: record.clone(), event });
        }
    }
    for (id, order) in &orders.tables.orders {
        let dossier = of(&mut dossiers, *id);
        dossier.order_row.push(order.clone());
        let lane = world.env.lanes.of_order(*id).as_i16();
        dossier.duty.push(Duty { lane, open: order.shown.status.is_open() });
    }
    for used in orders.tables.keys.used() {
        of(&mut dossiers, used.stream).order_keys.push(as_key(used));
    }
    let products = stock(world, &mut dossiers)?;
    money(world, &mut dossiers)?;
    notices(world, &mut dossiers)?;
    for dossier in dossiers.values_mut() {
        let told = dossier.order.iter().map(|told| (told.record.at, &told.event));
        dossier.made = order::order::fold(dossier.id, told);
    }
    let applied = [applied(&world.orders), applied(&world.stocks), applied(&world.payments), applied(&world.notices)];
    let moment =
        Moment::of(world.env.time(), world.env.lanes, settled, audit::PATIENCE_SECONDS, applied.into_iter().flatten());
    Ok(Case { moment, orders: dossiers.into_values().collect(), products })
}

type Products = Vec<(contract::ProductId, inventory::stock::Balance, Vec<StockEvent>)>;

fn stock(world: &World, dossiers: &mut BTreeMap<Uuid, Dossier>) -> Result<Products, UnreadableData> {
    let store = &world.stocks.store;
    let mut own: BTreeMap<Uuid, Vec<StockEvent>> = BTreeMap::new();
    for record in streams(&store.events) {
        match StockEvent::decode(&record.kind, &record.data)? {
            Some(event) if record.subject.is_some() => own.entry(record.stream).or_default().push(event),
            Some(event) => of(dossiers, record.stream).stock.push(Told { record: record.clone(), event }),
            None => {}
        }
    }
    for (order, hold) in &store.tables.holds {
        of(dossiers, *order).hold.push(hold.clone());
    }
    let products = store.tables.products.iter();
    Ok(products.map(|(id, row)| (id.clone(), *row, own.remove(&stream_of(id)).unwrap_or_default())).collect())
}

fn money(world: &World, dossiers: &mut BTreeMap<Uuid, Dossier>) -> Result<(), UnreadableData> {
    let store = &world.payments.store;
    for record in streams(&store.events) {
        if let Some(event) = PaymentEvent::decode(&record.kind, &record.data)? {
            of(dossiers, record.stream).payment.push(Told { record: record.clone(), event });
        }
    }
    let tables = &store.tables;
    for (order, (account, _)) in &tables.accounts {
        of(dossiers, *order).account.push(account.clone());
    }
    for (order, attempt) in tables.attempts.values() {
        of(dossiers, *order).attempts.push(attempt.clone());
    }
    let order_of = |payment: &Uuid| tables.attempts.get(payment).map_or(*payment, |(order, _)| *order);
    for posting in tables.ledger.values() {
        of(dossiers, order_of(&posting.payment)).postings.push(*posting);
    }
    for charge in world.provider.charges.values() {
        of(dossiers, order_of(&charge.key)).charges.push(charge.clone());
    }
    for used in tables.keys.used() {
        of(dossiers, used.stream).payment_keys.push(as_key(used));
    }
    Ok(())
}

fn notices(world: &World, dossiers: &mut BTreeMap<Uuid, Dossier>) -> Result<(), UnreadableData> {
    let store = &world.notices.store;
    for record in streams(&store.events) {
        if let Some(event) = NoticeEvent::decode(&record.kind, &record.data)? {
            let NoticeEvent::Raised(raised) = &event;
            of(dossiers, raised.order_id).told.push(Told { record: record.clone(), event });
        }
    }
    for notice in store.tables.notices.values() {
        of(dossiers, notice.order_id).notices.push(notice.clone());
    }
    Ok(())
}

fn of(dossiers: &mut BTreeMap<Uuid, Dossier>, id: Uuid) -> &mut Dossier {
    dossiers.entry(id).or_insert_with(|| Dossier { id, ..Dossier::default() })
}

/// Every event, stream by stream.
fn streams(lanes: &[Vec<Record>]) -> Vec<&Record> {
    let mut records: Vec<&Record> = lanes.iter().flatten().collect();
    records.sort_by_key(|record| (record.stream, record.version));
    records
}

fn applied<P: Part>(service: &Service<P>) -> Vec<Applied> {
    let inboxes = service.store.inboxes.iter();
    inboxes.map(|((source, lane), position)| ((P::SCHEMA, *source, *lane), position.seq)).collect()
}

fn as_key(used: &Used) -> Key {
    Key { scope: used.key.scope.to_string(), text: used.key.text.to_string(), version: used.version }
}
