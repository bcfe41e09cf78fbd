//! Inventory's tables: what a batch needs of them, what it decides with it, and what it writes.

mod cells;
mod columns;
mod reads;
mod rows;
#[cfg(test)]
mod tests;

use contract::{ProductId, Record, Topic};
use journal::{Decision, Model, Query, Unreadable, UnreadableRow};
use process::metrics::{Counter, Metrics};
use sha2::{Digest as _, Sha256};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::messages;
use crate::stock::{Adjustment, Balance, Command, Rejection};
use crate::view::Movement;
use rows::Used;

pub(crate) use cells::Cells;
pub use reads::{
    HOLDS, KEYS_PURGED_AT_ONCE, ReadError, STOCK, adjustment, find, page, purge_keys, read_hold, read_stock,
};
pub use rows::Rows;

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
) WITH (fillfactor = 50);

CREATE TABLE idempotency (
    scope text COLLATE "C",
    key text COLLATE "C",
    request_hash bytea NOT NULL,
    stream_id uuid NOT NULL,
    version int4 NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_age ON idempotency USING brin (created_at);
"#];

const LOAD_HOLDS: &str = "
SELECT order_id, revision, status, version, products, quantities FROM reservation WHERE order_id = ANY ($1)";

/// Locks the products that are named and those that the orders hold, always in the products' order, so that no two
/// batches can wait for each other.
const LOAD_STOCK: &str = "
SELECT product_id, available, reserved, sold, version, stream_version FROM stock
WHERE product_id = ANY (ARRAY(
    SELECT unnest(products) FROM reservation WHERE order_id = ANY ($1) UNION SELECT unnest($2::text[])))
ORDER BY product_id FOR UPDATE";

const LOAD_KEYS: &str = "
SELECT i.scope, i.key, i.request_hash, i.version
FROM unnest($1::text[], $2::text[]) AS k (scope, key) JOIN idempotency i ON i.scope = k.scope AND i.key = k.key";

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

/// An idempotency key and the request that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// What the key is good for: the adjustments of one product, whose lane puts equal keys one after the other.
    scope: String,
    text: String,
    request_hash: [u8; 32],
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
        let key = key.map(|text| Key {
            scope: format!("adjustments/{}", adjustment.product),
            text: text.to_owned(),
            request_hash: hash(&adjustment),
        });
        Self { command: Command::Adjust(adjustment), key }
    }
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self { command, key: None }
    }
}

/// Another one for every other adjustment of the product. The texts have no NUL, so it can part them.
fn hash(adjustment: &Adjustment) -> [u8; 32] {
    let Adjustment { delta, reason, reference, .. } = adjustment;
    let reference = reference.as_ref().map(|reference| format!("\0{reference}")).unwrap_or_default();
    Sha256::new().chain_update(delta.to_be_bytes()).chain_update(reason).chain_update(reference).finalize().into()
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
        LOAD_HOLDS,
        LOAD_STOCK,
        LOAD_KEYS,
        columns::ADD_STOCK,
        columns::CHANGE_STOCK,
        columns::ADD_HOLDS,
        columns::CHANGE_HOLDS,
        columns::KEEP_KEYS,
    ];

    fn read(&self, _: Topic, record: &Record) -> Result<Option<Request>, Unreadable> {
        Ok(messages::command(record)?.map(Request::from))
    }

    fn load(&self, requests: &[&Request]) -> Vec<Query> {
        let orders: Vec<Uuid> = requests.iter().filter_map(|request| request.command.order()).collect();
        let keys = requests.iter().filter_map(|request| request.key.as_ref());
        let (scopes, keys): (Vec<_>, Vec<_>) = keys.map(|key| (key.scope.clone(), key.text.clone())).unzip();
        let mut queries = vec![
            Query::new(LOAD_HOLDS).bind(orders.clone()),
            Query::new(LOAD_STOCK).bind(orders).bind(products(requests)),
        ];
        if !keys.is_empty() {
            queries.push(Query::new(LOAD_KEYS).bind(scopes).bind(keys));
        }
        queries
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
        for row in results.next().iter().flatten() {
            let mut cells = Cells::of("inventory.idempotency", row);
            let (scope, text) = (cells.take()?, cells.take()?);
            rows.take_key(scope, text, Used { request_hash: cells.take()?, version: cells.take()? });
        }
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
