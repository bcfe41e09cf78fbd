//! Rows, read.

use contract::{Currency, Lane};
use journal::{Cells, UnreadableRow};
use tokio_postgres::Row;
use uuid::Uuid;

use super::entry::{Entry, Work};
use crate::payment::{Account, Payment, Posting, Terms};

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
    let id = cells.take()?;
    let payment = read_attempt(id, &mut cells)?;
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
        kind: cells.take_named()?,
        account: cells.take_named()?,
        currency: cells.take_named()?,
        amount: cells.take()?,
    })
}

/// An account and what its latest attempt's row holds beside the attempt, from the columns of [`entry_columns`].
pub(crate) fn read_entry(row: &Row) -> Result<Entry, UnreadableRow> {
    let mut cells = Cells::of("payments.account", row);
    let (order, version, closed) = (cells.take()?, cells.take()?, cells.take()?);
    let terms = read_terms(&mut cells)?;
    let attempt: Option<Uuid> = cells.take()?;
    let payment = attempt.map(|id| read_attempt(id, &mut cells)).transpose()?;
    let work = payment.is_some().then(|| read_work(&mut cells)).transpose()?;
    Ok(Entry::stored(Account { order, version, terms, closed, payment }, work))
}

fn read_terms(cells: &mut Cells<'_>) -> Result<Option<Terms>, UnreadableRow> {
    let (revision, amount): (Option<i32>, Option<i64>) = (cells.take()?, cells.take()?);
    let (currency, welcome): (Option<&str>, Option<bool>) = (cells.take()?, cells.take()?);
    let token = cells.take()?;
    let Some(((revision, amount), (currency, welcome))) = revision.zip(amount).zip(currency.zip(welcome)) else {
        return Ok(None);
    };
    let currency = Currency::try_from(currency).map_err(|error| cells.unreadable(error))?;
    Ok(Some(Terms { revision, amount, currency, welcome, token }))
}

/// The attempt `id`, from the columns behind its id.
fn read_attempt(id: Uuid, cells: &mut Cells<'_>) -> Result<Payment, UnreadableRow> {
    Ok(Payment {
        id,
        attempt: cells.take()?,
        revision: cells.take()?,
        status: cells.take_named()?,
        amount: cells.take()?,
        currency: cells.take_named()?,
        token: cells.take()?,
        decline_code: cells.take()?,
    })
}

fn read_work(cells: &mut Cells<'_>) -> Result<Work, UnreadableRow> {
    let lane: i16 = cells.take()?;
    Ok(Work {
        lane: Lane(u16::try_from(lane).map_err(|error| cells.unreadable(error))?),
        version: cells.take()?,
        due_at: cells.take()?,
        tries: cells.take()?,
        created_at: cells.take()?,
    })
}
