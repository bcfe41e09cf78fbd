//! A shop's back end: what it asks of an order system, and what it waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::eventually;
use crate::http::{Answer, Client};
use crate::system::{Door, Service};

/// How long an order may take to be settled, on a machine that runs other tests and after a process was killed.
pub const SETTLE_DEADLINE: Duration = Duration::from_secs(45);

/// States that an order does not leave by itself.
const SETTLED: [&str; 4] = ["confirmed", "rejected", "cancelled", "expired"];

/// Speaks to the replicas of each service in turn, those that are down left out. Cheap to clone, so that a load can go
/// on while a test mistreats the system; belongs to the test that asked for it.
#[derive(Clone, Debug)]
pub struct Shop {
    doors: Arc<[Vec<Arc<Door>>; 4]>,
    turn: Arc<AtomicUsize>,
    connections: Client,
}

/// An order for `lines` (product, quantity) at 250 a piece, paid with `token` if there is one.
pub fn order(lines: &[(&str, i64)], token: Option<&str>) -> Value {
    let line =
        |(product, quantity): &(&str, i64)| json!({"productId": product, "quantity": quantity, "unitPrice": 250});
    let mut order = json!({
        "customerId": "ann",
        "currency": "EUR",
        "lines": lines.iter().map(line).collect::<Vec<_>>(),
    });
    if let Some(token) = token {
        order["payment"] = json!({"token": token});
    }
    order
}

impl Shop {
    pub(crate) fn new(doors: [Vec<Arc<Door>>; 4]) -> Self {
        Self { doors: Arc::new(doors), turn: Arc::default(), connections: Client::new("") }
    }

    /// Speaks to a replica of `service` that is not down: another one at each call.
    pub fn to(&self, service: Service) -> anyhow::Result<Client> {
        let open: Vec<String> = self.doors[service as usize].iter().filter_map(|door| door.address()).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let address = open.get(turn % open.len().max(1)).with_context(|| format!("no {} is up", service.name()))?;
        Ok(self.connections.at(address))
    }

    /// Sets what is on hand of a product.
    pub async fn put_stock(&self, product: &str, on_hand: i64) -> anyhow::Result<()> {
        let put = self.to(Service::Inventory)?.put(&format!("/inventory/{product}")).json(&json!({"onHand": on_hand}));
        let answer = put.await?;
        ensure!(answer.status.is_success(), "stock of {product}: {} {}", answer.status, answer.text());
        Ok(())
    }

    /// What there is of a product.
    pub async fn stock(&self, product: &str) -> anyhow::Result<Value> {
        self.to(Service::Inventory)?.get(&format!("/inventory/{product}")).await?.expect(200)?.json()
    }

    /// What there is of a product: available, reserved and sold.
    pub async fn counts(&self, product: &str) -> anyhow::Result<[i64; 3]> {
        let stock = self.stock(product).await?;
        let counts = ["available", "reserved", "sold"].map(|name| stock[name].as_i64());
        counts.iter().all(Option::is_some).then(|| counts.map(Option::unwrap_or_default)).context("three counts")
    }

    /// Sends an order; whatever the answer is.
    pub async fn place(&self, order: &Value) -> anyhow::Result<Answer> {
        self.to(Service::Order)?.post("/orders").json(order).await
    }

    /// Places an order, and hands on its id.
    pub async fn placed(&self, order: &Value) -> anyhow::Result<String> {
        id(&self.place(order).await?.expect(201)?.json()?)
    }

    /// An order as it is now.
    pub async fn order(&self, order: &str) -> anyhow::Result<Value> {
        self.to(Service::Order)?.get(&format!("/orders/{order}")).await?.expect(200)?.json()
    }

    /// Waits until an order is confirmed, rejected, cancelled or expired, and hands it on.
    pub async fn settled(&self, order: &str) -> anyhow::Result<Value> {
        self.until(order, "it is settled", |order| SETTLED.iter().any(|status| order["status"] == *status)).await
    }

