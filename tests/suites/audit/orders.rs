//! An order of every kind, each settled, in a system that is stopped.

use std::time::Duration;

use anyhow::ensure;
use ordersystem::audit::{AuditSettings, Output, PATIENCE_SECONDS, Report};
use ordersystem::location::Location;
use serde_json::json;
use tests::eventually;
use tests::postgres::TestDatabase;
use tests::shop::{Shop, id, order};
use tests::system::{Service, Setup, System, Transport};
use tokio::sync::OnceCell;

/// How long the system may take to come to rest, in seconds: more than an order may wait for its payment.
const REST_SECONDS: u64 = 60;
/// How long it may take until a payment can begin, or has begun.
const STEP_DEADLINE: Duration = Duration::from_secs(30);
/// After this time an order that nobody pays expires. The others have to be paid before.
const PAYMENT_TIMEOUT: &str = "20s";
/// Lanes of the system: few, so that each has something in it.
const LANES: u16 = 3;

static ORDERS: OnceCell<Orders> = OnceCell::const_new();

/// The orders' ids.
#[derive(Debug)]
pub struct Orders {
    /// Two products, paid at once.
    pub confirmed: String,
    /// Paid, then cancelled: the money is back.
    pub refunded: String,
    /// Cancelled while the provider was thinking: it let the money go.
    pub voided: String,
    /// Its payment was declined for good.
    pub declined: String,
    /// Wanted more than there is.
    pub short: String,
    /// Paid from outside, at the second attempt.
    pub paid_late: String,
    /// Got other lines before it was paid.
    pub amended: String,
    /// Nobody paid.
    pub expired: String,
    /// Stopped.
    system: System,
}

impl Orders {
    /// How many there are.
    pub const COUNT: u64 = 8;

    /// The orders, placed and settled once for all tests.
    pub async fn get() -> anyhow::Result<&'static Self> {
        ORDERS.get_or_try_init(Self::settle).await
    }

    /// Their database, as it was when they were settled, for one test to do to it what it likes.
    pub async fn copy(&self) -> anyhow::Result<TestDatabase> {
        self.system.database().copy().await
    }

    async fn settle() -> anyhow::Result<Self> {
        let setup = Setup::from(Transport::Log).lanes(LANES).payment_timeout(PAYMENT_TIMEOUT);
        let system = System::up(setup).await?;
        let shop = system.shop();
        stock(&shop).await?;
        let (expired, confirmed, refunded, voided, declined, short, paid_late, amended) = tokio::try_join!(
            expired(&shop),
            confirmed(&shop),
            refunded(&shop),
            voided(&shop),
            declined(&shop),
            short(&shop),
            paid_late(&shop),
            amended(&shop),
        )?;
        let report = audit(system.database(), Expectation::RestSoon).await?;
        ensure!(report.holds, "{report}");
        system.process().terminate().await?;
        Ok(Self { confirmed, refunded, voided, declined, short, paid_late, amended, expired, system })
    }
}

/// What an audit expects of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing is stuck.
    NothingStuck,
    /// Everything is done.
    Rest,
    /// Everything is done after a while.
    RestSoon,
}

/// Audits the system in `database`.
pub async fn audit(database: &TestDatabase, expectation: Expectation) -> anyhow::Result<Report> {
    let settings = AuditSettings {
        location: Location::of(database.url()),
        settled: expectation == Expectation::Rest,
        patience: PATIENCE_SECONDS,
        wait: (expectation == Expectation::RestSoon).then_some(REST_SECONDS),
        output: Output::Text,
    };
    ordersystem::audit::run(settings).await
}

/// Puts three products on hand, and takes one unit away again.
pub async fn stock(shop: &Shop) -> anyhow::Result<()> {
    for (product, on_hand) in [("SKU-1", 100), ("SKU-2", 50), ("SKU-3", 10)] {
        shop.put_stock(product, on_hand).await?;
    }
    let taken = json!({"delta": -1, "reason": "broken", "reference": "R-1"});
    let adjustment = shop.to(Service::Inventory)?.post("/inventory/SKU-3/adjustments");
    adjustment.header("Idempotency-Key", "take-one").json(&taken).await?.expect(201)?;
    Ok(())
}

