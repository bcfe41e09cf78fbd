//! A shop with an order of every kind, each settled, and its system stopped.

use std::time::Duration;

use anyhow::{Context, ensure};
use ordersystem::audit::{AuditSettings, Output, Report};
use serde_json::{Value, json};
use tests::http::Client;
use tests::postgres::TestDatabase;
use tests::program::Program;
use tests::{Folder, eventually};
use tokio::sync::OnceCell;

/// How long the system may take to be ready, in a debug build on a busy machine.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How long one step of an order may take.
const STEP_DEADLINE: Duration = Duration::from_secs(30);
/// How long the system may take to come to rest, in seconds.
const SETTLE_SECONDS: u64 = 60;
/// After this time an order that nobody pays expires. Everything else must be over before.
const PAYMENT_TIMEOUT: &str = "20s";

static SHOP: OnceCell<Shop> = OnceCell::const_new();

/// What became of the shop's orders. Each field is the id of an order.
#[derive(Debug)]
pub struct Shop {
    /// Its database. Nothing is connected to it.
    pub database: TestDatabase,
    /// Two products, paid at once.
    pub confirmed: String,
    /// Paid, then cancelled: the money is back.
    pub refunded: String,
    /// Cancelled while the provider was thinking: it let the money go.
    pub voided: String,
    /// Declined for good.
    pub declined: String,
    /// Wanted more than there is.
    pub short: String,
    /// Paid from outside, at the second attempt.
    pub paid_late: String,
    /// Got other lines before it was paid.
    pub amended: String,
    /// Nobody paid.
    pub expired: String,
}

impl Shop {
    /// The shop, opened and closed once for all tests.
    pub async fn get() -> anyhow::Result<&'static Self> {
        SHOP.get_or_try_init(Self::run).await
    }

    async fn run() -> anyhow::Result<Self> {
        let database = TestDatabase::create().await?;
        let mut system = System::start(database.url(), PAYMENT_TIMEOUT)?;
        let client = system.client().await?;
        stock(&client).await?;
        let (expired, confirmed, refunded, voided, declined, short, paid_late, amended) = tokio::try_join!(
            expired(&client),
            confirmed(&client),
            refunded(&client),
            voided(&client),
            ends(&client, "eve", "SKU-1", 1, Some("tok_declined"), "rejected"),
            ends(&client, "fay", "SKU-2", 100, Some("tok_ok"), "rejected"),
            paid_late(&client),
            amended(&client),
        )?;
        let report = audit(database.url(), Expectation::SettledSoon).await?;
        ensure!(report.holds, "{report}");
        system.stop().await?;
        Ok(Self { database, confirmed, refunded, voided, declined, short, paid_late, amended, expired })
    }
}

/// A system with three lanes, and the folder of its manifest.
pub struct System {
    program: Program,
    _manifest: Folder,
}

impl System {
    /// Starts a system on `database`, whose orders expire after `payment_timeout`.
    pub fn start(database: &str, payment_timeout: &str) -> anyhow::Result<Self> {
        let manifest = Folder::new("manifest")?;
        let file = manifest.path().join("shop.yaml");
        let resource = json!({
            "apiVersion": "ordersystem.dev/v1alpha1",
            "kind": "OrderSystem",
            "metadata": {"name": "shop"},
            "spec": {"lanes": 3, "orders": {"paymentTimeout": payment_timeout}},
        });
        std::fs::write(&file, resource.to_string())?;
        let program = Program::start("up", |command| {
            command.args(["--listen", "127.0.0.1:0", "--database", database]).arg("--file").arg(&file)
        })?;
        Ok(Self { program, _manifest: manifest })
    }

    /// A client of it, as soon as it is ready.
    pub async fn client(&mut self) -> anyhow::Result<Client> {
        client(&mut self.program).await
    }

    /// Stops it in good order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        ensure!(self.program.terminate().await?.success(), "it did not stop in good order");
        Ok(())
    }
}

/// A client of an `ordersystem up`, as soon as that is ready.
pub async fn client(up: &mut Program) -> anyhow::Result<Client> {
    let line = up.says("ordersystem is ready: ", READY_DEADLINE).await?;
    let address = line.split_whitespace().find(|word| word.starts_with("http://"));
    Ok(Client::new(address.context("the ready line names an address")?))
}

/// Audits the system in `database`.
pub async fn audit(database: &str, expectation: Expectation) -> anyhow::Result<Report> {
    let settings = AuditSettings {
        database: Some(database.to_owned()),
        database_ca_file: None,
        data: None,
        settled: expectation == Expectation::Settled,
        wait: (expectation == Expectation::SettledSoon).then_some(SETTLE_SECONDS),
        output: Output::Text,
    };
    ordersystem::audit::run(settings).await
}

/// What an audit expects of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing is stuck.
    Running,
    /// Everything is done.
    Settled,
    /// Everything is done after a while.
    SettledSoon,
}

/// Puts three products on hand, and takes one unit away again.
pub async fn stock(client: &Client) -> anyhow::Result<()> {
    for (product, on_hand) in [("SKU-1", 100), ("SKU-2", 50), ("SKU-3", 10)] {
        client.put(&format!("/inventory/{product}")).json(&json!({"onHand": on_hand})).await?.expect(201)?;
    }
    let taken = json!({"delta": -1, "reason": "broken", "reference": "R-1"});
    let call = client.post("/inventory/SKU-3/adjustments").header("Idempotency-Key", "take-one");
    call.json(&taken).await?.expect(201)?;
    Ok(())
}

