//! What is held for orders and what is on hand: the rules, and nothing else.
//!
//! An order holds all of its lines or none of them. Every change of a product's balance bumps the product's version by
//! one, in the order decided, so that the balance is the fold of its changes.

mod balance;
mod hold;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use contract::ProductId;
use contract::stock::{Adjusted, Counted, Held, Movement, Rejected, Shortage, StockEvent, stream_of};
use uuid::Uuid;

pub use balance::{Balance, Change, Imbalance, changes, product_of};
pub use hold::{Hold, HoldStatus, Units};

/// The most units of one product that a count or an adjustment may put on hand: more than any warehouse has, and so
/// far from the end of `i64` that no sum of a balance reaches it.
pub const MAX_ON_HAND: i64 = 1_000_000_000_000;

/// The balances and holds that a batch touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// The products that are known. One that is not here has no units.
    pub products: HashMap<ProductId, Balance>,
    /// What was decided for each order.
    pub holds: HashMap<Uuid, Hold>,
}

/// What may be asked of stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hold these units for a revision of an order, in place of what is held for the revision before.
    Reserve {
        /// The order.
        order: Uuid,
        /// The revision, 1 or more.
        revision: i32,
        /// What it needs, each product once, in the products' order.
        needs: Vec<Units>,
    },
    /// What is held for this revision of the order is sold.
    Sell {
        /// The order.
        order: Uuid,
        /// The revision that was confirmed.
        revision: i32,
    },
    /// The order is dead: what is held for it, or was sold to it, comes back.
    GiveBack {
        /// The order.
        order: Uuid,
    },
    /// Someone counted: so many units are on hand, available and reserved together.
    Count {
        /// The product; it need not be known yet.
        product: ProductId,
        /// Units, `0..=MAX_ON_HAND`.
        on_hand: i64,
    },
    /// Someone adds or takes units.
    Adjust(Adjustment),
}

/// Units added or taken by someone, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// The product; it must be known.
    pub product: ProductId,
    /// Units to add, or to take when negative; not 0, and no more than [`MAX_ON_HAND`] either way.
    pub delta: i64,
    /// Why.
    pub reason: String,
    /// The caller's own reference.
    pub reference: Option<String>,
}

impl Command {
    /// The stream that its events belong to: the order's or the product's.
    pub fn stream(&self) -> Uuid {
        match self {
            Self::Reserve { order, .. } | Self::Sell { order, .. } | Self::GiveBack { order } => *order,
            Self::Count { product, .. } | Self::Adjust(Adjustment { product, .. }) => stream_of(product),
        }
    }

    /// The order whose hold it is about.
    pub fn order(&self) -> Option<Uuid> {
        match self {
            Self::Reserve { order, .. } | Self::Sell { order, .. } | Self::GiveBack { order } => Some(*order),
            Self::Count { .. } | Self::Adjust(_) => None,
        }
    }

    /// The products that it names. What an order's hold has beside them is not among these.
    pub fn products(&self) -> Vec<&ProductId> {
        match self {
            Self::Reserve { needs, .. } => needs.iter().map(|units| &units.product).collect(),
            Self::Sell { .. } | Self::GiveBack { .. } => Vec::new(),
            Self::Count { product, .. } | Self::Adjust(Adjustment { product, .. }) => vec![product],
        }
    }
}

/// Why a command changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Nobody ever counted this product.
    #[error("nobody has counted this product yet")]
    UnknownProduct,
    /// What would be on hand is less than orders already hold.
    #[error("on hand would be {on_hand}, and orders hold {reserved}")]
    BelowReserved {
        /// Units that would be on hand.
        on_hand: i64,
        /// Units that orders hold.
        reserved: i64,
    },
    /// More would be on hand than [`MAX_ON_HAND`].
    #[error("more than {MAX_ON_HAND} units would be on hand")]
    AboveMaximum,
    /// An order's fact came again, or after a later one: what it asks for was settled before.
    #[error("the order is past this")]
    Stale,
}

impl Stock {
    /// What a command leads to. A rejected command changes nothing.
    pub fn decide(&self, command: &Command) -> Result<Vec<StockEvent>, Rejection> {
        match command {
            Command::Reserve { order, revision, needs } => self.reserve(*order, *revision, needs),
            Command::Sell { order, revision } => self.sell(*order, *revision),
            Command::GiveBack { order } => self.give_back(*order),
            Command::Count { product, on_hand } => self.count(product, *on_hand),
            Command::Adjust(adjustment) => self.adjust(adjustment),
        }
    }

    /// Applies an event of `stream`, an order's or a product's. Returns the event's number in its stream.
    pub fn evolve(&mut self, stream: Uuid, event: &StockEvent) -> i32 {
        for (product, change) in changes(event) {
            let next = self.balance(product).after(&change);
            match self.products.get_mut(product) {
                Some(balance) => *balance = next,
                None => _ = self.products.insert(product.clone(), next),
            }
        }
        if let Some(product) = product_of(event) {
            return self.balance(product).stream_version;
        }
        let hold = Hold::after(self.holds.remove(&stream), event);
        hold.map_or(0, |hold| self.holds.entry(stream).insert_entry(hold).get().version)
    }

