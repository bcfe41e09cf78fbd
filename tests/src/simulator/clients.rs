//! Who uses the system: shops that count stock, place orders, and amend, cancel and pay them, and what they were told.

use std::collections::{BTreeMap, BTreeSet};

use contract::order::{Line, PaymentMethod};
use contract::{Currency, Lane, ProductId};
use inventory::stock::{Adjustment, Command as StockCommand};
use inventory::store::{Answer as StockAnswer, Request as StockRequest};
use journal::Refused;
use journal::idempotency::Key;
use order::order::{Amendment, Command as OrderCommand, IfMatch, Place};
use order::store::{Answer as OrderAnswer, Command, Placing, key};
use payment::payment::Command as PaymentCommand;
use payment::store::{Answer as PaymentAnswer, Request as PaymentRequest};
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;
use uuid::Uuid;

use super::faults::STORM;
use super::world::{Env, Event, Millis, World};
use crate::random::Random;

/// The products that there are, and one that nobody ever counts.
const PRODUCTS: [&str; 3] = ["cup", "jug", "unicorn"];
/// What one unit costs, in the minor unit.
const PRICE: i64 = 250;
/// How often a client looks whether it has been answered, in milliseconds, and how many times until it gives up.
const LOOK: Millis = 40;
const LOOKS: u32 = 40;
/// How often a request with a key is made, at most.
const TRIES: u32 = 4;

/// What a client wants.
#[derive(Clone, Debug)]
enum Wish {
    Count { product: ProductId, on_hand: i64 },
    Adjust { product: ProductId, delta: i64, key: Option<String> },
    Place { order: usize, place: Place, key: Option<String> },
    Amend { order: usize, lines: Vec<Line> },
    Cancel { order: usize },
    Pay { order: usize, token: String, key: Option<String> },
}

/// An answer that is waited for.
enum Waiting {
    Stock(Receiver<Result<StockAnswer, Refused>>),
    Order(Receiver<Result<OrderAnswer, Refused>>),
    Payment(Receiver<Result<PaymentAnswer, Refused>>),
}

/// What a client heard.
enum Heard {
    Nothing,
    Silence,
    Refused,
    Done,
    Placed(Uuid),
}

/// A client with one wish.
struct Client {
    wish: Wish,
    waiting: Option<Waiting>,
    looks: u32,
    tries: u32,
}

/// Everyone who uses the system.
#[derive(Default)]
pub struct Clients {
    all: Vec<Client>,
    /// The orders that clients know, by their place in the plan.
    known: BTreeMap<usize, Uuid>,
    /// The orders that were acknowledged.
    pub acknowledged: BTreeSet<Uuid>,
    /// Every id under which an order was sent.
    pub sent: BTreeSet<Uuid>,
    /// What was acknowledged under each key.
    pub by_key: BTreeMap<String, BTreeSet<Uuid>>,
}

impl Clients {
    /// Everyone makes plans.
    pub fn begin(&mut self, env: &mut Env) {
        for product in &PRODUCTS[..2] {
            let on_hand = i64::try_from(env.random.between(0, 25)).unwrap_or(0);
            self.plan(env.now + 1, Wish::Count { product: id(product), on_hand }, env);
        }
        for order in 0..usize::try_from(env.random.between(2, 14)).unwrap_or(2) {
            self.plan_order(order, env);
        }
        for number in 0..env.random.below(4) {
            let product = *env.random.pick(&PRODUCTS);
            let product = id(product);
            let when = env.random.below(STORM);
            let wish = if env.random.chance(500) {
                let delta = i64::try_from(env.random.between(0, 20)).unwrap_or(0) - 8;
                let key = env.random.chance(500).then(|| format!("adjust-{}", number % 2));
                Wish::Adjust { product, delta: if delta == 0 { 1 } else { delta }, key }
            } else {
                Wish::Count { product, on_hand: i64::try_from(env.random.between(0, 30)).unwrap_or(0) }
            };
            self.plan(when, wish, env);
        }
    }

