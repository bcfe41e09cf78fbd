//! The order service's tables: what a batch needs of them, what it decides with it, and what it writes.

mod columns;
mod reads;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use contract::{Lanes, Record, Topic, order::OrderEvent};
use journal::idempotency::{self, Key, KeyReused, Keys};
use journal::{Decision, Loaded, Model, Query, Recent, Unreadable, UnreadableRow};
use uuid::Uuid;

use crate::admission::Admission;
use crate::messages;
use crate::metrics::OrderMetrics;
use crate::order::{self, Fact, Ignored, Order, Place, Policy, Refusal};
use crate::waiting::Waiters;

pub(crate) use columns::encoded;
pub use reads::{find, overdue, settled};
pub use rows::{ROWS, read_row};
pub(crate) use rows::{read_shown, shown_columns};

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
) WITH (fillfactor = 50, autovacuum_analyze_scale_factor = 1);
CREATE INDEX orders_due ON orders (expires_at) WHERE open;
"#];

/// What an order's idempotency key is good for: its placing. An order is placed in the lane of its key.
const KEY_SCOPE: &str = "orders";

/// The order service as its journal sees it.
pub struct Orders {
    lanes: Lanes,
    policy: Policy,
    waiters: Arc<Waiters>,
    admission: Arc<Admission>,
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
    keys: Keys,
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

impl Orders {
    /// The model of the orders in `lanes`; whoever waits for an order is told through `waiters`, and `admission` is told
    /// which are on their way.
    pub(crate) fn new(
        lanes: Lanes,
        policy: Policy,
        waiters: Arc<Waiters>,
        admission: Arc<Admission>,
        metrics: OrderMetrics,
    ) -> Self {
        Self { lanes, policy, waiters, admission, metrics }
    }
}

impl Model for Orders {
    type Command = Command;
    type Answer = Answer;
    type Rows = Rows;
    type Memory = Recent<Uuid, Arc<Order>>;

    const STATEMENTS: &'static [&'static str] =
        &[rows::LOAD, columns::INSERT, columns::UPDATE, idempotency::LOAD, idempotency::INSERT];

    fn read(&self, source: Topic, record: &Record) -> Result<Option<Command>, Unreadable> {
        messages::read(source, record)
    }

    fn load(&self, commands: &[&Command], memory: &Self::Memory) -> Vec<Query> {
        let orders = memory.missing(commands.iter().filter_map(|command| command.existing_order()));
        let orders = (!orders.is_empty()).then(|| Query::new(rows::LOAD).bind(orders));
        let keys = Keys::load(commands.iter().filter_map(|command| command.key()));
        orders.into_iter().chain(keys).collect()
    }

    fn rows(
        &self,
        commands: &[&Command],
        mut loaded: Loaded,
        memory: &mut Self::Memory,
    ) -> Result<Rows, UnreadableRow> {
        let existing = commands.iter().filter_map(|command| command.existing_order());
        let mut orders: Vec<Arc<Order>> = existing.filter_map(|order| memory.take(&order)).collect();
        for row in &loaded.of(rows::LOAD) {
            orders.push(Arc::new(read_row(row)?));
        }
        Ok(Rows::of(orders, Keys::read(&loaded.of(idempotency::LOAD))?))
    }

    fn decide(&self, rows: &mut Rows, command: &Command, decision: &mut Decision<'_>) -> Answer {
        rows.settle(command, self.policy, decision)
    }

    fn write(&self, rows: &Rows) -> Vec<Query> {
        columns::write(rows, self.lanes)
    }

    fn committed(&self, rows: Rows, memory: &mut Self::Memory) {
        for reason in &rows.ignored {
            self.metrics.ignored(*reason);
        }
        self.admission.observe(rows.orders());
        for (id, kept) in &rows.orders {
            memory.keep(*id, Arc::clone(&kept.order));
        }
        let settled = rows.orders.into_values().filter(Kept::was_settled).map(|kept| kept.order);
        let settled: Vec<Arc<Order>> = settled.inspect(|order| self.metrics.settled(&order.shown)).collect();
        self.waiters.settled(settled);
    }
}

/// The idempotency key `text` for a request to place this order.
pub fn key(text: &str, place: &Place) -> Key {
    Key::of(KEY_SCOPE, text, place)
}

impl Command {
    /// The order that must be loaded.
    pub fn existing_order(&self) -> Option<Uuid> {
        match self {
            Self::Place(_) => None,
            Self::Change { order, .. } | Self::Learn { order, .. } => Some(*order),
        }
    }

    /// What makes it repeatable.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Place(placing) => placing.key.as_ref(),
            Self::Change { .. } | Self::Learn { .. } => None,
        }
    }
}

impl Rows {
    /// The rows of these orders, and the keys that were used before.
    pub fn of<O: Into<Arc<Order>>>(orders: impl IntoIterator<Item = O>, keys: Keys) -> Self {
        let orders = orders.into_iter().map(|order| Kept::stored(order.into())).map(|kept| (kept.order.shown.id, kept));
        let orders = orders.collect();
        Self { orders, keys, ignored: Vec::new() }
    }

    /// The orders as they are now.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().map(|kept| &*kept.order)
    }

    /// The keys of the batch.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Settles one command.
    pub fn settle(&mut self, command: &Command, policy: Policy, decision: &mut Decision<'_>) -> Answer {
        let now = decision.now();
        match command {
            Command::Place(placing) => self.place(placing, policy, now, decision),
            Command::Change { order, command } => self.change(*order, command, now, decision),
            Command::Learn { order, fact } => self.learn(*order, fact, policy, now, decision),
        }
    }

    fn place(&mut self, placing: &Placing, policy: Policy, now: DateTime<Utc>, decision: &mut Decision<'_>) -> Answer {
        if let Some(answer) = placing.key.as_ref().and_then(|key| self.again(key)) {
            return answer;
        }
        let placed = placing.place.decide(policy, now);
        let order = Arc::new(Order::placed(placing.id, &placed, now));
        if let Some(key) = &placing.key {
            self.keys.keep(key.clone(), placing.id, order.shown.version, now);
        }
        decision.append(placing.id, order.shown.version, &OrderEvent::Placed(placed));
        self.orders.insert(placing.id, Kept { order: Arc::clone(&order), before: Before::Absent });
        Answer::Order(order)
    }

    /// What a key's next user is told; nothing for the first.
    fn again(&self, key: &Key) -> Option<Answer> {
        match self.keys.used(key) {
            Ok(used) => used.map(|used| Answer::Replayed(used.stream)),
            Err(KeyReused) => Some(Answer::KeyReused),
        }
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
    fn stored(order: Arc<Order>) -> Self {
        let shown = &order.shown;
        let before = Before::Stored { version: shown.version, revision: shown.revision, open: shown.status.is_open() };
        Self { order, before }
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

#[cfg(test)]
mod tests;
