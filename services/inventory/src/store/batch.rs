//! The rows that a batch touches, in memory: what is there, what is decided on it, and what of it has to be stored.

use std::collections::HashMap;

use contract::ProductId;
use contract::stock::StockEvent;
use journal::Decision;
use journal::idempotency::{Key, KeyReused, Keys};
use uuid::Uuid;

use super::{Answer, Request};
use crate::stock::{Balance, Command, Hold, Rejection, Stock, product_of};
use crate::view::Movement;

/// The rows that a batch touches.
#[derive(Default)]
pub struct Rows {
    stock: Stock,
    stored: Stored,
    keys: Keys,
    /// How many facts came again or too late.
    pub(super) ignored: u64,
}

/// The versions of what is stored. What has another one now was changed; what has none here is new.
#[derive(Default)]
struct Stored {
    products: HashMap<ProductId, i64>,
    holds: HashMap<Uuid, i32>,
}

impl Rows {
    /// Takes in a product that is stored.
    pub fn take_product(&mut self, product: ProductId, balance: Balance) {
        self.stored.products.insert(product.clone(), balance.version);
        self.stock.products.insert(product, balance);
    }

    /// Takes in a hold that is stored.
    pub fn take_hold(&mut self, order: Uuid, hold: Hold) {
        self.stored.holds.insert(order, hold.version);
        self.stock.holds.insert(order, hold);
    }

    /// Takes in the keys that are stored.
    pub fn take_keys(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Settles one request.
    pub fn settle(&mut self, request: &Request, decision: &mut Decision<'_>) -> Answer {
        if let Some(answer) = request.key.as_ref().and_then(|key| self.again(key)) {
            return answer;
        }
        let command = &request.command;
        let known = |product| self.stock.products.contains_key(product);
        let is_new = matches!(command, Command::Count { product, .. } if !known(product));
        let events = match self.stock.decide(command) {
            Ok(events) => events,
            Err(rejection) => return self.rejected(rejection),
        };
        for event in &events {
            self.append(command.stream(), event, decision);
        }
        match (command, events.as_slice()) {
            (Command::Count { product, .. }, _) => Answer::Counted { balance: self.stock.balance(product), is_new },
            (Command::Adjust(_), [StockEvent::Adjusted(adjusted)]) => {
                let version = self.stock.balance(&adjusted.product_id).stream_version;
                if let Some(key) = &request.key {
                    self.keys.keep(key.clone(), command.stream(), version, decision.now());
                }
                Answer::Adjusted(Movement::adjusted(adjusted, decision.now()))
            }
            _ => Answer::Noted,
        }
    }

    /// What a key's next user is told; nothing for the first.
    fn again(&self, key: &Key) -> Option<Answer> {
        match self.keys.used(key) {
            Ok(used) => used.map(|used| Answer::AdjustedBefore(used.version)),
            Err(KeyReused) => Some(Answer::KeyReused),
        }
    }

    fn rejected(&mut self, rejection: Rejection) -> Answer {
        // Counted when the batch is durable: until then it may be decided again.
        self.ignored += u64::from(rejection == Rejection::Stale);
        Answer::Rejected(rejection)
    }

    fn append(&mut self, stream: Uuid, event: &StockEvent, decision: &mut Decision<'_>) {
        let version = self.stock.evolve(stream, event);
        match product_of(event) {
            Some(product) => decision.append_about(product.as_str(), stream, version, event),
            None => decision.append(stream, version, event),
        }
    }

    /// Products that have no row yet.
    pub(super) fn new_products(&self) -> Vec<(&ProductId, &Balance)> {
        let products = self.stock.products.iter();
        products.filter(|(product, _)| !self.stored.products.contains_key(*product)).collect()
    }

    /// Products whose row is to be changed, and the version that it has.
    pub(super) fn changed_products(&self) -> Vec<(&ProductId, &Balance, i64)> {
        let stored = |product| self.stored.products.get(product).copied();
        let all = self.stock.products.iter();
        let stored = all.filter_map(|(product, balance)| Some((product, balance, stored(product)?)));
        stored.filter(|(_, balance, before)| balance.version != *before).collect()
    }

    /// Orders that have no row yet.
    pub(super) fn new_holds(&self) -> Vec<(&Uuid, &Hold)> {
        self.stock.holds.iter().filter(|(order, _)| !self.stored.holds.contains_key(order)).collect()
    }

    /// Orders whose row is to be changed.
    pub(super) fn changed_holds(&self) -> Vec<(&Uuid, &Hold)> {
        let stored = |order| self.stored.holds.get(order);
        let changed = |order, now: i32| stored(order).is_some_and(|before| *before != now);
        self.stock.holds.iter().filter(|(order, hold)| changed(*order, hold.version)).collect()
    }

    /// The balances and holds as they are now.
    pub fn stock(&self) -> &Stock {
        &self.stock
    }

    /// The balances and holds, as they are to be remembered.
    pub(super) fn into_stock(self) -> Stock {
        self.stock
    }

    /// The keys of the batch.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
}
