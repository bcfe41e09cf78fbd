//! The clients: orders of every kind, amendments, cancellations, payments and adjustments, many of them sent twice, and
//! the memory of all that.

use std::cell::RefCell;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::join;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::history::{History, Reader, Sent};
use super::random::Random;
use super::script::{PLENTY, PRODUCTS, SCARCE, SCRIPTS, SELDOM, Script, body, product};
use crate::http::{Answer, Call, Client};
use crate::shop::{self, Shop};
use crate::system::Service;

/// How long a client asks again before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause before a client asks again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long an order is watched.
const WATCHED: Duration = Duration::from_secs(20);
/// Clients at once; when the system stands still, no more come.
const AT_ONCE: usize = 800;

/// All clients of a run.
#[derive(Debug)]
pub struct Load {
    shop: Shop,
    seed: u64,
    /// So many clients of a hundred want what comes seldom.
    seldom: usize,
    history: RefCell<History>,
}

impl Load {
    /// Clients of this shop, under a seed.
    pub fn new(shop: Shop, seed: u64) -> Self {
        Self { shop, seed, seldom: 3, history: RefCell::default() }
    }

    /// With more clients that want what comes seldom.
    #[must_use]
    pub fn of_everything(self) -> Self {
        Self { seldom: 30, ..self }
    }

    /// Puts on hand what is ordered.
    pub async fn stock(&self) -> anyhow::Result<()> {
        for number in 0..PRODUCTS {
            self.shop.put_stock(&product(number), PLENTY).await?;
        }
        self.shop.put_stock(SCARCE.0, SCARCE.1).await
    }

    /// What the clients remember.
    pub fn into_history(self) -> History {
        self.history.into_inner()
    }