/// Places an order of `lines`, each a product, a quantity and a price; hands on its id.
pub async fn place(
    client: &Client,
    customer: &str,
    lines: &[(&str, i64, i64)],
    token: Option<&str>,
) -> anyhow::Result<String> {
    let mut order = json!({"customerId": customer, "currency": "EUR", "lines": told(lines)});
    if let Some(token) = token {
        order["payment"] = json!({"token": token});
    }
    let call = client.post("/orders").header("Idempotency-Key", &format!("order-of-{customer}"));
    let answer = call.json(&order).await?.expect(201)?.json()?;
    Ok(answer["id"].as_str().context("an order has an id")?.to_owned())
}

fn told(lines: &[(&str, i64, i64)]) -> Vec<Value> {
    let line = |(product, quantity, price): &(&str, i64, i64)| json!({"productId": product, "quantity": quantity, "unitPrice": price});
    lines.iter().map(line).collect()
}

/// Waits until an order's `field` is `value`; hands on the order.
async fn becomes(client: &Client, order: &str, field: &str, value: &str) -> anyhow::Result<Value> {
    let what = format!("{field} of order {order} is {value}");
    eventually(STEP_DEADLINE, &what, async || {
        let order = client.get(&format!("/orders/{order}")).await?.expect(200)?.json()?;
        ensure!(order[field] == value, "{order}");
        Ok(order)
    })
    .await
}

/// Waits until the latest payment of an order is in `status`.
async fn payment_becomes(client: &Client, order: &str, status: &str) -> anyhow::Result<()> {
    let what = format!("a payment of order {order} is {status}");
    eventually(STEP_DEADLINE, &what, async || {
        let payments = client.get(&format!("/payments?orderId={order}")).await?.expect(200)?.text();
        ensure!(payments.contains(&format!("\"{status}\"")), "{payments}");
        Ok(())
    })
    .await
}

async fn ends(
    client: &Client,
    customer: &str,
    product: &str,
    quantity: i64,
    token: Option<&str>,
    status: &str,
) -> anyhow::Result<String> {
    let order = place(client, customer, &[(product, quantity, 100)], token).await?;
    becomes(client, &order, "status", status).await?;
    Ok(order)
}

async fn expired(client: &Client) -> anyhow::Result<String> {
    ends(client, "ivy", "SKU-2", 1, None, "expired").await
}

async fn confirmed(client: &Client) -> anyhow::Result<String> {
    let order = place(client, "ann", &[("SKU-1", 2, 150), ("SKU-2", 1, 200)], Some("tok_timeout_then_ok")).await?;
    becomes(client, &order, "paymentStatus", "captured").await?;
    Ok(order)
}

async fn refunded(client: &Client) -> anyhow::Result<String> {
    let order = place(client, "cid", &[("SKU-1", 3, 100)], Some("tok_ok")).await?;
    becomes(client, &order, "paymentStatus", "captured").await?;
    cancel(client, &order).await?;
    becomes(client, &order, "paymentStatus", "refunded").await?;
    Ok(order)
}

async fn voided(client: &Client) -> anyhow::Result<String> {
    let order = place(client, "dan", &[("SKU-1", 1, 100)], Some("tok_slow")).await?;
    becomes(client, &order, "status", "reserved").await?;
    payment_becomes(client, &order, "authorizing").await?;
    cancel(client, &order).await?;
    becomes(client, &order, "paymentStatus", "voided").await?;
    Ok(order)
}

async fn paid_late(client: &Client) -> anyhow::Result<String> {
    let order = ends(client, "gus", "SKU-3", 1, None, "reserved").await?;
    pay(client, &order, "tok_insufficient_funds").await?;
    becomes(client, &order, "paymentStatus", "declined").await?;
    pay(client, &order, "tok_ok").await?;
    becomes(client, &order, "paymentStatus", "captured").await?;
    Ok(order)
}

async fn amended(client: &Client) -> anyhow::Result<String> {
    let order = ends(client, "hal", "SKU-1", 1, None, "reserved").await?;
    let lines = json!({"lines": told(&[("SKU-1", 2, 100), ("SKU-3", 1, 50)])});
    client.put(&format!("/orders/{order}")).header("If-Match", "*").json(&lines).await?.expect(200)?;
    becomes(client, &order, "status", "reserved").await?;
    pay(client, &order, "tok_ok").await?;
    becomes(client, &order, "paymentStatus", "captured").await?;
    Ok(order)
}

async fn cancel(client: &Client, order: &str) -> anyhow::Result<()> {
    client.post(&format!("/orders/{order}/cancel")).json(&json!({"reason": "changed my mind"})).await?.expect(200)?;
    Ok(())
}

/// Pays an order as soon as payment has heard that it may be.
async fn pay(client: &Client, order: &str, token: &str) -> anyhow::Result<()> {
    let payment = json!({"orderId": order, "token": token});
    eventually(STEP_DEADLINE, &format!("order {order} can be paid"), async || {
        client.post("/payments").json(&payment).await?.expect(201)?;
        Ok(())
    })
    .await
}
