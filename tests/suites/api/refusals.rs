//! What is refused: each with the right problem, and nothing happens. So these tests have a system of their own, use it
//! one after the other, and count its events.

#[path = "refusals/bodies.rs"]
mod bodies;
#[path = "refusals/conflicts.rs"]
mod conflicts;
#[path = "refusals/headers.rs"]
mod headers;
#[path = "refusals/targets.rs"]
mod targets;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::http::Call;
use tests::shop;
use tests::system::{System, Transport};
use tests::visit::Visit;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

static QUIET: OnceCell<System> = OnceCell::const_new();

static ALONE: Mutex<()> = Mutex::const_new(());

/// An order that nobody has placed.
const NO_ORDER: &str = "0197aaaa-0000-7000-8000-000000000000";

/// Every event of the system.
const EVENTS: &str = "SELECT (SELECT count(*) FROM orders.event) + (SELECT count(*) FROM inventory.event)
    + (SELECT count(*) FROM payments.event) + (SELECT count(*) FROM notifications.event)";

/// A visit to a system in which nothing happens that this test does not do.
struct Alone {
    shop: Visit,
    _alone: MutexGuard<'static, ()>,
}

impl Alone {
    async fn enter() -> anyhow::Result<Self> {
        let alone = ALONE.lock().await;
        let system = QUIET.get_or_try_init(|| System::up(Transport::Log)).await?;
        system.at_rest().await?;
        Ok(Self { shop: Visit::to(system).await, _alone: alone })
    }

    /// Sends each call, which has to be refused with this problem and to leave no trace; hands on the problems. The
    /// system has to be at rest.
    async fn refused<W>(
        &self,
        status: u16,
        slug: &str,
        calls: impl IntoIterator<Item = (W, Call)>,
    ) -> anyhow::Result<Vec<Value>>
    where
        W: std::fmt::Display,
    {
        let before = self.events().await?;
        let mut problems = Vec::new();
        for (what, call) in calls {
            let answer = call.await.with_context(|| what.to_string())?;
            problems.push(answer.problem(status, slug).with_context(|| what.to_string())?);
            let after = self.events().await?;
            ensure!(after == before, "{what}: {} events followed", after - before);
        }
        Ok(problems)
    }

    /// Like [`refused`](Self::refused) for bodies that break rules, each with the places that it is told of.
    async fn invalid<W>(&self, calls: impl IntoIterator<Item = (W, Call, Vec<&str>)>) -> anyhow::Result<()>
    where
        W: std::fmt::Display,
    {
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for (what, call, pointers) in calls {
            expected.push((what.to_string(), pointers));
            sent.push((what, call));
        }
        let problems = self.refused(422, "validation-failed", sent).await?;
        for (problem, (what, pointers)) in problems.iter().zip(expected) {
            let errors = problem["errors"].as_array().context("errors")?;
            let told: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap_or_default()).collect();
            ensure!(told == pointers, "{what}: {told:?} instead of {pointers:?}: {problem}");
            ensure!(errors.iter().all(|error| error["detail"].is_string()), "{what}: {problem}");
        }
        Ok(())
    }

    async fn events(&self) -> anyhow::Result<i64> {
        let database = self.shop.system.database().connect().await?;
        Ok(database.query_one(EVENTS, &[]).await?.try_get(0)?)
    }

    /// An order whose stock is held and that waits for payment.
    async fn reserved(&self, product: &str) -> anyhow::Result<String> {
        self.shop.put_stock(product, 10).await?;
        let order = self.shop.placed(&shop::order(&[(product, 2)], None)).await?;
        self.shop.until_status(&order, "reserved").await?;
        self.shop.system.at_rest().await?;
        Ok(order)
    }
}

/// A good order with one member changed: `null` takes it away.
fn order_but(member: &str, value: Value) -> Value {
    let mut order = shop::order(&[("cup", 1)], Some("tok_ok"));
    match value {
        Value::Null => drop(order.as_object_mut().map(|order| order.remove(member))),
        value => order[member] = value,
    }
    order
}

/// A good order whose only line has one member changed.
fn line_but(member: &str, value: Value) -> Value {
    let mut line = json!({"productId": "cup", "quantity": 1, "unitPrice": 250});
    line[member] = value;
    order_but("lines", json!([line]))
}
