//! The balance of one product, and the changes that make it.

use contract::ProductId;
use contract::stock::{Held, StockEvent};

/// The units of one product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Units that an order may take.
    pub available: i64,
    /// Units held for orders that are not confirmed yet.
    pub reserved: i64,
    /// Units of confirmed orders.
    pub sold: i64,
    /// The number of the last change: 1, 2, 3 … over every order and lane.
    pub version: i64,
    /// How many of the changes are counts and adjustments, which are the events of the product's own stream.
    pub stream_version: i32,
}

/// One change of one product's balance, as an event tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The product's version after it.
    pub version: i64,
    /// By how much `available` changes.
    pub available: i64,
    /// By how much `reserved` changes.
    pub reserved: i64,
    /// By how much `sold` changes.
    pub sold: i64,
    /// Whether the event is of the product's own stream rather than an order's.
    pub own: bool,
}

/// Why changes are not the history of a balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Imbalance {
    /// A change is missing or told twice.
    #[error("change {found} comes after change {last}")]
    Gap {
        /// The version before it.
        last: i64,
        /// Its version.
        found: i64,
    },
    /// Units were given that were not there.
    #[error("change {} leaves {} available, {} reserved, {} sold", .0.version, .0.available, .0.reserved, .0.sold)]
    Negative(Balance),
}

impl Balance {
    /// Available and reserved: what a count in the warehouse finds.
    pub fn on_hand(self) -> i64 {
        self.available + self.reserved
    }

    /// The balance after one more change.
    #[must_use]
    pub fn after(self, change: &Change) -> Self {
        // Only a forged event comes near the end of i64; it must stop an auditor's check, not the process.
        Self {
            available: self.available.saturating_add(change.available),
            reserved: self.reserved.saturating_add(change.reserved),
            sold: self.sold.saturating_add(change.sold),
            version: change.version,
            stream_version: self.stream_version + i32::from(change.own),
        }
    }

    /// The balance that a product's changes, sorted by version, lead to. Each must follow the one before, and none may
    /// leave less than nothing available, reserved or sold.
    pub fn fold(changes: impl IntoIterator<Item = Change>) -> Result<Self, Imbalance> {
        changes.into_iter().try_fold(Self::default(), |balance, change| balance.next(&change))
    }

    /// One step of [`fold`](Self::fold).
    pub fn next(self, change: &Change) -> Result<Self, Imbalance> {
        if change.version != self.version + 1 {
            return Err(Imbalance::Gap { last: self.version, found: change.version });
        }
        let next = self.after(change);
        if next.is_possible() { Ok(next) } else { Err(Imbalance::Negative(next)) }
    }

    fn is_possible(self) -> bool {
        self.available >= 0 && self.reserved >= 0 && self.sold >= 0
    }
}

impl Change {
    /// A count or an adjustment, which changes what is available.
    pub fn own(version: i64, available: i64) -> Self {
        Self { version, available, reserved: 0, sold: 0, own: true }
    }
}

/// What an event changes, product by product.
pub fn changes(event: &StockEvent) -> Vec<(&ProductId, Change)> {
    match event {
        StockEvent::Reserved(held) => moves(held, |units| (-units, units, 0)),
        StockEvent::Released(held) => moves(held, |units| (units, -units, 0)),
        StockEvent::Sold(held) => moves(held, |units| (0, -units, units)),
        StockEvent::Returned(held) => moves(held, |units| (units, 0, -units)),
        StockEvent::Rejected(_) => Vec::new(),
        StockEvent::Counted(counted) => vec![(&counted.product_id, Change::own(counted.version, counted.delta))],
        StockEvent::Adjusted(adjusted) => vec![(&adjusted.product_id, Change::own(adjusted.version, adjusted.delta))],
    }
}

/// The product whose own stream the event belongs to; nothing when it belongs to an order's.
pub fn product_of(event: &StockEvent) -> Option<&ProductId> {
    match event {
        StockEvent::Counted(counted) => Some(&counted.product_id),
        StockEvent::Adjusted(adjusted) => Some(&adjusted.product_id),
        _ => None,
    }
}

fn moves(held: &Held, deltas: impl Fn(i64) -> (i64, i64, i64)) -> Vec<(&ProductId, Change)> {
    let change = |version, (available, reserved, sold)| Change { version, available, reserved, sold, own: false };
    let moves = held.movements.iter();
    moves.map(|moved| (&moved.product_id, change(moved.version, deltas(moved.quantity)))).collect()
}
