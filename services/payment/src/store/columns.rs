//! What a batch writes, as columns: a statement for what is new in a table and one for what changed, whatever the batch
//! holds.

use chrono::{DateTime, Utc};
use journal::Query;

use super::Rows;
use super::entry::{Changed, Entry};
use crate::payment::{Account, Posting};

pub(super) const INSERT_ACCOUNTS: &str = "
    INSERT INTO account (order_id, version, closed, revision, amount, currency, welcome, token, payment_id)
    SELECT unnest($1::uuid[]), unnest($2::int4[]), unnest($3::bool[]), unnest($4::int4[]), unnest($5::int8[]),
        unnest($6::text[]), unnest($7::bool[]), unnest($8::text[]), unnest($9::uuid[])";

pub(super) const UPDATE_ACCOUNTS: &str = "
    UPDATE account a SET version = v.version, closed = v.closed, revision = v.revision, amount = v.amount,
        currency = v.currency, welcome = v.welcome, token = v.token, payment_id = v.payment_id
    FROM (SELECT unnest($1::uuid[]) AS order_id, unnest($2::int4[]) AS version, unnest($3::bool[]) AS closed,
        unnest($4::int4[]) AS revision, unnest($5::int8[]) AS amount, unnest($6::text[]) AS currency,
        unnest($7::bool[]) AS welcome, unnest($8::text[]) AS token, unnest($9::uuid[]) AS payment_id) AS v
    WHERE a.order_id = v.order_id";

/// An order's attempts come in their order, so that one is not live any more when the next is.
pub(super) const INSERT_PAYMENTS: &str = "
    INSERT INTO payment (id, status, live, open, decline_code, version, due_at, tries, updated_at, order_id, lane,
        attempt, revision, amount, currency, token, created_at)
    SELECT unnest($1::uuid[]), unnest($2::text[]), unnest($3::bool[]), unnest($4::bool[]), unnest($5::text[]),
        unnest($6::int4[]), unnest($7::timestamptz[]), unnest($8::int2[]), unnest($9::timestamptz[]),
        unnest($10::uuid[]), unnest($11::int2[]), unnest($12::int4[]), unnest($13::int4[]), unnest($14::int8[]),
        unnest($15::text[]), unnest($16::text[]), unnest($17::timestamptz[])";

pub(super) const UPDATE_PAYMENTS: &str = "
    UPDATE payment p SET status = v.status, live = v.live, open = v.open, decline_code = v.decline_code,
        version = v.version, due_at = v.due_at, tries = v.tries, updated_at = v.updated_at
    FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::text[]) AS status, unnest($3::bool[]) AS live,
        unnest($4::bool[]) AS open, unnest($5::text[]) AS decline_code, unnest($6::int4[]) AS version,
        unnest($7::timestamptz[]) AS due_at, unnest($8::int2[]) AS tries, unnest($9::timestamptz[]) AS updated_at) AS v
    WHERE p.id = v.id";

pub(super) const INSERT_POSTINGS: &str = "
    INSERT INTO ledger (payment_id, kind, account, currency, amount, at)
    SELECT unnest($1::uuid[]), unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::int8[]),
        unnest($6::timestamptz[])";

/// The statements that store what changed. An attempt that ended stops being live before the next one begins.
pub(super) fn write(rows: &Rows) -> Vec<Query> {
    let accounts = |is_new| accounts(rows, is_new);
    let payments = |is_new| payments(rows, is_new);
    let (new_accounts, changed_accounts) = (accounts(true), accounts(false));
    let (new_payments, changed_payments) = (payments(true), payments(false));
    let mut queries = Vec::new();
    queries.extend(some(&new_accounts, |new| account_columns(Query::new(INSERT_ACCOUNTS), new)));
    queries.extend(some(&changed_accounts, |changed| account_columns(Query::new(UPDATE_ACCOUNTS), changed)));
    queries.extend(some(&changed_payments, |changed| update_payments(changed, rows.now)));
    queries.extend(some(&new_payments, |new| insert_payments(new, rows.now)));
    queries.extend(some(&rows.postings, insert_postings));
    queries.extend(rows.keys.write());
    queries
}

/// The query, if there is something to write.
fn some<T>(rows: &[T], query: impl FnOnce(&[T]) -> Query) -> Option<Query> {
    (!rows.is_empty()).then(|| query(rows))
}

fn accounts(rows: &Rows, is_new: bool) -> Vec<&Account> {
    let changed = rows.entries.values().filter(|entry| entry.account_changed && entry.is_new == is_new);
    changed.map(|entry| &entry.account).collect()
}

fn account_columns(query: Query, accounts: &[&Account]) -> Query {
    query
        .bind_each(accounts, |account| account.order)
        .bind_each(accounts, |account| account.version)
        .bind_each(accounts, |account| account.closed)
        .bind_each(accounts, |account| Some(account.terms.as_ref()?.revision))
        .bind_each(accounts, |account| Some(account.terms.as_ref()?.amount))
        .bind_each(accounts, |account| Some(account.terms.as_ref()?.currency.to_string()))
        .bind_each(accounts, |account| Some(account.terms.as_ref()?.welcome))
        .bind_each(accounts, |account| account.terms.as_ref()?.token.clone())
        .bind_each(accounts, |account| Some(account.payment.as_ref()?.id))
}

fn payments(rows: &Rows, is_new: bool) -> Vec<Changed<'_>> {
    rows.entries.values().flat_map(Entry::changed_payments).filter(|changed| changed.is_new == is_new).collect()
}

fn update_payments(changed: &[Changed<'_>], now: DateTime<Utc>) -> Query {
    changing_columns(Query::new(UPDATE_PAYMENTS), changed, now)
}

fn insert_payments(new: &[Changed<'_>], now: DateTime<Utc>) -> Query {
    lasting_columns(changing_columns(Query::new(INSERT_PAYMENTS), new, now), new)
}

fn changing_columns(query: Query, payments: &[Changed<'_>], now: DateTime<Utc>) -> Query {
    query
        .bind_each(payments, |row| row.payment.id)
        .bind_each(payments, |row| row.payment.status.as_str())
        .bind_each(payments, |row| row.payment.status.is_live())
        .bind_each(payments, |row| row.payment.status.is_open())
        .bind_each(payments, |row| row.payment.decline_code.clone())
        .bind_each(payments, |row| row.work.version)
        .bind_each(payments, |row| row.work.due_at)
        .bind_each(payments, |row| row.work.tries)
        .bind_each(payments, |_| now)
}

fn lasting_columns(query: Query, payments: &[Changed<'_>]) -> Query {
    query
        .bind_each(payments, |row| row.order)
        .bind_each(payments, |row| row.work.lane.as_i16())
        .bind_each(payments, |row| row.payment.attempt)
        .bind_each(payments, |row| row.payment.revision)
        .bind_each(payments, |row| row.payment.amount)
        .bind_each(payments, |row| row.payment.currency.to_string())
        .bind_each(payments, |row| row.payment.token.clone())
        .bind_each(payments, |row| row.work.created_at)
}

fn insert_postings(postings: &[(Posting, DateTime<Utc>)]) -> Query {
    Query::new(INSERT_POSTINGS)
        .bind_each(postings, |(posting, _)| posting.payment)
        .bind_each(postings, |(posting, _)| posting.kind.as_str())
        .bind_each(postings, |(posting, _)| posting.account.as_str())
        .bind_each(postings, |(posting, _)| posting.currency.to_string())
        .bind_each(postings, |(posting, _)| posting.amount)
        .bind_each(postings, |(_, at)| *at)
}
