//! Every parser at a border, each as a function of bytes that anyone may have sent. It refuses them or makes something
//! good of them; it never panics, and what it makes holds what is promised of it.
//!
//! `tests/corpus` has a folder of examples for each, which the suite `parsers` replays and varies.

use std::str;

use contract::order::OrderEvent;
use contract::{Envelope, ProductId, Record, Topic};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use k8s_openapi::ByteString;
use operator::observe::Secrets;
use operator::resource::OrderSystem;
use operator::validate::{Defaults, named, validate};
use ordersystem::manifest::Manifest;
use process::headers::{idempotency_key, trace};
use process::negotiation::{MAX_WAIT, preferred_wait};
use process::page::Cursor;
use uuid::Uuid;

/// A parser at a border.
#[derive(Clone, Copy)]
pub struct Border {
    /// Its name, and that of its folder of examples.
    pub name: &'static str,
    /// Reads what was sent. Panics if what comes of it breaks a promise.
    pub read: fn(&[u8]),
}

/// All of them.
pub const BORDERS: [Border; 8] = [
    Border { name: "order-bodies", read: order_bodies },
    Border { name: "stock-bodies", read: stock_bodies },
    Border { name: "payment-bodies", read: payment_bodies },
    Border { name: "queries", read: queries },
    Border { name: "headers", read: headers },
    Border { name: "records", read: records },
    Border { name: "resources", read: resources },
    Border { name: "manifests", read: manifests },
];

/// What is sent to place, amend and cancel orders.
fn order_bodies(body: &[u8]) {
    if let Ok(place) = order::border::placing(body) {
        assert_eq!(order::order::total(&place.lines).ok(), Some(place.total), "the total is the sum of its lines");
        assert!(place.lines.iter().all(|line| line.quantity > 0 && line.unit_price >= 0));
        assert!(inventory::messages::needs(&place.lines).is_ok(), "what is accepted can be reserved");
    }
    if let Ok(amendment) = order::border::amendment(body) {
        assert_eq!(order::order::total(&amendment.lines).ok(), Some(amendment.total));
    }
    if let Ok(reason) = order::border::cancellation(body) {
        assert!(!reason.is_empty() && !reason.contains('\0'), "PostgreSQL keeps no NUL");
    }
}

/// What is sent to count and adjust stock.
fn stock_bodies(body: &[u8]) {
    let Ok(product) = "cup".parse::<ProductId>() else { return };
    drop(inventory::border::count(product.clone(), body));
    if let Ok(adjustment) = inventory::border::adjustment(product, body) {
        assert!(adjustment.delta != 0 && !adjustment.reason.contains('\0'));
    }
}

/// What is sent to pay.
fn payment_bodies(body: &[u8]) {
    if let Ok(payment::payment::Command::Pay { token, amount }) = payment::border::payment(body) {
        assert!(!token.is_empty() && !token.contains('\0') && amount.is_none_or(|amount| amount >= 0));
    }
}

/// What lists are asked for with, their cursors among it.
fn queries(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(cursor) = text.parse::<Cursor<Uuid>>() {
        assert_eq!(cursor.to_text().parse(), Ok(cursor), "a cursor is read as it is written");
    }
    if let Ok(cursor) = text.parse::<Cursor<i32>>() {
        assert_eq!(cursor.to_text().parse(), Ok(cursor));
    }
    if let Ok(uri) = format!("/orders?{text}").parse::<Uri>() {
        drop(order::border::listing(&uri));
    }
}

/// Headers, a line each.
fn headers(bytes: &[u8]) {
    let mut map = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    if let Ok(Some(key)) = idempotency_key(&map) {
        assert!((1..=255).contains(&key.len()) && key.is_ascii());
    }
    assert!(trace(&map).is_none_or(|trace| trace.len() == 55));
    assert!(preferred_wait(&map).is_none_or(|wait| wait <= MAX_WAIT));
    drop(order::border::if_match(&map));
}

/// A record of Kafka: its headers a line each, an empty line, its value.
fn records(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (head, value) = text.split_once("\n\n").unwrap_or((&text, ""));
    let headers = head.lines().filter_map(|line| line.split_once(": ")).map(|(name, value)| (name, value.as_bytes()));
    let Ok(record) = Record::read(&Envelope::of(headers), Some(value.as_bytes())) else { return };
    let kept = [Some(&*record.kind), record.subject.as_deref(), record.trace.as_deref()];
    assert!(!kept.into_iter().flatten().any(|text| text.contains('\0')), "PostgreSQL keeps no NUL");
    let mut written: Vec<(String, Vec<u8>)> = Vec::new();
    record.headers(Topic::Orders, |name, value| written.push((name.to_owned(), value.to_owned())));
    let again = written.iter().map(|(name, value)| (&**name, &**value));
    let read =
        Record::read(&Envelope::of(again), Some(&record.data)).unwrap_or_else(|error| panic!("{error}: {record:?}"));
    assert_eq!(
        (read.lane, read.seq, read.stream, read.version),
        (record.lane, record.seq, record.stream, record.version)
    );
    for source in Topic::ALL {
        drop(order::messages::read(source, &record));
    }
    drop(inventory::messages::read(&record));
    drop(payment::messages::read(&record));
    drop(notification::messages::read(&record));
    drop(OrderEvent::decode(&record.kind, &record.data));
}

/// An `OrderSystem`, as the operator reads it.
fn resources(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(system) = serde_yaml_ng::from_str::<OrderSystem>(text) else { return };
    let written = serde_json::to_value(&system).unwrap_or_else(|error| panic!("{error}: {system:?}"));
    let read = serde_json::from_value(written).unwrap_or_else(|error| panic!("{error}: {system:?}"));
    assert_eq!(system, read, "a system is read as it is written");
    let defaults = Defaults { image: "image:1".to_owned(), progress_seconds: 120 };
    if let Ok(valid) = validate(&system, &defaults, &secrets(&system)) {
        drop(operator::build::build(&valid));
    }
}

/// The Secrets that a system names, each with every key that is looked for when it names none.
fn secrets(system: &OrderSystem) -> Secrets {
    let keys =
        ["uri", "ca.crt", "password", "user.crt", "user.key"].map(|key| (key.to_owned(), ByteString(Vec::new())));
    named(&system.spec).into_iter().map(|name| (name.to_owned(), keys.clone().into())).collect()
}

/// A file for `-f`.
fn manifests(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(manifest) = Manifest::parse(text) {
        assert!((1..=256).contains(&manifest.lanes.count()));
    }
}