    /// One order's story: placed, perhaps twice, then perhaps amended, paid and cancelled at any time.
    fn plan_order(&mut self, order: usize, env: &mut Env) {
        let when = env.random.below(STORM * 2 / 3);
        let lines = lines(&mut env.random);
        let payment = env.random.chance(700).then(|| PaymentMethod { token: token(&mut env.random) });
        let place = Place { customer_id: customer(order), currency: euro(), total: total(&lines), lines, payment };
        let key = env.random.chance(600).then(|| format!("order-{order}"));
        let times = if key.is_some() && env.random.chance(300) { 2 } else { 1 };
        for _ in 0..times {
            let when = when + env.random.below(200);
            self.plan(when, Wish::Place { order, place: place.clone(), key: key.clone() }, env);
        }
        let soon = |env: &mut Env| when + env.random.between(20, 4_000);
        if env.random.chance(350) {
            let (when, lines) = (soon(env), self::lines(&mut env.random));
            self.plan(when, Wish::Amend { order, lines }, env);
        }
        if env.random.chance(350) {
            let when = soon(env);
            self.plan(when, Wish::Cancel { order }, env);
        }
        let pays = if place.payment.is_none() { 850 } else { 250 };
        for attempt in 0..env.random.below(3) {
            if env.random.chance(pays) {
                let (when, token) = (soon(env), token(&mut env.random));
                let key = env.random.chance(500).then(|| format!("pay-{order}-{attempt}"));
                self.plan(when, Wish::Pay { order, token, key }, env);
            }
        }
    }

    fn plan(&mut self, when: Millis, wish: Wish, env: &mut Env) {
        env.after(when - env.now, Event::Client(self.all.len()));
        self.all.push(Client { wish, waiting: None, looks: 0, tries: 0 });
    }

    /// A client asks, or looks whether it has been answered.
    pub fn step(&mut self, client: usize, world: &mut World) {
        let heard = match &mut self.all[client].waiting {
            None => return self.ask(client, world),
            Some(waiting) => waiting.look(),
        };
        let this = &mut self.all[client];
        this.looks += 1;
        match heard {
            Heard::Nothing if this.looks < LOOKS => world.env.after(LOOK, Event::Client(client)),
            Heard::Nothing | Heard::Silence | Heard::Refused => self.try_again(client, world),
            Heard::Done => world.env.count("done"),
            Heard::Placed(id) => self.placed(client, id, world),
        }
    }

    fn placed(&mut self, client: usize, id: Uuid, world: &mut World) {
        if world.env.strikes("clients unanswered", |rates| rates.client_lost) {
            return self.try_again(client, world);
        }
        world.env.count("placed");
        self.acknowledged.insert(id);
        if let Wish::Place { order, key, .. } = &self.all[client].wish {
            self.known.insert(*order, id);
            if let Some(key) = key {
                self.by_key.entry(key.clone()).or_default().insert(id);
            }
        }
    }

    /// Only what has a key may be asked for again.
    fn try_again(&mut self, client: usize, world: &mut World) {
        let this = &mut self.all[client];
        (this.waiting, this.looks) = (None, 0);
        this.tries += 1;
        let may = match &this.wish {
            Wish::Place { key, .. } | Wish::Pay { key, .. } | Wish::Adjust { key, .. } => key.is_some(),
            Wish::Count { .. } | Wish::Amend { .. } | Wish::Cancel { .. } => true,
        };
        if may && this.tries < TRIES {
            let delay = world.env.random.between(20, 1_500);
            world.env.after(delay, Event::Client(client));
        }
    }

    fn ask(&mut self, client: usize, world: &mut World) {
        let replica = world.env.random.index(2);
        let waiting = match self.all[client].wish.clone() {
            Wish::Count { product, on_hand } => stock(StockCommand::Count { product, on_hand }.into(), replica, world),
            Wish::Adjust { product, delta, key } => {
                let adjustment = Adjustment { product, delta, reason: "counted".to_owned(), reference: None };
                stock(StockRequest::adjust(adjustment, key.as_deref()), replica, world)
            }
            Wish::Place { place, key, .. } => self.place(place, key.as_deref(), replica, world),
            Wish::Amend { order, lines } => {
                let amendment = Amendment { total: total(&lines), lines, named: Vec::new() };
                self.change(order, OrderCommand::Amend { if_match: IfMatch::Any, amendment }, replica, world)
            }
            Wish::Cancel { order } => {
                let reason = "changed my mind".to_owned();
                self.change(order, OrderCommand::Cancel { if_match: IfMatch::Any, reason }, replica, world)
            }
            Wish::Pay { order, token, key } => self.pay(order, token, key.as_deref(), replica, world),
        };
        if waiting.is_none() || world.env.strikes("clients unheard", |rates| rates.client_lost) {
            // Where nobody listens, or the answer will not come back.
            return self.try_again(client, world);
        }
        self.all[client].waiting = waiting;
        world.env.after(LOOK, Event::Client(client));
    }