    /// So many clients a second until something has happened, which it hands on when the last of them is done.
    pub async fn run<T>(&self, per_second: u32, something: impl Future<Output = T>) -> T {
        let mut ticks = interval(Duration::from_secs(1) / per_second.max(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut something = pin!(something);
        let mut clients = FuturesUnordered::new();
        let mut number = 0;
        let happened = loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if clients.len() < AT_ONCE {
                        clients.push(self.client(number));
                        number += 1;
                    }
                }
                Some(()) = clients.next() => {}
                happened = &mut something => break happened,
            }
        };
        while clients.next().await.is_some() {}
        happened
    }

    async fn client(&self, number: u32) {
        let mut random = Random::of(self.seed, &format!("client {number}"));
        let script = if random.happens(self.seldom) { *random.one_of(&SELDOM) } else { *random.one_of(&SCRIPTS) };
        match script {
            Script::Adjusted => return self.adjust(number, &mut random).await,
            Script::Counted => return self.count(number).await,
            _ => {}
        }
        let Some(id) = self.place(number, script, &mut random).await else {
            return;
        };
        let watched = random.happens(30);
        let mut own = random.clone();
        let goes_on = self.go_on(number, &id, script, &mut own);
        if watched { join(goes_on, self.watch(number, &id, &mut random)).await.0 } else { goes_on.await }
    }

    /// Places an order, and hands on its id if that was acknowledged.
    async fn place(&self, number: u32, script: Script, random: &mut Random) -> Option<String> {
        let body = body(number, script, random);
        let total = body["lines"].as_array()?.iter().filter_map(|line| Some(250 * line["quantity"].as_i64()?)).sum();
        let has_token = body.get("payment").is_some();
        *self.history.borrow_mut().order(number) = Sent { total, has_token, ..Sent::default() };
        let place = || self.placed(number, script, &body);
        match script {
            Script::Twice => {
                join(place(), place()).await;
            }
            _ => place().await,
        }
        let history = self.history.borrow();
        history.orders.get(&number)?.ids.first().cloned()
    }

    async fn placed(&self, number: u32, script: Script, body: &Value) {
        let key = format!("order-{number}");
        let call = |client: &Client| match script {
            Script::Keyless => client.post("/orders").json(body),
            _ => client.post("/orders").header("Idempotency-Key", &key).json(body),
        };
        let patience = if script == Script::Keyless { Duration::ZERO } else { PATIENCE };
        let sent = || self.history.borrow_mut().order(number).places.sent += 1;
        let Some(answer) = self.ask(Service::Order, patience, sent, call).await else {
            return;
        };
        let mut history = self.history.borrow_mut();
        match (answer.status.as_u16(), answer.json()) {
            (201, Ok(order)) => history.placed(number, &order),
            _ => history.contradict(format!("client {number} may order: {} {}", answer.status, answer.text())),
        }
    }

    /// What follows on an order.
    async fn go_on(&self, number: u32, id: &str, script: Script, random: &mut Random) {
        match script {
            Script::Cancelled => {
                sleep(random.millis(0, 1_500)).await;
                self.cancel(number, id).await;
            }
            Script::SlowCancelled => {
                sleep(random.millis(500, 2_500)).await;
                self.cancel(number, id).await;
            }
            Script::Amended => {
                let quantity = i64::try_from(1 + random.below(5)).unwrap_or(1);
                sleep(random.millis(0, 300)).await;
                self.amend(number, id, &[(&product(random.below(PRODUCTS)), quantity)]).await;
                self.pay(number, id).await;
            }
            Script::PaidLater => self.pay(number, id).await,
            _ => {}
        }
    }

    async fn cancel(&self, number: u32, id: &str) {
        let path = format!("/orders/{id}/cancel");
        let sent = || self.history.borrow_mut().order(number).cancels.sent += 1;
        let call = |client: &Client| client.post(&path).json(&json!({"reason": "changed my mind"}));
        if let Some(answer) = self.ask(Service::Order, PATIENCE, sent, call).await {
            self.changed(number, &answer, &[409], |sent| sent.cancels.acknowledged += 1);
        }
    }

    async fn amend(&self, number: u32, id: &str, lines: &[(&str, i64)]) {
        let path = format!("/orders/{id}");
        let lines = json!({"lines": shop::order(lines, None)["lines"]});
        let sent = || self.history.borrow_mut().order(number).amends.sent += 1;
        let call = |client: &Client| client.put(&path).header("If-Match", "*").json(&lines);
        if let Some(answer) = self.ask(Service::Order, PATIENCE, sent, call).await {
            self.changed(number, &answer, &[409], |sent| sent.amends.acknowledged += 1);
        }
    }

    /// Pays for an order when it waits for that, as long as the client has patience.
    async fn pay(&self, number: u32, id: &str) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let Some(order) = self.look(number, Reader::Changer, id).await else {
                return;
            };
            if order["status"] == "reserved" && order["paymentStatus"] != "authorizing" {
                let payment = json!({"orderId": id, "token": "tok_ok"});
                let sent = || self.history.borrow_mut().order(number).pays.sent += 1;
                let call = |client: &Client| client.post("/payments").json(&payment);
                // Sent once; whether it was taken shows at the order.
                if let Some(answer) = self.ask(Service::Payment, Duration::ZERO, sent, call).await {
                    self.noted(number, &answer, &[404, 409], |sent| sent.pays.acknowledged += 1);
                }
            } else if order["status"] != "pending" && order["status"] != "reserved" {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    async fn adjust(&self, number: u32, random: &mut Random) {
        let path = format!("/inventory/{}/adjustments", product(random.below(PRODUCTS)));
        let reference = format!("adjustment-{number}");
        let delta = if random.happens(50) { 10 } else { -10 };
        let body = json!({"delta": delta, "reason": "counted again", "reference": reference});
        let sent = || self.history.borrow_mut().adjustments.entry(number).or_default().sent += 1;
        let adjust = || {
            let call = |client: &Client| client.post(&path).header("Idempotency-Key", &reference).json(&body);
            self.ask(Service::Inventory, PATIENCE, sent, call)
        };
        let (one, other) = join(adjust(), adjust()).await;
        for answer in one.into_iter().chain(other) {
            let mut history = self.history.borrow_mut();
            if answer.status.is_success() {
                history.adjustments.entry(number).or_default().acknowledged += 1;
            } else {
                history.contradict(format!("client {number} may adjust: {} {}", answer.status, answer.text()));
            }
        }
    }

    /// Counts a product that nobody orders.
    async fn count(&self, number: u32) {
        let count = json!({"onHand": number});
        let call = |client: &Client| client.put("/inventory/counted").json(&count);
        if let Some(answer) = self.ask(Service::Inventory, PATIENCE, || (), call).await
            && !answer.status.is_success()
        {
            let found = format!("client {number} may count: {} {}", answer.status, answer.text());
            self.history.borrow_mut().contradict(found);
        }
    }

    /// Reads an order now and then, and its events.
    async fn watch(&self, number: u32, id: &str, random: &mut Random) {
        let end = Instant::now() + WATCHED;
        let mut reads = 0;
        while Instant::now() < end && reads < 8 {
            sleep(random.millis(50, 3_000)).await;
            if random.happens(30) {
                self.list(number, id).await;
            } else {
                self.look(number, Reader::Watcher, id).await;
            }
            reads += 1;
        }
    }

    async fn look(&self, number: u32, reader: Reader, id: &str) -> Option<Value> {
        let path = format!("/orders/{id}");
        let answer = self.ask(Service::Order, PATIENCE, || (), |client| client.get(&path)).await?;
        let order = answer.json().unwrap_or_default();
        self.history.borrow_mut().read(number, reader, &order);
        Some(order)
    }

    async fn list(&self, number: u32, id: &str) {
        let path = format!("/orders/{id}/events?limit=200");
        if let Some(answer) = self.ask(Service::Order, PATIENCE, || (), |client| client.get(&path)).await
            && let Ok(events) = shop::data(&answer)
        {
            let ids = events.iter().map(|event| format!("{} {}", event["version"], event["type"])).collect();
            self.history.borrow_mut().listed(number, ids);
        }
    }

    /// An order was changed, which its answer shows, or could not be.
    fn changed(&self, number: u32, answer: &Answer, refusals: &[u16], change: impl FnOnce(&mut Sent)) {
        self.noted(number, answer, refusals, change);
        if answer.status.is_success()
            && let Ok(order) = answer.json()
        {
            self.history.borrow_mut().read(number, Reader::Changer, &order);
        }
    }

    fn noted(&self, number: u32, answer: &Answer, refusals: &[u16], change: impl FnOnce(&mut Sent)) {
        let mut history = self.history.borrow_mut();
        if answer.status.is_success() {
            change(history.order(number));
        } else if !refusals.contains(&answer.status.as_u16()) {
            history.contradict(format!("client {number} was answered {} {}", answer.status, answer.text()));
        }
    }

    /// Asks, and asks again what got no answer or was answered 503, until patience is over. Nobody knows then.
    async fn ask(
        &self,
        service: Service,
        patience: Duration,
        sent: impl Fn(),
        call: impl Fn(&Client) -> Call,
    ) -> Option<Answer> {
        let end = Instant::now() + patience;
        loop {
            if let Ok(client) = self.shop.to(service) {
                sent();
                match call(&client).await.context("no answer") {
                    Ok(answer) if answer.status != 503 && answer.status != 429 => return Some(answer),
                    Ok(_) | Err(_) => {}
                }
            }
            if Instant::now() >= end {
                return None;
            }
            sleep(PAUSE).await;
        }
    }
}
