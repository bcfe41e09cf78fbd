//! How each table is read: in which order, and as what. What a row means, its own service says.

use contract::ProductId;
use contract::event::UnreadableData;
use contract::notice::NoticeEvent;
use contract::order::OrderEvent;
use contract::payment::PaymentEvent;
use contract::stock::StockEvent;
use inventory::stock::{Balance, Hold};
use inventory::view::{MOVEMENTS, Movement};
use journal::EVENT_COLUMNS;
use notification::notice::Notice;
use order::order::Order;
use order::view::ViewRow;
use payment::gateway::simulated::{self, Charge};
use payment::payment::{Account, Payment, Posting};
use tokio_postgres::Row;
use uuid::Uuid;

use super::dossier::Told;
use super::shelf::Illegible;

/// An order's row, as far as it tells a process what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duty {
    /// The lane whose owner looks after it.
    pub lane: i16,
    /// Whether its deadline is looked after.
    pub open: bool,
}

/// An idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it is good for.
    pub scope: String,
    /// The caller's text.
    pub text: String,
    /// The number of the event that came of it, in its stream.
    pub version: i32,
}

/// What an order's row says of the work to be done.
pub(super) const DUTIES: &str = "SELECT id, lane, open FROM orders ORDER BY id";

/// The idempotency keys, by what came of them.
pub(super) const KEYS: &str = "SELECT stream_id, scope, key, version FROM idempotency ORDER BY stream_id";

type Legible<T> = Result<(Uuid, T), Illegible>;

/// Every stream of a journal.
pub(super) fn streams() -> String {
    format!("SELECT {EVENT_COLUMNS} FROM event e ORDER BY stream_id, version")
}

/// The streams that are about an order itself.
pub(super) fn streams_of_orders() -> String {
    format!("SELECT {EVENT_COLUMNS} FROM event e WHERE subject IS NULL ORDER BY stream_id, version")
}

/// The streams that are about something else.
pub(super) fn streams_of_products() -> String {
    format!("SELECT {EVENT_COLUMNS} FROM event e WHERE subject IS NOT NULL ORDER BY stream_id, version")
}

/// The streams that are about an order without being its own. The text of an id sorts as the id does.
pub(super) fn streams_by_subject() -> String {
    format!("SELECT {EVENT_COLUMNS} FROM event e ORDER BY subject COLLATE \"C\", stream_id, version")
}

pub(super) fn orders() -> String {
    format!("{} ORDER BY id", order::store::ROWS)
}

pub(super) fn listed_orders() -> String {
    format!("{} ORDER BY id", order::view::ROWS)
}

pub(super) fn holds() -> String {
    format!("{} ORDER BY order_id", inventory::store::HOLDS)
}

pub(super) fn stock() -> String {
    format!("{} ORDER BY product_id", inventory::store::STOCK)
}

/// The movements that an order caused.
pub(super) fn movements_of_orders() -> String {
    format!("{MOVEMENTS} WHERE order_id IS NOT NULL ORDER BY order_id, product_id, version")
}

/// The movements that a person caused.
pub(super) fn movements_of_people() -> String {
    format!("{MOVEMENTS} WHERE order_id IS NULL ORDER BY product_id, version")
}

/// The ledger, by the order that its attempts pay; a line without an attempt, by the attempt that it names.
pub(super) fn postings() -> String {
    format!(
        "SELECT l.*, coalesce(p.order_id, l.payment_id) AS owner FROM ({}) l LEFT JOIN payment p ON p.id = l.payment_id
         ORDER BY owner, l.payment_id, l.kind, l.account",
        payment::store::LEDGER
    )
}

/// The provider's own list, by the order that it is about; what belongs to no attempt, by its key.
pub(super) fn charges() -> String {
    format!(
        "SELECT c.*, coalesce(p.order_id, c.key) AS owner FROM ({}) c
         LEFT JOIN {}.payment p ON p.id = c.key ORDER BY owner, c.key",
        simulated::CHARGES,
        payment::SCHEMA
    )
}

pub(super) fn notices() -> String {
    format!("{} ORDER BY order_id, id", notification::store::ROWS)
}

pub(super) fn order_event(row: &Row) -> Legible<Told<OrderEvent>> {
    Ok(by_stream(told(row, OrderEvent::decode)?))
}

pub(super) fn stock_event(row: &Row) -> Legible<Told<StockEvent>> {
    Ok(by_stream(told(row, StockEvent::decode)?))
}

pub(super) fn payment_event(row: &Row) -> Legible<Told<PaymentEvent>> {
    Ok(by_stream(told(row, PaymentEvent::decode)?))
}

pub(super) fn notice_event(row: &Row) -> Legible<Told<NoticeEvent>> {
    let told = told(row, NoticeEvent::decode)?;
    let subject = told.record.subject.as_deref().unwrap_or_default();
    match Uuid::try_parse(subject) {
        Ok(order) => Ok((order, told)),
        Err(_) => Err(Illegible(format!("event {}: its subject, {subject:?}, is no order", told.record.id))),
    }
}

pub(super) fn order(row: &Row) -> Legible<Order> {
    let order = order::store::read_row(row)?;
    Ok((order.shown.id, order))
}

pub(super) fn listed_order(row: &Row) -> Legible<ViewRow> {
    let listed = order::view::read_row(row)?;
    Ok((listed.shown.id, listed))
}

pub(super) fn duty(row: &Row) -> Legible<Duty> {
    Ok((row.try_get(0)?, Duty { lane: row.try_get(1)?, open: row.try_get(2)? }))
}

pub(super) fn hold(row: &Row) -> Legible<Hold> {
    Ok(inventory::store::read_hold(row)?)
}

pub(super) fn balance(row: &Row) -> Result<(ProductId, Balance), Illegible> {
    Ok(inventory::store::read_stock(row)?)
}

pub(super) fn movement(row: &Row) -> Legible<Movement> {
    let movement = inventory::view::read(row)?;
    Ok((movement.order.unwrap_or_default(), movement))
}

pub(super) fn account(row: &Row) -> Legible<Account> {
    let account = payment::store::read_account(row)?;
    Ok((account.order, account))
}

pub(super) fn attempt(row: &Row) -> Legible<Payment> {
    Ok(payment::store::read_payment(row)?)
}

pub(super) fn posting(row: &Row) -> Legible<Posting> {
    Ok((row.try_get("owner")?, payment::store::read_posting(row)?))
}

pub(super) fn charge(row: &Row) -> Legible<Charge> {
    Ok((row.try_get("owner")?, simulated::read_charge(row)?))
}

pub(super) fn notice(row: &Row) -> Legible<Notice> {
    let notice = notification::store::read_row(row)?;
    Ok((notice.order_id, notice))
}

pub(super) fn key(row: &Row) -> Legible<Key> {
    Ok((row.try_get(0)?, Key { scope: row.try_get(1)?, text: row.try_get(2)?, version: row.try_get(3)? }))
}

fn by_stream<E>(told: Told<E>) -> (Uuid, Told<E>) {
    (told.record.stream, told)
}

fn told<E>(row: &Row, decode: fn(&str, &[u8]) -> Result<Option<E>, UnreadableData>) -> Result<Told<E>, Illegible> {
    let record = journal::record_from_row(row)?;
    match decode(&record.kind, &record.data) {
        Ok(Some(event)) => Ok(Told { record, event }),
        Ok(None) => Err(Illegible(format!("event {}: its kind, {}, is not known", record.id, record.kind))),
        Err(error) => Err(Illegible(format!("event {}: {error}", record.id))),
    }
}
