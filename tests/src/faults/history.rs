//! What the clients remember: what they asked for, what they were told, and whether that contradicts itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Contradictions that are kept; the rest is like them.
const KEPT: usize = 50;

/// Requests of one sort about one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Sent, each repetition counted.
    pub sent: u32,
    /// Acknowledged.
    pub acknowledged: u32,
}

/// What a client knows of one order.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// What its first lines cost.
    pub total: i64,
    /// Whether a way to pay came with it.
    pub has_token: bool,
    /// Requests to place it.
    pub places: Requests,
    /// The ids that it was acknowledged with: one, or something is wrong.
    pub ids: BTreeSet<String>,
    /// Requests to replace its lines.
    pub amends: Requests,
    /// Requests to call it off.
    pub cancels: Requests,
    /// Requests to pay for it.
    pub pays: Requests,
    /// How each of its readers last saw it. One reads after the other has read; two read at the same time.
    pub seen: BTreeMap<Reader, Seen>,
    /// Its events as they were last listed.
    pub listed: Vec<String>,
}

/// Who reads an order, each one answer after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    /// Who changes it, and reads what came of that.
    Changer,
    /// Who watches it.
    Watcher,
}

/// An order as a client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its version.
    pub version: i64,
    /// Its status.
    pub status: String,
}

/// The history of all clients.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Orders by the client's number.
    pub orders: BTreeMap<u32, Sent>,
    /// Adjustments of stock by the client's number.
    pub adjustments: BTreeMap<u32, Requests>,
    /// Answers that were looked at.
    pub reads: u64,
    contradictions: Vec<String>,
}

impl History {
    /// The order of the client `number`.
    pub fn order(&mut self, number: u32) -> &mut Sent {
        self.orders.entry(number).or_default()
    }

    /// An order was acknowledged with this answer.
    pub fn placed(&mut self, number: u32, answer: &Value) {
        let Some(id) = answer["id"].as_str() else {
            return self.contradict(format!("client {number} was acknowledged an order without an id: {answer}"));
        };
        let sent = self.order(number);
        sent.places.acknowledged += 1;
        sent.ids.insert(id.to_owned());
        if sent.ids.len() > 1 {
            let ids = sent.ids.clone();
            self.contradict(format!("one request, several orders: client {number} has {ids:?}"));
        }
    }

    /// An order was read: nothing that was seen is taken back.
    pub fn read(&mut self, number: u32, reader: Reader, order: &Value) {
        self.reads += 1;
        let (Some(version), Some(status)) = (order["version"].as_i64(), order["status"].as_str()) else {
            return self.contradict(format!("client {number} read no order: {order}"));
        };
        let now = Seen { version, status: status.to_owned() };
        let before = self.order(number).seen.insert(reader, now.clone());
        if let Some(before) = before
            && !follows(&before, &now)
        {
            self.contradict(format!("client {number} read {before:?}, and afterwards {now:?}"));
        }
    }

    /// The events of an order were listed: what was listed before is at the beginning.
    pub fn listed(&mut self, number: u32, events: Vec<String>) {
        self.reads += 1;
        let before = &mut self.order(number).listed;
        if events.starts_with(before) {
            *before = events;
        } else {
            let found = format!("client {number} was listed {before:?}, and afterwards {events:?}");
            self.contradict(found);
        }
    }

    /// Takes note of what must not be.
    pub fn contradict(&mut self, contradiction: String) {
        if self.contradictions.len() < KEPT {
            self.contradictions.push(contradiction);
        }
    }

    /// What must not be.
    pub fn contradictions(&self) -> &[String] {
        &self.contradictions
    }

    /// Orders that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.orders.values().filter(|sent| !sent.ids.is_empty()).count()
    }
}

/// Whether an order that was `before` may be `now`.
fn follows(before: &Seen, now: &Seen) -> bool {
    let same = before.status == now.status;
    let goes_on = match before.status.as_str() {
        "rejected" | "cancelled" | "expired" => same,
        "confirmed" => same || now.status == "cancelled",
        _ => true,
    };
    now.version > before.version && goes_on || now.version == before.version && same
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(reads: &[(i64, &str)]) -> usize {
        let mut history = History::default();
        for (version, status) in reads {
            history.read(1, Reader::Watcher, &json!({"version": version, "status": status}));
        }
        history.contradictions().len()
    }

    #[test]
    fn an_order_goes_forward() {
        assert_eq!(after(&[(1, "pending"), (1, "pending"), (2, "reserved"), (4, "confirmed"), (6, "cancelled")]), 0);
    }

    #[test]
    fn what_was_seen_is_not_taken_back() {
        assert_eq!(after(&[(2, "reserved"), (1, "pending")]), 1);
        assert_eq!(after(&[(2, "reserved"), (2, "pending")]), 1);
        assert_eq!(after(&[(3, "expired"), (4, "confirmed")]), 1);
        assert_eq!(after(&[(3, "confirmed"), (4, "expired")]), 1);
    }

    #[test]
    fn a_list_of_events_only_grows() {
        let list = |events: &[&str]| events.iter().map(|event| (*event).to_owned()).collect::<Vec<_>>();
        let mut history = History::default();
        history.listed(1, list(&["placed"]));
        history.listed(1, list(&["placed", "reserved"]));
        assert!(history.contradictions().is_empty());
        history.listed(1, list(&["placed", "rejected"]));
        assert_eq!(history.contradictions().len(), 1);
    }

    #[test]
    fn one_request_is_one_order() {
        let mut history = History::default();
        history.placed(1, &json!({"id": "a"}));
        history.placed(1, &json!({"id": "a"}));
        assert!(history.contradictions().is_empty());
        history.placed(1, &json!({"id": "b"}));
        assert_eq!(history.contradictions().len(), 1);
    }
}
