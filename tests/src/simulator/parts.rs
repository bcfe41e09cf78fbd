//! The four services, as a simulated replica runs them: their own borders, rules and rows, over tables in memory.

mod inventory;
mod notification;
mod order;
mod payment;

use std::collections::{BTreeMap, BTreeSet};

use ::payment::payment::{Call, CallError, Outcome};
use chrono::{DateTime, Utc};
use contract::{Lane, Lanes, ProductId, Record, Topic};
use journal::idempotency::{Key, Keys, Used};
use journal::{Decision, Unreadable};

pub use self::inventory::Stocks;
pub use self::notification::Notices;
pub use self::order::Orders;
pub use self::payment::Payments;

/// A service as a simulated replica runs it.
pub trait Part {
    /// What its journal feeds.
    const TOPIC: Topic;
    /// The schema of its journal.
    const SCHEMA: &'static str;
    /// What it consumes.
    const SOURCES: &'static [Topic];
    /// The kinds in there that it passes over.
    const PASSES: &'static [&'static str];
    /// What is asked of it.
    type Command;
    /// What the asker is told.
    type Answer;
    /// The rows that a batch touches.
    type Rows;
    /// Its tables.
    type Tables: Default;

    /// The command that a consumed record stands for.
    fn read(source: Topic, record: &Record) -> Result<Option<Self::Command>, Unreadable>;

    /// The products whose rows these commands lock.
    fn locks(_: &Self::Tables, _: &[&Self::Command]) -> BTreeSet<ProductId> {
        BTreeSet::new()
    }

    /// The rows that these commands need.
    fn load(tables: &Self::Tables, commands: &[&Self::Command]) -> Self::Rows;

    /// Settles one command.
    fn decide(&self, rows: &mut Self::Rows, command: &Self::Command, decision: &mut Decision<'_>) -> Self::Answer;

    /// Stores the rows, or says which constraint they break.
    fn store(tables: &mut Self::Tables, rows: &Self::Rows) -> Result<(), String>;

    /// What the provider is to be asked after a batch.
    fn calls(_: Self::Rows) -> Vec<Call> {
        Vec::new()
    }

    /// What the provider is to be asked about what is open in these lanes; with `by`, only what is due by then.
    fn open_calls(_: &Self::Tables, _: &[Lane], _: Option<DateTime<Utc>>) -> Vec<Call> {
        Vec::new()
    }

    /// The command that brings the provider's answer back.
    fn answer(_: Lane, _: &Call, _: Result<Outcome, CallError>) -> Option<Self::Command> {
        None
    }

    /// What the clock asks for in these lanes.
    fn overdue(_: &Self::Tables, _: Lanes, _: &[Lane], _: DateTime<Utc>) -> Vec<(Lane, Self::Command)> {
        Vec::new()
    }
}

/// A table of idempotency keys.
#[derive(Default)]
pub struct KeyTable(BTreeMap<(Box<str>, Box<str>), Used>);

impl KeyTable {
    /// Which of these keys were used.
    fn load<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> Keys {
        keys.filter_map(|key| self.0.get(&(key.scope.clone(), key.text.clone())).cloned()).collect()
    }

    /// Keeps the keys that a batch used.
    fn store(&mut self, keys: &Keys) -> Result<(), String> {
        for (used, _) in keys.new_ones() {
            let name = (used.key.scope.clone(), used.key.text.clone());
            if self.0.insert(name, used.clone()).is_some() {
                return Err(format!("idempotency key {} of {} is there already", used.key.text, used.key.scope));
            }
        }
        Ok(())
    }

    /// Every key that was used, and what came of it.
    pub fn used(&self) -> impl Iterator<Item = &Used> {
        self.0.values()
    }
}
