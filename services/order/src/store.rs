//! The order service's tables: what a batch needs of them, what it decides with it, and what it writes.

mod columns;
mod reads;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, Utc};
use contract::{Lanes, Record, Topic, order::OrderEvent};
use journal::{Decision, Model, Query, Unreadable, UnreadableRow};
use sha2::{Digest as _, Sha256};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::messages;
use crate::metrics::OrderMetrics;
use crate::order::{self, Fact, Ignored, Order, Place, Policy, Refusal};
use crate::waiting::Waiters;

pub(crate) use columns::encoded;
pub use reads::{KEYS_PURGED_AT_ONCE, ReadError, StoredEvent, events, find, overdue, purge_keys, settled};
pub(crate) use rows::{Cells, read_shown, shown_columns};
pub use rows::{ROWS, read_row};

/// The service's own tables. An order's row is updated in place several times within a second, so half of each page is
/// left free and nothing that changes then is indexed: `open` changes once in an order's life.
pub const MIGRATIONS: &[&str] = &[r#"
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    lane int2 NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    payment_status text COLLATE "C" NOT NULL,
    revision int4 NOT NULL,
    version int4 NOT NULL,
    currency text COLLATE "C" NOT NULL,
    total int8 NOT NULL,
    lines bytea NOT NULL,
    reason text,
    shortages bytea,
    placed_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    token text,
    declines int4 NOT NULL,
    open bool NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX orders_due ON orders (expires_at) WHERE open;

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

/// Digits of a second that the database keeps. What is answered from memory must not show more.
const SECOND_DIGITS: u16 = 6;

/// The order service as its journal sees it.
pub struct Orders {
    lanes: Lanes,
    policy: Policy,
    waiters: Arc<Waiters>,
    metrics: OrderMetrics,
}

/// What is asked of the order service.
#[derive(Debug)]
pub enum Command {
    /// Place an order.
    Place(Box<Placing>),
    /// Do something with one.
    Change {
        /// The order.
        order: Uuid,
        /// What to do.
        command: order::Command,
    },
    /// Take note of what another service reports.
    Learn {
        /// The order.
        order: Uuid,
        /// What it reports.
        fact: Fact,
    },
}

/// An order to place.
#[derive(Debug)]
pub struct Placing {
    /// The id it gets, in the lane of its key.
    pub id: Uuid,
    /// The order.
    pub place: Place,
    /// What makes the request repeatable.
    pub key: Option<Key>,
}

/// An idempotency key and the request that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub text: Box<str>,
    /// SHA-256 of the request.
    pub request_hash: [u8; 32],
}

/// What the asker is told.
#[derive(Debug)]
pub enum Answer {
    /// The order as it is now.
    Order(Arc<Order>),
    /// The key was used before for the same request: this order was placed then.
    Replayed(Uuid),
    /// The key was used before for another request.
    KeyReused,
    /// There is no such order.
    NotFound,
    /// The order does not admit it.
    Refused(Refusal),
    /// It was taken note of.
    Noted,
}

/// The rows that a batch touches.
#[derive(Default)]
pub struct Rows {
    orders: BTreeMap<Uuid, Kept>,
    keys: HashMap<Box<str>, Used>,
    ignored: Vec<Ignored>,
}

/// An order in a batch.
struct Kept {
    order: Arc<Order>,
    before: Before,
}

/// What is remembered of an order from before the batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// It was not there.
    Absent,
    /// It was there.
    Stored { version: i32, revision: i32, open: bool },
}

/// An idempotency key that was used, in this batch or before.
struct Used {
    request_hash: Vec<u8>,
    order: Uuid,
    /// When it was used, if that was in this batch.
    now: Option<DateTime<Utc>>,
}

impl Orders {
    /// The model of the orders in `lanes`; whoever waits for an order is told through `waiters`.
    pub fn new(lanes: Lanes, policy: Policy, waiters: Arc<Waiters>, metrics: OrderMetrics) -> Self {
        Self { lanes, policy, waiters, metrics }
    }
}

impl Model for Orders {
    type Command = Command;
    type Answer = Answer;
    type Rows = Rows;

