//! Payment.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contract::{Lane, Record, Topic};
use journal::{Decision, Unreadable};
use payment::payment::{Account, Call, CallError, Command, Kind, LedgerAccount, Outcome, Payment, Posting};
use payment::store::{Answer, Entry, Request, Rows, Work};
use uuid::Uuid;

use super::{KeyTable, Part};

/// Payment.
pub struct Payments;

/// Its tables.
#[derive(Default)]
pub struct Tables {
    /// The accounts, each with what its latest attempt's row holds beside the attempt.
    pub accounts: BTreeMap<Uuid, (Account, Option<Work>)>,
    /// Every attempt, and its order.
    pub attempts: BTreeMap<Uuid, (Uuid, Payment)>,
    /// The ledger.
    pub ledger: BTreeMap<(Uuid, Kind, LedgerAccount), Posting>,
    /// The keys under which payments were begun.
    pub keys: KeyTable,
}

impl Part for Payments {
    const TOPIC: Topic = Topic::Payments;
    const SCHEMA: &'static str = payment::SCHEMA;
    const SOURCES: &'static [Topic] = payment::OPENING.consumes;
    const PASSES: &'static [&'static str] = payment::OPENING.passes;
    type Command = Request;
    type Answer = Answer;
    type Rows = Rows;
    type Tables = Tables;

    fn read(_: Topic, record: &Record) -> Result<Option<Request>, Unreadable> {
        payment::messages::read(record)
    }

    fn load(tables: &Tables, requests: &[&Request]) -> Rows {
        let accounts = requests.iter().filter_map(|request| tables.accounts.get(&request.order));
        let entries = accounts.map(|(account, work)| Entry::stored(account.clone(), work.clone()));
        Rows::of(entries, tables.keys.load(requests.iter().filter_map(|request| request.key.as_ref())))
    }

    fn decide(&self, rows: &mut Rows, request: &Request, decision: &mut Decision<'_>) -> Answer {
        rows.settle(request, decision)
    }

    fn store(tables: &mut Tables, rows: &Rows) -> Result<(), String> {
        for entry in rows.entries().filter(|entry| entry.account.version > 0) {
            let order = entry.account.order;
            tables.accounts.insert(order, (entry.account.clone(), entry.work().cloned()));
            for changed in entry.changed_payments() {
                tables.attempts.insert(changed.payment.id, (order, changed.payment.clone()));
            }
            let of_order = tables.attempts.values().filter(|(of, _)| *of == order);
            if of_order.filter(|(_, payment)| payment.status.is_live()).count() > 1 {
                return Err(format!("order {order} has several live attempts"));
            }
        }
        for posting in rows.postings() {
            if tables.ledger.insert((posting.payment, posting.kind, posting.account), *posting).is_some() {
                return Err(format!("{posting:?} is there already"));
            }
        }
        tables.keys.store(rows.keys())
    }

    fn calls(rows: Rows) -> Vec<Call> {
        rows.calls().map(|(call, _)| call).collect()
    }

    fn open_calls(tables: &Tables, lanes: &[Lane], by: Option<DateTime<Utc>>) -> Vec<Call> {
        let open = tables.accounts.values().filter(|(_, work)| {
            work.as_ref().is_some_and(|work| lanes.contains(&work.lane) && by.is_none_or(|by| work.due_at <= by))
        });
        open.filter_map(|(account, _)| account.next_call()).collect()
    }

    fn answer(lane: Lane, call: &Call, result: Result<Outcome, CallError>) -> Option<Request> {
        Some(Request::of(lane, call.order, Command::Answer { payment: call.key, step: call.step, result }))
    }
}
