//! The golden files: an example of each kind, as the first release wrote it. They are never edited. A change that cannot
//! read one of them, or writes it differently, needs a new version of the kind.

use std::{collections::BTreeSet, fs, path::PathBuf};

use contract::{
    Event, event::UnreadableData, notice::NoticeEvent, order::OrderEvent, payment::PaymentEvent, stock::StockEvent,
};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn golden(kind: &str) -> Value {
    let path = folder().join(format!("{kind}.json"));
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn kinds() -> impl Iterator<Item = &'static str> {
    let all = [OrderEvent::KINDS, StockEvent::KINDS, PaymentEvent::KINDS, NoticeEvent::KINDS];
    all.into_iter().flatten().copied()
}

/// Reads `data` as `kind` and writes it again: the kind and the data of what was read.
fn read_and_written(kind: &str, data: &Value) -> Result<Option<(&'static str, Value)>, UnreadableData> {
    let data = data.to_string();
    let data = data.as_bytes();
    Ok(if let Some(event) = OrderEvent::decode(kind, data)? {
        Some(written(&event))
    } else if let Some(event) = StockEvent::decode(kind, data)? {
        Some(written(&event))
    } else if let Some(event) = PaymentEvent::decode(kind, data)? {
        Some(written(&event))
    } else {
        NoticeEvent::decode(kind, data)?.as_ref().map(written)
    })
}

fn written(event: &impl Event) -> (&'static str, Value) {
    let mut data = Vec::new();
    event.encode(&mut data);
    (event.kind(), serde_json::from_slice(&data).expect("what is written is JSON"))
}

/// `value` with a field that no release knows in each of its objects.
fn with_unknown_fields(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), with_unknown_fields(value)));
            fields.chain([("addedLater".to_owned(), json!({"by": ["a", "later", "release"]}))]).collect()
        }
        Value::Array(values) => values.iter().map(with_unknown_fields).collect(),
        plain => plain.clone(),
    }
}

#[test]
fn every_kind_has_a_golden_file_and_every_golden_file_a_kind() {
    let files = fs::read_dir(folder()).expect("the folder is there");
    let files: BTreeSet<_> = files.map(|file| file.expect("can be listed").file_name()).collect();
    let expected: BTreeSet<_> = kinds().map(|kind| format!("{kind}.json").into()).collect();
    assert_eq!(files, expected);
}

#[test]
fn no_two_events_share_a_kind() {
    assert_eq!(kinds().collect::<BTreeSet<_>>().len(), kinds().count());
}

#[test]
fn a_golden_file_is_read_and_written_as_it_is() {
    for kind in kinds() {
        let golden = golden(kind);
        let written = read_and_written(kind, &golden).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(written, Some((kind, golden)));
    }
}

#[test]
fn a_field_of_a_later_release_is_passed_over() {
    for kind in kinds() {
        let golden = golden(kind);
        let written = read_and_written(kind, &with_unknown_fields(&golden)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(written, Some((kind, golden)));
    }
}

#[test]
fn a_kind_of_a_later_release_is_passed_over() {
    let read = read_and_written("order.placed.v2", &json!({})).expect("an unknown kind is no error");
    assert_eq!(read, None);
}
