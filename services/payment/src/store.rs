//! Payment's tables: what a batch needs of them, what it decides with it, and what it writes.
//!
//! `account` and `payment` are the fold of the events, but for two columns of `payment` that say when somebody should look
//! at an open attempt again: `due_at` and `tries`. They change with failed requests too, of which no event tells, so an
//! auditor passes them over.

mod columns;
mod entry;
mod reads;
mod rows;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contract::{Lane, Record, Topic};
use journal::idempotency::{self, Key, KeyReused, Keys};
use journal::{Decision, Loaded, Model, Query, Recent, Unreadable, UnreadableRow};
use process::metrics::{Counter, Metrics};
use uuid::Uuid;

use crate::calls::Calls;
use crate::messages;
use crate::payment::{Account, Call, Command, Payment, Posting, Rejection, postings};

pub use entry::{Changed, Entry, Work};
pub use reads::{open, order_of};
pub use rows::{ACCOUNTS, LEDGER, PAYMENTS, read_account, read_payment, read_posting};

/// The service's own tables.
///
/// An account's row changes with what is to be paid, an attempt's with each event about the attempt, so that most orders
/// write the first once. The version of either is that of the last event that changed it; the account's is the greater.
///
/// In `payment`, `live` and `open` follow from the status and flip once. Until then no column of an index changes, and the
/// row is updated in place. An order has one live attempt at most, and the key of `ledger` lets an attempt be captured
/// once and refunded once.
pub const MIGRATIONS: &[&str] = &[r#"
CREATE TABLE account (
    order_id uuid PRIMARY KEY,
    version int4 NOT NULL,
    closed bool NOT NULL,
    revision int4,
    amount int8,
    currency text COLLATE "C",
    welcome bool,
    token text COLLATE "C",
    payment_id uuid
) WITH (autovacuum_analyze_scale_factor = 1);

CREATE TABLE payment (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL,
    lane int2 NOT NULL,
    attempt int4 NOT NULL,
    revision int4 NOT NULL,
    status text COLLATE "C" NOT NULL,
    amount int8 NOT NULL CHECK (amount >= 0),
    currency text COLLATE "C" NOT NULL,
    token text COLLATE "C" NOT NULL,
    decline_code text COLLATE "C",
    version int4 NOT NULL,
    live bool NOT NULL,
    open bool NOT NULL,
    due_at timestamptz NOT NULL,
    tries int2 NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_analyze_scale_factor = 1);
CREATE UNIQUE INDEX payment_live ON payment (order_id) WHERE live;
CREATE INDEX payment_due ON payment (due_at) WHERE open;

CREATE TABLE ledger (
    payment_id uuid,
    kind text COLLATE "C",
    account text COLLATE "C",
    currency text COLLATE "C" NOT NULL,
    amount int8 NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (payment_id, kind, account)
) WITH (autovacuum_analyze_scale_factor = 1);
"#];

/// Payment as its journal sees it.
pub struct Accounts {
    calls: Calls,
    ignored: Counter,
}

/// What is asked of an order's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The order's lane.
    pub lane: Lane,
    /// The order.
    pub order: Uuid,
    /// What is asked.
    pub command: Command,
    /// What makes the request repeatable.
    pub key: Option<Key>,
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An attempt began, at this time.
    Began(Box<Payment>, DateTime<Utc>),
    /// The key was used before for the same request: an attempt began then, with this event of the order's stream.
    Replayed(i32),
    /// The key was used before for another request.
    KeyReused,
    /// The account does not admit it.
    Rejected(Rejection),
    /// It was taken note of.
    Noted,
}

/// The rows that a batch touches.
#[derive(Default)]
pub struct Rows {
    entries: BTreeMap<Uuid, Entry>,
    keys: Keys,
    postings: Vec<(Posting, DateTime<Utc>)>,
    ignored: u64,
    now: DateTime<Utc>,
}

impl Accounts {
    /// Hands what the provider is to be asked to `calls`, and counts in `metrics`.
    pub fn new(calls: Calls, metrics: &Metrics) -> Self {
        let help = "Facts about orders and payments that came again or too late";
        Self { calls, ignored: metrics.counter("payment_facts_ignored", help) }
    }
}

impl Request {
    /// A request without a key.
    pub fn of(lane: Lane, order: Uuid, command: Command) -> Self {
        Self { lane, order, command, key: None }
    }
}

impl Model for Accounts {
    type Command = Request;
    type Answer = Answer;
    type Rows = Rows;
    type Memory = Recent<Uuid, (Account, Option<Work>)>;

