//! A load of orders of every kind, and the client's own memory of it.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join;
use futures_util::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tests::eventually;
use tests::http::{Answer, Call, Client};
use tests::shop::{self, Shop};
use tests::system::Service;
use tokio::time::{MissedTickBehavior, interval};

/// Products that a load orders. Few, so that orders meet at them.
pub const PRODUCTS: usize = 5;

/// Units of each product that are put on hand: more than any load here orders.
pub const ON_HAND: i64 = 100_000;

/// Orders on their way at once.
const AT_ONCE: usize = 16;

/// How far apart the orders of a load begin that goes on while something else happens: that is 25 a second, of which a
/// busy machine runs two systems at once and has time left for what happens.
const PACE: Duration = Duration::from_millis(40);

/// How long a patient client tries again.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long an order may take until it can be paid.
const PAYABLE_DEADLINE: Duration = Duration::from_mins(1);

/// Answers to a payment that is taken, comes before the payment service knows the order, and comes too early or twice.
const PAID: [u16; 3] = [201, 404, 409];

/// What is special about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: it is confirmed.
    Plain,
    /// Its payment is declined.
    Declined,
    /// There is none of one of its products.
    Short,
    /// It is called off.
    Cancelled,
    /// Its lines are replaced, and then it is paid.
    Amended,
    /// It is sent twice at once, to two replicas, under one key.
    Twice,
}

/// The kinds of a load's orders, in turn.
const KINDS: [Kind; 10] = [
    Kind::Plain,
    Kind::Twice,
    Kind::Declined,
    Kind::Plain,
    Kind::Cancelled,
    Kind::Amended,
    Kind::Plain,
    Kind::Short,
    Kind::Twice,
    Kind::Plain,
];

/// An order that the system has acknowledged.
#[derive(Debug)]
pub struct Acknowledged {
    /// Its id.
    pub id: String,
    /// What is special about it.
    pub kind: Kind,
    /// Its lines as the client last had them: product and quantity.
    pub lines: Vec<(usize, i64)>,
}

/// Orders of one customer.
pub struct Load<'s> {
    /// The customer; products and keys begin with it too, so that loads do not meet.
    pub customer: &'static str,
    to: Box<dyn Fn(Service) -> anyhow::Result<Client> + 's>,
    patient: bool,
    acknowledged: Cell<usize>,
}

impl<'s> Load<'s> {
    /// A load whose requests all have to succeed at once.
    pub fn strict(customer: &'static str, to: impl Fn(Service) -> anyhow::Result<Client> + 's) -> Self {
        Self { customer, to: Box::new(to), patient: false, acknowledged: Cell::new(0) }
    }

    /// A load that sends a request again that got no answer, or was answered 503; its keys make that safe.
    pub fn patient(customer: &'static str, to: impl Fn(Service) -> anyhow::Result<Client> + 's) -> Self {
        Self { patient: true, ..Self::strict(customer, to) }
    }

    /// The name of product `number`.
    pub fn product(&self, number: usize) -> String {
        format!("{}-product-{number}", self.customer)
    }

    /// Puts the products on hand.
    pub async fn stock(&self, shop: &Shop) -> anyhow::Result<()> {
        for number in 0..PRODUCTS {
            shop.put_stock(&self.product(number), ON_HAND).await?;
        }
        Ok(())
    }

