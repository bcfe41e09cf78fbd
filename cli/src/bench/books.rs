//! The orders that a run has placed, held against what the system says became of them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::latency::Latencies;
use super::place::OrderAnswer;
use super::plan::End;
use super::tally::Placed;

/// Every order that was placed, and how it ended.
#[derive(Debug)]
pub(super) struct Books {
    orders: HashMap<Uuid, Entry>,
    /// Those whose end is not known yet.
    open: HashSet<Uuid>,
    /// Orders of this run's customers that no answer has named.
    unclaimed: HashSet<Uuid>,
    customer_prefix: String,
}

#[derive(Debug)]
struct Entry {
    placed: Placed,
    listed: bool,
    found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    /// Nothing was said of it yet.
    Nothing,
    /// It is there and is not settled.
    Unsettled,
    /// It is settled.
    Settled(End, DateTime<Utc>),
    /// The system does not know it.
    Missing,
}

/// How the placed orders ended, warm-up included unless it is said otherwise.
#[derive(Debug)]
pub(super) struct Judgement {
    pub ends: Vec<EndCount>,
    /// Measured orders that are settled.
    pub settled: usize,
    /// By the system's clock, from the first measured order's placing to the last one's last change.
    pub span: Option<TimeDelta>,
    /// By the system's clock, from placing to the last change, of the measured orders that were left alone.
    pub changes: Latencies,
    pub unsettled: usize,
    pub lost: usize,
    pub unlisted: usize,
    pub otherwise: usize,
    pub unclaimed: usize,
}

/// How many orders ended one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndCount {
    /// The final status.
    pub status: &'static str,
    /// Its reason, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// How many should have ended like this.
    pub expected: usize,
    /// How many did.
    pub found: usize,
}

impl End {
    /// The end that an order's answer tells of, if it is an end.
    pub(super) fn of(order: &OrderAnswer) -> Option<Self> {
        match (order.status.as_str(), order.reason.as_deref()) {
            ("confirmed", _) => Some(Self::Confirmed),
            ("rejected", Some("payment_declined")) => Some(Self::PaymentDeclined),
            ("rejected", _) => Some(Self::OutOfStock),
            ("cancelled", _) => Some(Self::Cancelled),
            ("expired", _) => Some(Self::Expired),
            _ => None,
        }
    }

    fn names(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Confirmed => ("confirmed", None),
            Self::OutOfStock => ("rejected", Some("out_of_stock")),
            Self::PaymentDeclined => ("rejected", Some("payment_declined")),
            Self::Cancelled => ("cancelled", None),
            Self::Expired => ("expired", None),
        }
    }
}

impl Books {
    pub(super) fn open(placed: &[Placed], customer_prefix: String) -> Self {
        let entry = |placed: &Placed| (placed.id, Entry { placed: *placed, listed: false, found: Found::Nothing });
        let orders: HashMap<_, _> = placed.iter().map(entry).collect();
        let open = orders.keys().copied().collect();
        Self { orders, open, unclaimed: HashSet::new(), customer_prefix }
    }

    /// The orders whose end is not known yet.
    pub(super) fn unsettled(&self) -> &HashSet<Uuid> {
        &self.open
    }

    /// The earliest time at which the system placed one of these.
    pub(super) fn first_placed(&self) -> Option<DateTime<Utc>> {
        self.orders.values().map(|entry| entry.placed.at).min()
    }

    /// Notes an order that is in the list.
    pub(super) fn listed(&mut self, order: &OrderAnswer) {
        match self.orders.get_mut(&order.id) {
            Some(entry) => {
                entry.listed = true;
                self.note(order);
            }
            None if order.customer_id.starts_with(&self.customer_prefix) => {
                self.unclaimed.insert(order.id);
            }
            None => {}
        }
    }

    /// Notes an order that was asked for.
    pub(super) fn note(&mut self, order: &OrderAnswer) {
        let Some(entry) = self.orders.get_mut(&order.id) else {
            return;
        };
        entry.found = match End::of(order) {
            Some(end) => Found::Settled(end, order.updated_at),
            None => Found::Unsettled,
        };
        if matches!(entry.found, Found::Settled(..)) {
            self.open.remove(&order.id);
        }
    }

    /// Notes that the system does not know an order.
    pub(super) fn missing(&mut self, id: Uuid) {
        if let Some(entry) = self.orders.get_mut(&id) {
            entry.found = Found::Missing;
        }
    }

    /// What there is to say when nothing more is to come.
    pub(super) fn judge(&self) -> Judgement {
        let count = |is: fn(&Entry) -> bool| self.orders.values().filter(|entry| is(entry)).count();
        Judgement {
            ends: self.ends(),
            settled: count(|entry| entry.placed.measured && entry.end().is_some()),
            span: self.span(),
            changes: self.changes(),
            unsettled: count(|entry| entry.found == Found::Unsettled),
            lost: count(|entry| matches!(entry.found, Found::Missing | Found::Nothing)),
            unlisted: count(|entry| entry.end().is_some() && !entry.listed),
            otherwise: count(|entry| entry.end().is_some_and(|end| end != entry.placed.end)),
            unclaimed: self.unclaimed.len(),
        }
    }

    fn ends(&self) -> Vec<EndCount> {
        let mut counts = BTreeMap::<End, (usize, usize)>::new();
        for entry in self.orders.values() {
            counts.entry(entry.placed.end).or_default().0 += 1;
            if let Some(end) = entry.end() {
                counts.entry(end).or_default().1 += 1;
            }
        }
        let count = |(end, (expected, found)): (End, _)| {
            let (status, reason) = end.names();
            EndCount { status, reason, expected, found }
        };
        counts.into_iter().map(count).collect()
    }

    fn measured(&self) -> impl Iterator<Item = (Placed, DateTime<Utc>)> {
        self.orders.values().filter(|entry| entry.placed.measured).filter_map(|entry| match entry.found {
            Found::Settled(_, at) => Some((entry.placed, at)),
            _ => None,
        })
    }

    fn span(&self) -> Option<TimeDelta> {
        let first = self.measured().map(|(placed, _)| placed.at).min()?;
        Some(self.measured().map(|(_, at)| at).max()? - first)
    }

    fn changes(&self) -> Latencies {
        let mut changes = Latencies::default();
        for (placed, at) in self.measured().filter(|(placed, _)| placed.left_alone) {
            changes.add((at - placed.at).to_std().unwrap_or_default());
        }
        changes
    }
}

impl Entry {
    fn end(&self) -> Option<End> {
        match self.found {
            Found::Settled(end, _) => Some(end),
            Found::Nothing | Found::Unsettled | Found::Missing => None,
        }
    }
}