    fn place(&mut self, place: Place, text: Option<&str>, replica: usize, world: &mut World) -> Option<Waiting> {
        let key = text.map(|text| key(text, &place));
        let wanted = text.map(|text| world.env.lanes.of_key(text));
        let mut id = world.env.fresh_id();
        while wanted.is_some_and(|lane| lane != world.env.lanes.of_order(id)) {
            id = world.env.fresh_id();
        }
        self.sent.insert(id);
        let command = Command::Place(Box::new(Placing { id, place, key }));
        let lane = world.env.lanes.of_order(id);
        world.orders.submit(replica, lane, command, &mut world.env).map(Waiting::Order)
    }

    fn change(&self, order: usize, command: OrderCommand, replica: usize, world: &mut World) -> Option<Waiting> {
        let order = *self.known.get(&order)?;
        let lane = world.env.lanes.of_order(order);
        let command = Command::Change { order, command };
        world.orders.submit(replica, lane, command, &mut world.env).map(Waiting::Order)
    }

    fn pay(
        &self,
        order: usize,
        token: String,
        text: Option<&str>,
        replica: usize,
        world: &mut World,
    ) -> Option<Waiting> {
        let order = *self.known.get(&order)?;
        let lane = world.env.lanes.of_order(order);
        let key = text.map(|text| Key::of(order.to_string(), text, &(&token, None::<i64>)));
        let command = PaymentCommand::Pay { token, amount: None };
        let request = PaymentRequest { key, ..PaymentRequest::of(lane, order, command) };
        world.payments.submit(replica, lane, request, &mut world.env).map(Waiting::Payment)
    }
}

fn stock(request: StockRequest, replica: usize, world: &mut World) -> Option<Waiting> {
    let lane: Lane = request.command().products().first().map(|product| world.env.lanes.of_key(product.as_str()))?;
    world.stocks.submit(replica, lane, request, &mut world.env).map(Waiting::Stock)
}

impl Waiting {
    fn look(&mut self) -> Heard {
        match self {
            Self::Stock(answer) => heard(answer, |_| Heard::Done),
            Self::Payment(answer) => heard(answer, |_| Heard::Done),
            Self::Order(answer) => heard(answer, |answer| match answer {
                OrderAnswer::Order(order) => Heard::Placed(order.shown.id),
                OrderAnswer::Replayed(id) => Heard::Placed(id),
                _ => Heard::Done,
            }),
        }
    }
}

fn heard<A>(answer: &mut Receiver<Result<A, Refused>>, understood: impl Fn(A) -> Heard) -> Heard {
    match answer.try_recv() {
        Ok(Ok(answer)) => understood(answer),
        Ok(Err(_)) => Heard::Refused,
        Err(TryRecvError::Empty) => Heard::Nothing,
        Err(TryRecvError::Closed) => Heard::Silence,
    }
}

fn lines(random: &mut Random) -> Vec<Line> {
    let line = |random: &mut Random| {
        let product = if random.chance(40) { PRODUCTS[2] } else { *random.pick(&PRODUCTS[..2]) };
        let quantity = i64::try_from(random.between(1, 6)).unwrap_or(1);
        Line { product_id: id(product), quantity, unit_price: PRICE }
    };
    (0..random.between(1, 3)).map(|_| line(random)).collect()
}

fn total(lines: &[Line]) -> i64 {
    lines.iter().map(|line| line.quantity * line.unit_price).sum()
}

fn token(random: &mut Random) -> String {
    (*random.pick(&["tok_ok", "tok_ok", "tok_ok", "tok_ok", "tok_declined", "tok_insufficient_funds", "4111"]))
        .to_owned()
}

fn id(product: &str) -> ProductId {
    product.parse().unwrap_or_else(|_| unreachable!("the products have ids"))
}

fn customer(order: usize) -> contract::CustomerId {
    format!("customer-{}", order % 3).parse().unwrap_or_else(|_| unreachable!("it is visible"))
}

fn euro() -> Currency {
    Currency::try_from("EUR").unwrap_or_else(|_| unreachable!("it is a currency"))
}