/// Places an order of `customer`, under an idempotency key of its own.
async fn place(shop: &Shop, customer: &str, lines: &[(&str, i64)], token: Option<&str>) -> anyhow::Result<String> {
    let mut order = order(lines, token);
    order["customerId"] = customer.into();
    let key = format!("order-of-{customer}");
    let placed = shop.to(Service::Order)?.post("/orders").header("Idempotency-Key", &key).json(&order).await?;
    id(&placed.expect(201)?.json()?)
}

async fn expired(shop: &Shop) -> anyhow::Result<String> {
    let order = place(shop, "ivy", &[("SKU-2", 1)], None).await?;
    shop.until_status(&order, "expired").await?;
    Ok(order)
}

async fn confirmed(shop: &Shop) -> anyhow::Result<String> {
    let order = place(shop, "ann", &[("SKU-1", 2), ("SKU-2", 1)], Some("tok_timeout_then_ok")).await?;
    shop.until_payment(&order, "captured").await?;
    Ok(order)
}

async fn refunded(shop: &Shop) -> anyhow::Result<String> {
    let order = place(shop, "cid", &[("SKU-1", 3)], Some("tok_ok")).await?;
    shop.until_payment(&order, "captured").await?;
    shop.cancel(&order).await?.expect(200)?;
    shop.until_payment(&order, "refunded").await?;
    Ok(order)
}

async fn voided(shop: &Shop) -> anyhow::Result<String> {
    let order = place(shop, "dan", &[("SKU-1", 1)], Some("tok_slow")).await?;
    let begun = async || {
        let payments = shop.payments(&order).await?;
        ensure!(!payments.is_empty(), "none has begun");
        Ok(())
    };
    eventually(STEP_DEADLINE, "a payment begins", begun).await?;
    shop.cancel(&order).await?.expect(200)?;
    shop.until_payment(&order, "voided").await?;
    Ok(order)
}

async fn declined(shop: &Shop) -> anyhow::Result<String> {
    let order = place(shop, "eve", &[("SKU-1", 1)], Some("tok_declined")).await?;
    shop.until_status(&order, "rejected").await?;
    Ok(order)
}

async fn short(shop: &Shop) -> anyhow::Result<String> {
    let order = place(shop, "fay", &[("SKU-2", 100)], Some("tok_ok")).await?;
    shop.until_status(&order, "rejected").await?;
    Ok(order)
}

async fn paid_late(shop: &Shop) -> anyhow::Result<String> {
    let order = place(shop, "gus", &[("SKU-3", 1)], None).await?;
    pay(shop, &order, "tok_insufficient_funds").await?;
    shop.until_payment(&order, "declined").await?;
    pay(shop, &order, "tok_ok").await?;
    shop.until_payment(&order, "captured").await?;
    Ok(order)
}

async fn amended(shop: &Shop) -> anyhow::Result<String> {
    let order = place(shop, "hal", &[("SKU-1", 1)], None).await?;
    shop.until_status(&order, "reserved").await?;
    shop.amend(&order, &[("SKU-1", 2), ("SKU-3", 1)]).await?.expect(200)?;
    shop.until_status(&order, "reserved").await?;
    pay(shop, &order, "tok_ok").await?;
    shop.until_payment(&order, "captured").await?;
    Ok(order)
}

/// Pays for an order as soon as payment has heard that it may be.
async fn pay(shop: &Shop, order: &str, token: &str) -> anyhow::Result<()> {
    let paid = async || shop.pay(order, token).await?.expect(201).map(drop);
    eventually(STEP_DEADLINE, "the order can be paid", paid).await
}
