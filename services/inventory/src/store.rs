//! Inventory's tables: what a batch needs of them, what it decides with it, and what it writes.

mod batch;
mod columns;
mod reads;
mod rows;
#[cfg(test)]
mod tests;

use contract::{ProductId, Record, Topic};
use journal::idempotency::{self, Key, Keys};
use journal::{Decision, Model, Query, Unreadable, UnreadableRow};
use process::metrics::{Counter, Metrics};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::messages;
use crate::stock::{Adjustment, Balance, Command, Rejection};
use crate::view::Movement;

pub use batch::Rows;
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

    fn load(&self, requests: &[&Request]) -> Vec<Query> {
        let orders: Vec<Uuid> = requests.iter().filter_map(|request| request.command.order()).collect();
        let holds = Query::new(rows::LOAD_HOLDS).bind(orders.clone());
        let stock = Query::new(rows::LOAD_STOCK).bind(orders).bind(products(requests));
        let keys = Keys::load(requests.iter().filter_map(|request| request.key.as_ref()));
        [holds, stock].into_iter().chain(keys).collect()
    }

    fn rows(&self, results: Vec<Vec<Row>>) -> Result<Rows, UnreadableRow> {
        let mut results = results.into_iter();
        let mut rows = Rows::default();
        for row in results.next().iter().flatten() {
            let (order, hold) = read_hold(row)?;
            rows.take_hold(order, hold);
        }
        for row in results.next().iter().flatten() {
            let (product, balance) = read_stock(row)?;
            rows.take_product(product, balance);
        }
        rows.take_keys(Keys::read(&results.next().unwrap_or_default())?);
        Ok(rows)
    }

    fn decide(&self, rows: &mut Rows, request: &Request, decision: &mut Decision<'_>) -> Answer {
        rows.settle(request, decision)
    }

    fn write(&self, rows: &Rows) -> Vec<Query> {
        columns::write(rows)
    }

    fn committed(&self, rows: Rows) {
        self.ignored.inc_by(rows.ignored);
    }
}

/// The products that these requests name, each once, however many orders want it.
fn products(requests: &[&Request]) -> Vec<String> {
    let mut products: Vec<&ProductId> = requests.iter().flat_map(|request| request.command.products()).collect();
    products.sort_unstable();
    products.dedup();
    products.into_iter().map(ToString::to_string).collect()
}
