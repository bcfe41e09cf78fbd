//! Inventory's tables: what a batch needs of them, what it decides with it, and what it writes.

mod batch;
mod columns;
mod memory;
mod reads;
mod rows;
#[cfg(test)]
mod tests;

use contract::{Record, Topic};
use journal::idempotency::{self, Key, Keys};
use journal::{Decision, Loaded, Model, Query, Unreadable, UnreadableRow};
use process::metrics::{Counter, Metrics};

use crate::messages;
use crate::stock::{Adjustment, Balance, Command, Rejection};
use crate::view::Movement;

pub use batch::Rows;
use memory::Memory;
pub use reads::{adjustment, find, page};
pub use rows::{HOLDS, STOCK, read_hold, read_stock};

/// The service's own tables. A product's row is locked by whoever changes it, an order's is covered by its lane. Both are
/// updated in place, so half of each page is left free and nothing that changes is indexed.
pub const MIGRATIONS: &[&str] = &[r#"
CREATE TABLE stock (
    product_id text COLLATE "C" PRIMARY KEY,
    available int8 NOT NULL CHECK (available >= 0),
    reserved int8 NOT NULL CHECK (reserved >= 0),
    sold int8 NOT NULL CHECK (sold >= 0),
    version int8 NOT NULL,
    stream_version int4 NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE reservation (
    order_id uuid PRIMARY KEY,
    revision int4 NOT NULL,
    status text COLLATE "C" NOT NULL,
    version int4 NOT NULL,
    products text[] COLLATE "C" NOT NULL,
    quantities int8[] NOT NULL
) WITH (fillfactor = 50, autovacuum_analyze_scale_factor = 1);
"#];

/// Inventory as its journal sees it.
pub struct Inventory {
    ignored: Counter,
}

/// What is asked of inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    command: Command,
    key: Option<Key>,
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The product was counted and has this balance.
    Counted {
        /// The balance.
        balance: Balance,
        /// Whether the product was not known before.
        is_new: bool,
    },
    /// Units were added or taken.
    Adjusted(Movement),
    /// They were added or taken before, under the same key, by this event of the product's stream.
    AdjustedBefore(i32),
    /// The key stands for another request.
    KeyReused,
    /// It was refused.
    Rejected(Rejection),
    /// It was noted.
    Noted,
}

impl Request {
    /// Asks for an adjustment; only once, if the caller has a key for it.
    pub fn adjust(adjustment: Adjustment, key: Option<&str>) -> Self {
        let Adjustment { product, delta, reason, reference } = &adjustment;
        // A key is good for the adjustments of one product, which are settled in the product's lane.
        let key = key.map(|text| Key::of(format!("adjustments/{product}"), text, &(delta, reason, reference)));
        Self { command: Command::Adjust(adjustment), key }
    }
}

impl Request {
    /// The command.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// What makes it repeatable.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self { command, key: None }
    }
}

impl Inventory {
    /// Counts in `metrics`.
    pub fn new(metrics: &Metrics) -> Self {
        Self { ignored: metrics.counter("facts_ignored", "Facts that came again or too late") }
    }
}

impl Model for Inventory {
    type Command = Request;
    type Answer = Answer;
    type Rows = Rows;
    type Memory = Memory;

    const STATEMENTS: &'static [&'static str] = &[
        rows::LOAD_HOLDS,
        rows::LOAD_STOCK,
        columns::INSERT_STOCK,
        columns::UPDATE_STOCK,
        columns::INSERT_HOLDS,
        columns::UPDATE_HOLDS,
        idempotency::LOAD,
        idempotency::INSERT,
    ];

    fn read(&self, _: Topic, record: &Record) -> Result<Option<Request>, Unreadable> {
        Ok(messages::read(record)?.map(Request::from))
    }

    fn load(&self, requests: &[&Request], memory: &Memory) -> Vec<Query> {
        let orders = memory.holds.missing(requests.iter().filter_map(|request| request.command.order()));
        let products = memory.unknown_products(requests);
        let holds = (!orders.is_empty()).then(|| Query::new(rows::LOAD_HOLDS).bind(orders.clone()));
        let stock = (!orders.is_empty() || !products.is_empty())
            .then(|| Query::new(rows::LOAD_STOCK).bind(orders).bind(products));
        let keys = Keys::load(requests.iter().filter_map(|request| request.key.as_ref()));
        holds.into_iter().chain(stock).chain(keys).collect()
    }

    fn rows(&self, requests: &[&Request], mut loaded: Loaded, memory: &mut Memory) -> Result<Rows, UnreadableRow> {
        let mut rows = Rows::default();
        memory.recall(requests, &mut rows);
        for row in &loaded.of(rows::LOAD_HOLDS) {
            let (order, hold) = read_hold(row)?;
            rows.take_hold(order, hold);
        }
        for row in &loaded.of(rows::LOAD_STOCK) {
            let (product, balance) = read_stock(row)?;
            rows.take_product(product, balance);
        }
        rows.take_keys(Keys::read(&loaded.of(idempotency::LOAD))?);
        Ok(rows)
    }

    fn decide(&self, rows: &mut Rows, request: &Request, decision: &mut Decision<'_>) -> Answer {
        rows.settle(request, decision)
    }

    fn write(&self, rows: &Rows) -> Vec<Query> {
        columns::write(rows)
    }

    fn committed(&self, rows: Rows, memory: &mut Memory) {
        self.ignored.inc_by(rows.ignored);
        memory.keep(rows.into_stock());
    }
}