    const STATEMENTS: &'static [&'static str] = &[
        rows::LOAD,
        columns::INSERT_ACCOUNTS,
        columns::UPDATE_ACCOUNTS,
        columns::INSERT_PAYMENTS,
        columns::UPDATE_PAYMENTS,
        columns::INSERT_POSTINGS,
        idempotency::LOAD,
        idempotency::INSERT,
    ];

    fn read(&self, _: Topic, record: &Record) -> Result<Option<Request>, Unreadable> {
        messages::read(record)
    }

    fn load(&self, requests: &[&Request], memory: &Self::Memory) -> Vec<Query> {
        let orders = memory.missing(requests.iter().map(|request| request.order));
        let orders = (!orders.is_empty()).then(|| Query::new(rows::LOAD).bind(orders));
        let keys = Keys::load(requests.iter().filter_map(|request| request.key.as_ref()));
        orders.into_iter().chain(keys).collect()
    }

    fn rows(
        &self,
        requests: &[&Request],
        mut loaded: Loaded,
        memory: &mut Self::Memory,
    ) -> Result<Rows, UnreadableRow> {
        let remembered = requests.iter().filter_map(|request| memory.take(&request.order));
        let mut entries: Vec<Entry> = remembered.map(|(account, work)| Entry::stored(account, work)).collect();
        for row in &loaded.of(rows::LOAD) {
            entries.push(rows::read_entry(row)?);
        }
        Ok(Rows::of(entries, Keys::read(&loaded.of(idempotency::LOAD))?))
    }

    fn decide(&self, rows: &mut Rows, request: &Request, decision: &mut Decision<'_>) -> Answer {
        rows.settle(request, decision)
    }

    fn write(&self, rows: &Rows) -> Vec<Query> {
        columns::write(rows)
    }

    fn committed(&self, rows: Rows, memory: &mut Self::Memory) {
        self.ignored.inc_by(rows.ignored);
        for (call, trace) in rows.calls() {
            self.calls.offer(call, trace);
        }
        for (order, entry) in rows.entries.into_iter().filter(|(_, entry)| entry.is_stored()) {
            memory.keep(order, entry.into_stored());
        }
    }
}

impl Rows {
    /// The rows of these accounts, and the keys that were used before.
    pub fn of(entries: impl IntoIterator<Item = Entry>, keys: Keys) -> Self {
        let entries = entries.into_iter().map(|entry| (entry.account.order, entry)).collect();
        Self { entries, keys, ..Self::default() }
    }

    /// The accounts as they are now.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// What the batch posts to the ledger.
    pub fn postings(&self) -> impl Iterator<Item = &Posting> {
        self.postings.iter().map(|(posting, _)| posting)
    }

    /// The keys of the batch.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What the provider is to be asked that it was not being asked before the batch, and the trace context of what makes
    /// it be asked.
    pub fn calls(&self) -> impl Iterator<Item = (Call, Option<Box<str>>)> {
        let anew = self.entries.values().filter(|entry| entry.asks_anew());
        anew.filter_map(|entry| Some((entry.account.next_call()?, entry.trace.clone())))
    }

    /// Settles one request.
    pub fn settle(&mut self, request: &Request, decision: &mut Decision<'_>) -> Answer {
        self.now = decision.now();
        if let Some(answer) = request.key.as_ref().and_then(|key| self.again(key)) {
            return answer;
        }
        let (order, now) = (request.order, self.now);
        let entry = self.entries.entry(order).or_insert_with(|| Entry::absent(order));
        let events = match entry.account.decide(&request.command, decision.fresh_id()) {
            Ok(events) => events,
            Err(Rejection::Stale) => {
                // Counted when the batch is durable: until then it may be decided again.
                self.ignored += u64::from(!entry.postpone(&request.command, now));
                return Answer::Noted;
            }
            Err(rejection) => return Answer::Rejected(rejection),
        };
        for event in &events {
            entry.apply(event, request.lane, decision);
            decision.append(order, entry.account.version, event);
            self.postings.extend(postings(event).into_iter().map(|posting| (posting, now)));
        }
        match (&request.command, entry.account.payment.clone()) {
            (Command::Pay { .. }, Some(payment)) => {
                if let Some(key) = &request.key {
                    self.keys.keep(key.clone(), order, entry.account.version, now);
                }
                Answer::Began(Box::new(payment), now)
            }
            _ => Answer::Noted,
        }
    }

    /// What a key's next user is told; nothing for the first.
    fn again(&self, key: &Key) -> Option<Answer> {
        match self.keys.used(key) {
            Ok(used) => used.map(|used| Answer::Replayed(used.version)),
            Err(KeyReused) => Some(Answer::KeyReused),
        }
    }
}

#[cfg(test)]
mod tests;
