//! What was decided for one order, and what it holds.

use contract::ProductId;
use contract::stock::{Held, Movement, StockEvent};
use serde::Deserialize;

/// So many units of one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// The product.
    pub product: ProductId,
    /// How many, more than zero.
    pub quantity: i64,
}

/// Where an order stands with its stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldStatus {
    /// Every line of the revision is held.
    Held,
    /// The order was confirmed; its units are sold.
    Sold,
    /// The order is dead, and what it had came back.
    Closed,
    /// Something was short for the revision. An amended order is tried again.
    Rejected,
}

/// What an order holds: the fold of the events of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The last revision that was decided.
    pub revision: i32,
    /// Where it stands.
    pub status: HoldStatus,
    /// The units held or sold, in the products' order; none otherwise.
    pub units: Vec<Units>,
    /// The number of the last event in the order's stream.
    pub version: i32,
}

impl HoldStatus {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Sold => "sold",
            Self::Closed => "closed",
            Self::Rejected => "rejected",
        }
    }
}

impl Hold {
    /// The hold after one more event of its order's stream; the first makes it. An event of a product's stream is not
    /// about it.
    pub fn after(before: Option<Self>, event: &StockEvent) -> Option<Self> {
        let (revision, status, units) = match event {
            StockEvent::Reserved(held) => (held.revision, HoldStatus::Held, units_of(held)),
            StockEvent::Sold(held) => (held.revision, HoldStatus::Sold, units_of(held)),
            StockEvent::Released(held) | StockEvent::Returned(held) => (held.revision, HoldStatus::Closed, Vec::new()),
            StockEvent::Rejected(rejected) => (rejected.revision, HoldStatus::Rejected, Vec::new()),
            StockEvent::Counted(_) | StockEvent::Adjusted(_) => return before,
        };
        let version = before.map_or(0, |hold| hold.version) + 1;
        Some(Self { revision, status, units, version })
    }

    /// The hold that the events of an order's stream, in their order, lead to; nothing without an event.
    pub fn fold<'e>(events: impl IntoIterator<Item = &'e StockEvent>) -> Option<Self> {
        events.into_iter().fold(None, Self::after)
    }
}

fn units_of(held: &Held) -> Vec<Units> {
    let units = |moved: &Movement| Units { product: moved.product_id.clone(), quantity: moved.quantity };
    held.movements.iter().map(units).collect()
}
