//! The places where a process may end: every point that the code names, with everything that happens there. The list
//! comes from the code, so that a new point, or a new kind of event, is tested by itself.

use std::fmt;

use chrono::DateTime;
use contract::{Lane, Record, Topic, notice::NoticeEvent, order::OrderEvent, payment::PaymentEvent, stock::StockEvent};
use inventory::view::InventoryView;
use journal::faults::{CrashPoint, Happens};
use journal::{Model as _, Opening};
use order::view::OrdersView;
use payment::payment::Step;
use serde_json::Value;
use uuid::Uuid;

use crate::system::Service;

/// A place where a process is told to end, as its variable names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The point in the code.
    pub point: CrashPoint,
    /// The journal or view.
    pub schema: &'static str,
    /// What happens there, such as the kind of an event; nothing where that has no name.
    pub what: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.point.name(), self.schema, self.what)
    }
}

/// Every place in the process of a service.
pub fn places(service: Service) -> Vec<Place> {
    let points = |opening: Opening| CrashPoint::ALL.iter().flat_map(move |point| places_of(*point, opening));
    openings(service).into_iter().flat_map(points).collect()
}

/// The journals and views of a service's process.
fn openings(service: Service) -> Vec<Opening> {
    match service {
        Service::Order => vec![order::OPENING, order::VIEW_OPENING],
        Service::Inventory => vec![inventory::OPENING, inventory::VIEW_OPENING],
        Service::Payment => vec![payment::OPENING],
        Service::Notification => vec![notification::OPENING],
    }
}

fn places_of(point: CrashPoint, opening: Opening) -> Vec<Place> {
    let Opening { schema, publishes, consumes, passes, .. } = opening;
    let appended = || publishes.into_iter().flat_map(kinds);
    let what: Vec<&'static str> = match point.happens() {
        Happens::Received => consumes.iter().copied().flat_map(kinds).filter(|kind| !passes.contains(kind)).collect(),
        Happens::Appended => appended().collect(),
        Happens::Settled => appended().chain(applied(opening)).collect(),
        Happens::Asked if schema == payment::SCHEMA => Step::ALL.map(Step::as_str).to_vec(),
        Happens::Nothing if is_passed(point, opening) => vec![""],
        Happens::Asked | Happens::Nothing => vec![],
    };
    what.into_iter().map(|what| Place { point, schema, what }).collect()
}

/// Every kind of event of a topic.
fn kinds(topic: Topic) -> impl Iterator<Item = &'static str> {
    let kinds = match topic {
        Topic::Orders => OrderEvent::KINDS,
        Topic::Inventory => StockEvent::KINDS,
        Topic::Payments => PaymentEvent::KINDS,
        Topic::Notifications => NoticeEvent::KINDS,
    };
    kinds.iter().copied()
}

/// The kinds that make a command for the reader; the others it passes over.
fn applied(opening: Opening) -> impl Iterator<Item = &'static str> {
    let of_topic = move |topic: Topic| kinds(topic).filter(move |kind| is_applied(opening.schema, topic, kind));
    opening.consumes.iter().copied().flat_map(of_topic)
}

/// Whether the reader makes a command of an event as the contract's examples have it, or of one like it that says nothing
/// of how an order is paid.
fn is_applied(schema: &str, topic: Topic, kind: &'static str) -> bool {
    let file = format!("{}/../crates/contract/golden/{kind}.json", env!("CARGO_MANIFEST_DIR"));
    let example = std::fs::read(&file).unwrap_or_else(|error| panic!("an example of each kind, {file}: {error}"));
    let mut unpaid: Value = serde_json::from_slice(&example).expect("an example is JSON");
    unpaid.as_object_mut().map(|data| data.remove("payment"));
    [example, unpaid.to_string().into_bytes()].into_iter().any(|data| {
        let record = Record {
            lane: Lane(0),
            seq: 1,
            stream: Uuid::nil(),
            version: 1,
            id: Uuid::nil(),
            kind: kind.into(),
            at: DateTime::UNIX_EPOCH,
            subject: None,
            cause: None,
            trace: None,
            data: data.into(),
        };
        is_read(schema, topic, &record)
    })
}

fn is_read(schema: &str, topic: Topic, record: &Record) -> bool {
    match schema {
        order::SCHEMA => order::messages::read(topic, record).is_ok_and(|command| command.is_some()),
        order::VIEW_SCHEMA => OrdersView.read(topic, record).is_ok_and(|happened| happened.is_some()),
        inventory::SCHEMA => inventory::messages::read(record).is_ok_and(|command| command.is_some()),
        inventory::VIEW_SCHEMA => InventoryView.read(topic, record).is_ok_and(|movements| movements.is_some()),
        payment::SCHEMA => payment::messages::read(record).is_ok_and(|request| request.is_some()),
        notification::SCHEMA => notification::messages::read(record).is_ok_and(|tell| tell.is_some()),
        _ => false,
    }
}

/// Whether a point where nothing has a name is passed by this journal or view at all.
fn is_passed(point: CrashPoint, opening: Opening) -> bool {
    match point {
        // Only what publishes has keys, and only what others read is sent again.
        CrashPoint::KeysPurged => opening.publishes.is_some(),
        CrashPoint::WentBack => opening.publishes.is_some_and(|topic| topic != Topic::Notifications),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_has_a_place_and_no_place_is_there_twice() {
        let all: Vec<Place> = Service::ALL.into_iter().flat_map(places).collect();
        let points: BTreeSet<CrashPoint> = all.iter().map(|place| place.point).collect();
        assert_eq!(points, CrashPoint::ALL.iter().copied().collect());
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn every_kind_of_event_has_a_place_before_and_after_its_commit() {
        let all: BTreeSet<Place> = Service::ALL.into_iter().flat_map(places).collect();
        for topic in Topic::ALL {
            for what in kinds(topic) {
                for point in [CrashPoint::BeforeCommit, CrashPoint::AfterCommit, CrashPoint::Delivered] {
                    let place = Place { point, schema: topic.as_str(), what };
                    assert!(all.contains(&place), "{place}");
                }
            }
        }
    }

    #[test]
    fn what_a_reader_passes_over_means_nothing_to_it() {
        for opening in Service::ALL.into_iter().flat_map(openings) {
            let consumed: BTreeSet<&str> = opening.consumes.iter().copied().flat_map(kinds).collect();
            let applied: BTreeSet<&str> = applied(opening).collect();
            for kind in opening.passes {
                assert!(consumed.contains(kind), "{} consumes no {kind}", opening.schema);
                assert!(!applied.contains(kind), "{kind} means something to {}", opening.schema);
            }
            assert!(!applied.is_empty());
        }
    }

    #[test]
    fn what_a_reader_passes_over_has_no_place() {
        let inventory = places(Service::Inventory);
        let place = |point, what| Place { point, schema: inventory::SCHEMA, what };
        for point in [CrashPoint::Received, CrashPoint::AfterCommit] {
            assert!(!inventory.contains(&place(point, "order.paid.v1")));
            assert!(inventory.contains(&place(point, "order.confirmed.v1")));
        }
    }
}