    const STATEMENTS: &'static [&'static str] =
        &[rows::LOAD, rows::LOAD_KEYS, columns::INSERT, columns::UPDATE, columns::INSERT_KEYS];

    fn read(&self, source: Topic, record: &Record) -> Result<Option<Command>, Unreadable> {
        messages::read(source, record)
    }

    fn load(&self, commands: &[&Command]) -> Vec<Query> {
        let mut orders: Vec<Uuid> = commands.iter().filter_map(|command| command.existing_order()).collect();
        orders.sort_unstable();
        orders.dedup();
        let keys: Vec<String> = commands.iter().filter_map(|command| command.key()).map(Into::into).collect();
        let mut queries = vec![Query::new(rows::LOAD).bind(orders)];
        if !keys.is_empty() {
            queries.push(Query::new(rows::LOAD_KEYS).bind(keys));
        }
        queries
    }

    fn rows(&self, results: Vec<Vec<Row>>) -> Result<Rows, UnreadableRow> {
        let mut results = results.into_iter();
        let mut rows = Rows::default();
        for row in results.next().unwrap_or_default() {
            let order = read_row(&row)?;
            rows.orders.insert(order.shown.id, Kept::stored(order));
        }
        for row in results.next().unwrap_or_default() {
            let (key, used) = rows::read_key(&row)?;
            rows.keys.insert(key, used);
        }
        Ok(rows)
    }

    fn decide(&self, rows: &mut Rows, command: &Command, decision: &mut Decision<'_>) -> Answer {
        let now = decision.now().trunc_subsecs(SECOND_DIGITS);
        match command {
            Command::Place(placing) => rows.place(placing, self.policy, now, decision),
            Command::Change { order, command } => rows.change(*order, command, now, decision),
            Command::Learn { order, fact } => rows.learn(*order, fact, self.policy, now, decision),
        }
    }

    fn write(&self, rows: &Rows) -> Vec<Query> {
        columns::write(rows, self.lanes)
    }

    fn committed(&self, rows: Rows) {
        for reason in &rows.ignored {
            self.metrics.ignored(*reason);
        }
        let settled = rows.orders.into_values().filter(Kept::was_settled).map(|kept| kept.order);
        let settled: Vec<Arc<Order>> = settled.inspect(|order| self.metrics.settled(&order.shown)).collect();
        self.waiters.settled(settled);
    }
}

impl Key {
    /// The key `text` for a request to place this order. Requests that mean the same have the same hash, however they
    /// were written.
    pub fn of(text: Box<str>, place: &Place) -> Self {
        let canonical = serde_json::to_vec(place).expect("an order holds only text and integers");
        Self { text, request_hash: Sha256::digest(canonical).into() }
    }
}

impl Command {
    /// The order that must be loaded.
    fn existing_order(&self) -> Option<Uuid> {
        match self {
            Self::Place(_) => None,
            Self::Change { order, .. } | Self::Learn { order, .. } => Some(*order),
        }
    }

    fn key(&self) -> Option<&str> {
        match self {
            Self::Place(placing) => placing.key.as_ref().map(|key| &*key.text),
            Self::Change { .. } | Self::Learn { .. } => None,
        }
    }
}

impl Rows {
    fn place(&mut self, placing: &Placing, policy: Policy, now: DateTime<Utc>, decision: &mut Decision<'_>) -> Answer {
        if let Some(key) = &placing.key {
            if let Some(used) = self.keys.get(&key.text) {
                return used.again(key);
            }
            let used = Used { request_hash: key.request_hash.to_vec(), order: placing.id, now: Some(now) };
            self.keys.insert(key.text.clone(), used);
        }
        let placed = placing.place.decide(policy, now);
        let order = Arc::new(Order::placed(placing.id, &placed, now));
        decision.append(placing.id, order.shown.version, &OrderEvent::Placed(placed));
        self.orders.insert(placing.id, Kept { order: Arc::clone(&order), before: Before::Absent });
        Answer::Order(order)
    }

    fn change(
        &mut self,
        id: Uuid,
        command: &order::Command,
        now: DateTime<Utc>,
        decision: &mut Decision<'_>,
    ) -> Answer {
        let Some(kept) = self.orders.get_mut(&id) else { return Answer::NotFound };
        match order::decide(&kept.order, command, now) {
            Ok(event) => {
                if let Some(event) = event {
                    kept.append(&event, now, decision);
                }
                Answer::Order(Arc::clone(&kept.order))
            }
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    fn learn(
        &mut self,
        id: Uuid,
        fact: &Fact,
        policy: Policy,
        now: DateTime<Utc>,
        decision: &mut Decision<'_>,
    ) -> Answer {
        let kept = self.orders.get_mut(&id).ok_or(Ignored::UnknownOrder);
        let learned = kept.and_then(|kept| order::learn(&kept.order, fact, policy).map(|event| (kept, event)));
        match learned {
            Ok((kept, event)) => kept.append(&event, now, decision),
            // Counted when the batch is durable: until then it may be decided again.
            Err(reason) => self.ignored.push(reason),
        }
        Answer::Noted
    }
}

impl Kept {
    fn stored(order: Order) -> Self {
        let shown = &order.shown;
        let before = Before::Stored { version: shown.version, revision: shown.revision, open: shown.status.is_open() };
        Self { order: Arc::new(order), before }
    }

    fn append(&mut self, event: &OrderEvent, now: DateTime<Utc>, decision: &mut Decision<'_>) {
        let order = Arc::make_mut(&mut self.order);
        order.apply(event, now);
        decision.append(order.shown.id, order.shown.version, event);
    }

    /// Whether this batch settled the order.
    fn was_settled(&self) -> bool {
        let was_open = matches!(self.before, Before::Absent | Before::Stored { open: true, .. });
        was_open && !self.order.shown.status.is_open()
    }
}

impl Used {
    /// What the key's next user is told.
    fn again(&self, key: &Key) -> Answer {
        if self.request_hash == key.request_hash { Answer::Replayed(self.order) } else { Answer::KeyReused }
    }
}

#[cfg(test)]
mod tests;