    /// Waits until an order's `paymentStatus` is `status`, and hands it on.
    pub async fn until_payment(&self, order: &str, status: &str) -> anyhow::Result<Value> {
        self.until(order, &format!("its payment is {status}"), |order| order["paymentStatus"] == status).await
    }

    /// Waits until an order's `status` is `status`, and hands it on.
    pub async fn until_status(&self, order: &str, status: &str) -> anyhow::Result<Value> {
        self.until(order, &format!("it is {status}"), |order| order["status"] == status).await
    }

    /// Waits until an order is as `wanted`, and hands it on.
    pub async fn until(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        eventually(SETTLE_DEADLINE, &format!("order {id}: {what}"), async || {
            let order = self.order(id).await?;
            ensure!(wanted(&order), "it is {order}");
            Ok(order)
        })
        .await
    }

    /// Waits until a product has `counts`: available, reserved and sold.
    pub async fn until_counts(&self, product: &str, counts: [i64; 3]) -> anyhow::Result<()> {
        eventually(SETTLE_DEADLINE, &format!("{product} has {counts:?}"), async || {
            let now = self.counts(product).await?;
            ensure!(now == counts, "it has {now:?}");
            Ok(())
        })
        .await
    }

    /// Calls an order off; whatever the answer is.
    pub async fn cancel(&self, order: &str) -> anyhow::Result<Answer> {
        let cancel = self.to(Service::Order)?.post(&format!("/orders/{order}/cancel"));
        cancel.json(&json!({"reason": "changed my mind"})).await
    }

    /// Replaces the lines of an order in whatever version it is; whatever the answer is.
    pub async fn amend(&self, order: &str, lines: &[(&str, i64)]) -> anyhow::Result<Answer> {
        let lines = self::order(lines, None)["lines"].take();
        let amend = self.to(Service::Order)?.put(&format!("/orders/{order}")).header("If-Match", "*");
        amend.json(&json!({"lines": lines})).await
    }

    /// Pays for an order; whatever the answer is.
    pub async fn pay(&self, order: &str, token: &str) -> anyhow::Result<Answer> {
        self.to(Service::Payment)?.post("/payments").json(&json!({"orderId": order, "token": token})).await
    }

    /// The attempts to pay for an order.
    pub async fn payments(&self, order: &str) -> anyhow::Result<Vec<Value>> {
        let payments = self.to(Service::Payment)?.get(&format!("/payments?orderId={order}"));
        data(&payments.await?.expect(200)?)
    }

    /// The notices of an order.
    pub async fn notices(&self, order: &str) -> anyhow::Result<Vec<Value>> {
        let notices = self.to(Service::Notification)?.get(&format!("/notifications?orderId={order}"));
        data(&notices.await?.expect(200)?)
    }

    /// The types of an order's events without what all have in common, such as `placed`.
    pub async fn history(&self, order: &str) -> anyhow::Result<Vec<String>> {
        let events = self.to(Service::Order)?.get(&format!("/orders/{order}/events?limit=200"));
        data(&events.await?.expect(200)?)?.iter().map(|event| event_name(event, "ordersystem.order.")).collect()
    }
}

/// The entries of a list.
pub fn data(list: &Answer) -> anyhow::Result<Vec<Value>> {
    list.json()?["data"].as_array().cloned().context("a list has data")
}

/// The id of an order, a payment or a notice.
pub fn id(resource: &Value) -> anyhow::Result<String> {
    resource["id"].as_str().map(str::to_owned).context("it has an id")
}

/// The name of an event whose type begins with `prefix`, without its version.
fn event_name(event: &Value, prefix: &str) -> anyhow::Result<String> {
    let kind = event["type"].as_str().context("an event has a type")?;
    let name = kind.strip_prefix(prefix).and_then(|name| name.strip_suffix(".v1"));
    name.map(str::to_owned).with_context(|| format!("{kind} is not {prefix}….v1"))
}
