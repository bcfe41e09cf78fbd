//! Rows, read.

use contract::{Currency, Lane};
use journal::UnreadableRow;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::Used;
use super::entry::{Entry, Work};
use crate::payment::{Account, Kind, LedgerAccount, Payment, Posting, Status, Terms};

/// The columns that hold an account and its latest attempt, in the order in which [`read_entry`] takes them.
macro_rules! entry_columns {
    () => {
        "a.order_id, greatest(a.version, p.version), a.closed, a.revision, a.amount, a.currency, a.welcome, a.token, \
         p.id, p.attempt, p.revision, p.status, p.amount, p.currency, p.token, p.decline_code, \
         p.lane, p.version, p.due_at, p.tries, p.created_at"
    };
}
pub(super) use entry_columns;

/// The accounts that a batch changes. The lock of their lane covers them.
pub(super) const LOAD: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM account a LEFT JOIN payment p ON p.id = a.payment_id WHERE a.order_id = ANY ($1)"
);

/// The idempotency keys of a batch. The lock of their order's lane covers them.
pub(super) const LOAD_KEYS: &str = "
    SELECT k.stream_id, k.key, k.request_hash, k.version
    FROM unnest($1::text[], $2::text[]) AS wanted (scope, key) JOIN idempotency k USING (scope, key)";

/// Every account with its latest attempt, by order; to be read by [`read_account`].
pub const ACCOUNTS: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM account a LEFT JOIN payment p ON p.id = a.payment_id ORDER BY a.order_id"
);

/// Every attempt, by order and attempt; to be read by [`read_payment`].
pub const PAYMENTS: &str = "
    SELECT order_id, live, open, id, attempt, revision, status, amount, currency, token, decline_code FROM payment
    ORDER BY order_id, attempt";

/// Every line of the ledger, by attempt; to be read by [`read_posting`].
pub const LEDGER: &str =
    "SELECT payment_id, kind, account, currency, amount FROM ledger ORDER BY payment_id, kind, account";

/// The account that a row of [`ACCOUNTS`] holds.
pub fn read_account(row: &Row) -> Result<Account, UnreadableRow> {
    Ok(read_entry(row)?.account)
}

/// The attempt that a row of [`PAYMENTS`] holds, and its order.
pub fn read_payment(row: &Row) -> Result<(Uuid, Payment), UnreadableRow> {
    let mut cells = Cells::of("payments.payment", row);
    let (order, live, open): (Uuid, bool, bool) = (cells.take()?, cells.take()?, cells.take()?);
    let payment = cells.take_payment()?;
    if (live, open) == (payment.status.is_live(), payment.status.is_open()) {
        Ok((order, payment))
    } else {
        let status = payment.status.as_str();
        Err(cells.unreadable(format_args!("{} is {status}, but live is {live} and open {open}", payment.id)))
    }
}

/// The line that a row of [`LEDGER`] holds.
pub fn read_posting(row: &Row) -> Result<Posting, UnreadableRow> {
    let mut cells = Cells::of("payments.ledger", row);
    Ok(Posting {
        payment: cells.take()?,
        kind: cells.take_named(Kind::named)?,
        account: cells.take_named(LedgerAccount::named)?,
        currency: cells.take_currency()?,
        amount: cells.take()?,
    })
}

/// An account and what its latest attempt's row holds beside the attempt, from the columns of [`entry_columns`].
pub(crate) fn read_entry(row: &Row) -> Result<Entry, UnreadableRow> {
    let mut cells = Cells::of("payments.account", row);
    let (order, version, closed) = (cells.take()?, cells.take()?, cells.take()?);
    let terms = cells.take_terms()?;
    let begun = cells.peek::<Option<Uuid>>()?.is_some();
    let payment = if begun { Some(cells.take_payment()?) } else { None };
    let work = if begun { Some(cells.take_work()?) } else { None };
    Ok(Entry::stored(Account { order, version, terms, closed, payment }, work))
}

/// A key that a row of [`LOAD_KEYS`] holds, with its order, and what it was used for.
pub(super) fn read_key(row: &Row) -> Result<((Uuid, Box<str>), Used), UnreadableRow> {
    let mut cells = Cells::of("payments.idempotency", row);
    let (order, key): (Uuid, &str) = (cells.take()?, cells.take()?);
    Ok(((order, key.into()), Used { request_hash: cells.take()?, version: cells.take()?, now: None }))
}

/// A row's cells, taken one after the other.
pub(crate) struct Cells<'r> {
    table: &'static str,
    row: &'r Row,
    next: usize,
}

impl<'r> Cells<'r> {
    /// The cells of a row of `table`.
    pub fn of(table: &'static str, row: &'r Row) -> Self {
        Self { table, row, next: 0 }
    }

    /// The next cell.
    pub fn take<T: FromSql<'r>>(&mut self) -> Result<T, UnreadableRow> {
        let cell = self.peek();
        self.next += 1;
        cell
    }

    /// The next cell, whose text is the name of something.
    pub fn take_named<T>(&mut self, named: fn(&str) -> Option<T>) -> Result<T, UnreadableRow> {
        let name: &str = self.take()?;
        named(name).ok_or_else(|| self.unreadable(format_args!("{name} is not known")))
    }

    /// The next cell, a currency.
    pub fn take_currency(&mut self) -> Result<Currency, UnreadableRow> {
        let code: &str = self.take()?;
        Currency::try_from(code).map_err(|error| self.unreadable(error))
    }

    /// The next cell, as the JSON that it is.
    pub fn take_raw(&mut self) -> Result<Box<RawValue>, UnreadableRow> {
        let json = String::from_utf8(self.take()?).map_err(|error| self.unreadable(error))?;
        RawValue::from_string(json).map_err(|error| self.unreadable(error))
    }

    fn take_terms(&mut self) -> Result<Option<Terms>, UnreadableRow> {
        let (revision, amount): (Option<i32>, Option<i64>) = (self.take()?, self.take()?);
        let (currency, welcome): (Option<&str>, Option<bool>) = (self.take()?, self.take()?);
        let token = self.take()?;
        let Some(((revision, amount), (currency, welcome))) = revision.zip(amount).zip(currency.zip(welcome)) else {
            return Ok(None);
        };
        let currency = Currency::try_from(currency).map_err(|error| self.unreadable(error))?;
        Ok(Some(Terms { revision, amount, currency, welcome, token }))
    }

    fn take_payment(&mut self) -> Result<Payment, UnreadableRow> {
        Ok(Payment {
            id: self.take()?,
            attempt: self.take()?,
            revision: self.take()?,
            status: self.take_named(Status::named)?,
            amount: self.take()?,
            currency: self.take_currency()?,
            token: self.take()?,
            decline_code: self.take()?,
        })
    }

    fn take_work(&mut self) -> Result<Work, UnreadableRow> {
        let lane: i16 = self.take()?;
        Ok(Work {
            lane: Lane(u16::try_from(lane).map_err(|error| self.unreadable(error))?),
            version: self.take()?,
            due_at: self.take()?,
            tries: self.take()?,
            created_at: self.take()?,
        })
    }

    fn peek<T: FromSql<'r>>(&self) -> Result<T, UnreadableRow> {
        self.row.try_get(self.next).map_err(|error| self.unreadable(error))
    }

    fn unreadable(&self, reason: impl std::fmt::Display) -> UnreadableRow {
        UnreadableRow { table: self.table, reason: reason.to_string() }
    }
}
