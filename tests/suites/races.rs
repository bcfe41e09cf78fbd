//! Races, each as its own test: whatever overtakes whatever, an order ends in one state, no unit is sold twice, and money
//! is taken once or given back.

#[path = "races/amend.rs"]
mod amend;
#[path = "races/cancel.rs"]
mod cancel;
#[path = "races/crash.rs"]
mod crash;
#[path = "races/deadline.rs"]
mod deadline;
#[path = "races/payment.rs"]
mod payment;
#[path = "races/repeat.rs"]
mod repeat;
#[path = "races/stock.rs"]
mod stock;

use futures_util::future::try_join_all;
use tests::http::{Answer, Call};
use tests::system::{System, Transport};
use tests::visit::Visit;
use tokio::sync::OnceCell;
use uuid::Uuid;

static SHARED: OnceCell<System> = OnceCell::const_new();

/// The system that all races share but those that need other settings or end its process.
async fn visit() -> anyhow::Result<Visit> {
    let system = SHARED.get_or_try_init(|| System::up(Transport::Log)).await?;
    Ok(Visit::to(system).await)
}

/// Sends all of `calls` before it waits for the first answer.
async fn at_once(calls: impl IntoIterator<Item = Call>) -> anyhow::Result<Vec<Answer>> {
    try_join_all(calls.into_iter().map(Call::into_future)).await
}

/// How many of `answers` have this status.
fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// What the payment provider knows of an order, by attempt: the charge's status, and what was taken and given back.
async fn charges(system: &System, order: &str) -> anyhow::Result<Vec<(String, i64, i64)>> {
    const CHARGES: &str = "
        SELECT charge.status, captured, refunded
        FROM provider.charge JOIN payments.payment ON payment.id = charge.key
        WHERE order_id = $1 ORDER BY attempt";
    let rows = system.database().connect().await?.query(CHARGES, &[&order.parse::<Uuid>()?]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

/// What the ledger says that an order has brought in.
async fn takings(system: &System, order: &str) -> anyhow::Result<i64> {
    const TAKINGS: &str = "
        SELECT coalesce(-sum(ledger.amount), 0)::int8
        FROM payments.ledger JOIN payments.payment ON payment.id = ledger.payment_id
        WHERE account = 'sales' AND order_id = $1";
    let row = system.database().connect().await?.query_one(TAKINGS, &[&order.parse::<Uuid>()?]).await?;
    Ok(row.try_get(0)?)
}

/// A charge as [`charges`] tells it.
fn charge(status: &str, captured: i64, refunded: i64) -> (String, i64, i64) {
    (status.to_owned(), captured, refunded)
}