    /// What there is of a product; nothing of one that is not known.
    pub fn balance(&self, product: &ProductId) -> Balance {
        self.products.get(product).copied().unwrap_or_default()
    }

    fn reserve(&self, order: Uuid, revision: i32, needs: &[Units]) -> Result<Vec<StockEvent>, Rejection> {
        let Some(hold) = self.holds.get(&order) else {
            return Ok(vec![self.hold_or_reject(revision, needs, &[])]);
        };
        if revision <= hold.revision {
            return Err(Rejection::Stale);
        }
        match hold.status {
            HoldStatus::Held => {
                let released = self.movements(&hold.units);
                let answer = self.hold_or_reject(revision, needs, &released);
                Ok(vec![StockEvent::Released(Held { revision: hold.revision, movements: released }), answer])
            }
            HoldStatus::Rejected => Ok(vec![self.hold_or_reject(revision, needs, &[])]),
            HoldStatus::Sold | HoldStatus::Closed => Err(Rejection::Stale),
        }
    }

    /// All or nothing, from what there is once `released`, in the products' order, is back.
    fn hold_or_reject(&self, revision: i32, needs: &[Units], released: &[Movement]) -> StockEvent {
        let mut movements = Vec::with_capacity(needs.len());
        let mut shortages = Vec::new();
        for Units { product, quantity } in needs {
            let (available, version) = self.available_after(product, released);
            let product_id = product.clone();
            if available < *quantity {
                shortages.push(Shortage { product_id, requested: *quantity, available });
            } else {
                movements.push(Movement { product_id, quantity: *quantity, version: version + 1 });
            }
        }
        if shortages.is_empty() {
            StockEvent::Reserved(Held { revision, movements })
        } else {
            StockEvent::Rejected(Rejected { revision, shortages })
        }
    }

    /// What is available of a product, and its version, once `released` is back.
    fn available_after(&self, product: &ProductId, released: &[Movement]) -> (i64, i64) {
        let available = self.balance(product).available;
        match released.binary_search_by(|moved| moved.product_id.cmp(product)) {
            Ok(place) => (available + released[place].quantity, released[place].version),
            Err(_) => (available, self.balance(product).version),
        }
    }

    fn sell(&self, order: Uuid, revision: i32) -> Result<Vec<StockEvent>, Rejection> {
        match self.holds.get(&order) {
            Some(hold) if hold.status == HoldStatus::Held && hold.revision == revision => {
                Ok(vec![StockEvent::Sold(self.moved(hold))])
            }
            _ => Err(Rejection::Stale),
        }
    }

    fn give_back(&self, order: Uuid) -> Result<Vec<StockEvent>, Rejection> {
        let Some(hold) = self.holds.get(&order) else { return Ok(Vec::new()) };
        match hold.status {
            HoldStatus::Held => Ok(vec![StockEvent::Released(self.moved(hold))]),
            HoldStatus::Sold => Ok(vec![StockEvent::Returned(self.moved(hold))]),
            HoldStatus::Rejected => Ok(Vec::new()),
            HoldStatus::Closed => Err(Rejection::Stale),
        }
    }

    fn count(&self, product: &ProductId, on_hand: i64) -> Result<Vec<StockEvent>, Rejection> {
        let balance = self.balance(product);
        let delta = on_hand - balance.on_hand();
        // The count that makes a product known is told even when it finds nothing.
        if delta == 0 && self.products.contains_key(product) {
            return Ok(Vec::new());
        }
        balance.check_on_hand(on_hand)?;
        let counted = Counted { product_id: product.clone(), on_hand, delta, version: balance.version + 1 };
        Ok(vec![StockEvent::Counted(counted)])
    }

    fn adjust(&self, adjustment: &Adjustment) -> Result<Vec<StockEvent>, Rejection> {
        let Adjustment { product, delta, reason, reference } = adjustment;
        let balance = self.products.get(product).ok_or(Rejection::UnknownProduct)?;
        balance.check_on_hand(balance.on_hand().saturating_add(*delta))?;
        let (product_id, reason, reference) = (product.clone(), reason.clone(), reference.clone());
        let version = balance.version + 1;
        Ok(vec![StockEvent::Adjusted(Adjusted { product_id, delta: *delta, reason, reference, version })])
    }

    fn moved(&self, hold: &Hold) -> Held {
        Held { revision: hold.revision, movements: self.movements(&hold.units) }
    }

    /// The next change of each of these products.
    fn movements(&self, units: &[Units]) -> Vec<Movement> {
        let next = |Units { product, quantity }: &Units| {
            let version = self.balance(product).version + 1;
            Movement { product_id: product.clone(), quantity: *quantity, version }
        };
        units.iter().map(next).collect()
    }
}

impl Balance {
    /// Whether a person may change what is on hand to this.
    fn check_on_hand(&self, on_hand: i64) -> Result<(), Rejection> {
        if on_hand < self.reserved {
            Err(Rejection::BelowReserved { on_hand, reserved: self.reserved })
        } else if on_hand > MAX_ON_HAND && on_hand > self.on_hand() {
            // What came back from dead orders may be above the maximum already; taking some of it away is fine.
            Err(Rejection::AboveMaximum)
        } else {
            Ok(())
        }
    }
}