    /// Places so many orders, as fast as they are answered.
    pub async fn place(&self, orders: usize) -> anyhow::Result<Vec<Acknowledged>> {
        stream::iter(0..orders).map(|number| self.order(number)).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Places orders while something happens, until it has happened and every order is acknowledged.
    pub async fn place_while<T>(
        &self,
        something: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Vec<Acknowledged>, T)> {
        let mut something = pin!(something);
        let mut orders = FuturesUnordered::new();
        let mut acknowledged = Vec::new();
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut placed = 0;
        let happened = loop {
            tokio::select! {
                _ = ticks.tick() => {
                    orders.push(self.order(placed));
                    placed += 1;
                }
                Some(order) = orders.next() => acknowledged.push(order?),
                happened = &mut something => break happened?,
            }
        };
        acknowledged.extend(orders.try_collect::<Vec<_>>().await?);
        Ok((acknowledged, happened))
    }

    /// Waits until so many orders are acknowledged; none of them need be settled.
    pub async fn acknowledged(&self, orders: usize) -> anyhow::Result<()> {
        eventually(PATIENCE, &format!("{orders} orders are acknowledged"), async || {
            let acknowledged = self.acknowledged.get();
            ensure!(acknowledged >= orders, "{acknowledged} are");
            Ok(())
        })
        .await
    }

    async fn order(&self, number: usize) -> anyhow::Result<Acknowledged> {
        let kind = KINDS[number % KINDS.len()];
        // The same product may be on both lines; neighbouring orders name theirs in different orders.
        let mut lines = vec![(number % PRODUCTS, 1), (number * 7 / 3 % PRODUCTS, 2)];
        if kind == Kind::Short {
            lines.push((PRODUCTS, 1));
        }
        let body = self.body(kind, &lines);
        let key = format!("{}-{number}", self.customer);
        let placed = self.placed(&key, &body);
        let id = match kind {
            Kind::Twice => {
                let (one, other) = try_join(placed, self.placed(&key, &body)).await?;
                ensure!(one == other, "one key, two orders: {one} and {other}");
                one
            }
            _ => placed.await?,
        };
        self.acknowledged.set(self.acknowledged.get() + 1);
        match kind {
            Kind::Cancelled => self.cancel(&id).await?,
            Kind::Amended => {
                lines = vec![((number + 1) % PRODUCTS, 3)];
                self.amend(&id, &lines).await?;
                self.pay(&id).await?;
            }
            _ => {}
        }
        Ok(Acknowledged { id, kind, lines })
    }

    fn body(&self, kind: Kind, lines: &[(usize, i64)]) -> Value {
        let token = match kind {
            Kind::Amended => None,
            Kind::Declined => Some("tok_declined"),
            _ => Some("tok_ok"),
        };
        let names: Vec<String> = lines.iter().map(|(product, _)| self.product(*product)).collect();
        let wanted: Vec<(&str, i64)> = names.iter().map(String::as_str).zip(lines.iter().map(|line| line.1)).collect();
        let mut body = shop::order(&wanted, token);
        body["customerId"] = json!(self.customer);
        body
    }

    /// Places an order and hands on its id.
    async fn placed(&self, key: &str, body: &Value) -> anyhow::Result<String> {
        let answer = self.asked(Service::Order, "an order is taken", |order| {
            order.post("/orders").header("Idempotency-Key", key).json(body)
        });
        shop::id(&answer.await?.expect(201)?.json()?)
    }

    async fn cancel(&self, id: &str) -> anyhow::Result<()> {
        let cancel = self.asked(Service::Order, "an order is called off", |order| {
            order.post(&format!("/orders/{id}/cancel")).json(&json!({"reason": "changed my mind"}))
        });
        let cancelled = cancel.await?.expect(200)?.json()?;
        ensure!(cancelled["status"] == "cancelled", "it was called off, and is {cancelled}");
        Ok(())
    }

    async fn amend(&self, id: &str, lines: &[(usize, i64)]) -> anyhow::Result<()> {
        let lines = self.body(Kind::Amended, lines)["lines"].take();
        let amend = self.asked(Service::Order, "an order is amended", |order| {
            order.put(&format!("/orders/{id}")).header("If-Match", "*").json(&json!({"lines": lines}))
        });
        amend.await?.expect(200)?;
        Ok(())
    }

    /// Pays for an order until it is confirmed: what is paid before the payment service has heard of the amendment is
    /// given back.
    async fn pay(&self, id: &str) -> anyhow::Result<()> {
        let what = format!("order {id} is paid");
        let paid = eventually(PAYABLE_DEADLINE, &what, async || match self.paid(id).await {
            Ok(order) if order["status"] == "confirmed" => Ok(Ok(())),
            Ok(order) => Err(anyhow::anyhow!("it is {order}")),
            Err(error) if self.patient => Err(error),
            Err(error) => Ok(Err(error)),
        });
        paid.await?
    }

    /// An order as it is, and paid for if it waits for that.
    async fn paid(&self, id: &str) -> anyhow::Result<Value> {
        let show = self.asked(Service::Order, "an order is shown", |order| order.get(&format!("/orders/{id}")));
        let order = show.await?.expect(200)?.json()?;
        if order["status"] == "reserved" && order["paymentStatus"] != "authorizing" {
            let payment = json!({"orderId": id, "token": "tok_ok"});
            let pay = self
                .asked(Service::Payment, "a payment is taken", |payments| payments.post("/payments").json(&payment));
            let answer = pay.await?;
            ensure!(PAID.contains(&answer.status.as_u16()), "{} {}", answer.status, answer.text());
        }
        Ok(order)
    }

    async fn asked(&self, service: Service, what: &str, call: impl Fn(&Client) -> Call) -> anyhow::Result<Answer> {
        let ask = async || {
            let to = (self.to)(service)?;
            call(&to).await.with_context(|| format!("{} of {}", what, self.customer))
        };
        if !self.patient {
            return ask().await;
        }
        eventually(PATIENCE, what, async || {
            let answer = ask().await?;
            ensure!(answer.status != 503, "{} {}", answer.status, answer.text());
            Ok(answer)
        })
        .await
    }
}
