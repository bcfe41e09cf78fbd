//! Payment's tables: what a batch needs of them, what it decides with it, and what it writes.
//!
//! `account` and `payment` are the fold of the events, but for two columns of `payment` that say when somebody should look
//! at an open attempt again: `due_at` and `tries`. They change with failed requests too, of which no event tells, so an
//! auditor passes them over.

mod columns;
mod entry;
mod reads;
mod rows;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, SubsecRound as _, Utc};
use contract::{Lane, Record, Topic};
use journal::{Decision, Model, Query, Unreadable, UnreadableRow};
use process::metrics::{Counter, Metrics};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::calls::Calls;
use crate::messages;
use crate::payment::{Command, Payment, Posting, Rejection, postings};

use entry::Entry;
pub use reads::{KEYS_PURGED_AT_ONCE, ReadError, StoredEvent, events, open, order_of, purge_keys};
pub(crate) use rows::Cells;
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
) WITH (fillfactor = 50);

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
) WITH (fillfactor = 50);
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
);

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

/// An idempotency key and the request that it stands for. Each order has keys of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub text: Box<str>,
    /// SHA-256 of the request.
    pub request_hash: [u8; 32],
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
    keys: HashMap<(Uuid, Box<str>), Used>,
    postings: Vec<(Posting, DateTime<Utc>)>,
    ignored: u64,
    now: DateTime<Utc>,
}

/// An idempotency key that was used, in this batch or before.
struct Used {
    request_hash: Vec<u8>,
    version: i32,
    /// When it was used, if that was in this batch.
    now: Option<DateTime<Utc>>,
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

    const STATEMENTS: &'static [&'static str] = &[
        rows::LOAD,
        rows::LOAD_KEYS,
        columns::INSERT_ACCOUNTS,
        columns::UPDATE_ACCOUNTS,
        columns::INSERT_PAYMENTS,
        columns::UPDATE_PAYMENTS,
        columns::INSERT_POSTINGS,
        columns::INSERT_KEYS,
    ];

    fn read(&self, _: Topic, record: &Record) -> Result<Option<Request>, Unreadable> {
        messages::request(record)
    }

    fn load(&self, requests: &[&Request]) -> Vec<Query> {
        let mut orders: Vec<Uuid> = requests.iter().map(|request| request.order).collect();
        orders.sort_unstable();
        orders.dedup();
        let keyed = requests.iter().filter_map(|request| Some((request.order, request.key.as_ref()?)));
        let (scopes, keys): (Vec<_>, Vec<_>) =
            keyed.map(|(order, key)| (order.to_string(), key.text.to_string())).unzip();
        let mut queries = vec![Query::new(rows::LOAD).bind(orders)];
        if !keys.is_empty() {
            queries.push(Query::new(rows::LOAD_KEYS).bind(scopes).bind(keys));
        }
        queries
    }

    fn rows(&self, results: Vec<Vec<Row>>) -> Result<Rows, UnreadableRow> {
        let mut results = results.into_iter();
        let mut rows = Rows::default();
        for row in results.next().unwrap_or_default() {
            let entry = rows::read_entry(&row)?;
            rows.entries.insert(entry.account.order, entry);
        }
        for row in results.next().unwrap_or_default() {
            let (key, used) = rows::read_key(&row)?;
            rows.keys.insert(key, used);
        }
        Ok(rows)
    }

    fn decide(&self, rows: &mut Rows, request: &Request, decision: &mut Decision<'_>) -> Answer {
        rows.now = decision.now().trunc_subsecs(SECOND_DIGITS);
        rows.settle(request, decision)
    }

    fn write(&self, rows: &Rows) -> Vec<Query> {
        columns::write(rows)
    }

    fn committed(&self, rows: Rows) {
        self.ignored.inc_by(rows.ignored);
        let anew = rows.entries.into_values().filter(Entry::asks_anew);
        for call in anew.filter_map(|entry| entry.account.next_call()) {
            self.calls.offer(call);
        }
    }
}

impl Rows {
    fn settle(&mut self, request: &Request, decision: &mut Decision<'_>) -> Answer {
        if let Some(answer) = self.again(request) {
            return answer;
        }
        let (order, now) = (request.order, self.now);
        let entry = self.entries.entry(order).or_insert_with(|| Entry::absent(order));
        let events = match entry.account.decide(&request.command, Uuid::now_v7()) {
            Ok(events) => events,
            Err(Rejection::Stale) => {
                // Counted when the batch is durable: until then it may be decided again.
                self.ignored += u64::from(!entry.postpone(&request.command, now));
                return Answer::Noted;
            }
            Err(rejection) => return Answer::Rejected(rejection),
        };
        for event in &events {
            entry.apply(event, request.lane, now);
            decision.append(order, entry.account.version, event);
            self.postings.extend(postings(event).into_iter().map(|posting| (posting, now)));
        }
        match (&request.command, entry.account.payment.clone()) {
            (Command::Pay { .. }, Some(payment)) => {
                let version = entry.account.version;
                self.keep(request, version);
                Answer::Began(Box::new(payment), now)
            }
            _ => Answer::Noted,
        }
    }

    /// What the next user of a key is told; nothing for the first.
    fn again(&self, request: &Request) -> Option<Answer> {
        let key = request.key.as_ref()?;
        let used = self.keys.get(&(request.order, key.text.clone()))?;
        let same = used.request_hash == key.request_hash;
        Some(if same { Answer::Replayed(used.version) } else { Answer::KeyReused })
    }

    fn keep(&mut self, request: &Request, version: i32) {
        if let Some(key) = &request.key {
            let used = Used { request_hash: key.request_hash.to_vec(), version, now: Some(self.now) };
            self.keys.insert((request.order, key.text.clone()), used);
        }
    }
}

#[cfg(test)]
mod tests;
