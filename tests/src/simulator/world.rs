//! The world: what time it is, what happens next, and what everything in it shares.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use contract::{Lane, Lanes, Topic};
use order::order::Policy;
use payment::payment::{Call, CallError, Reply};
use uuid::Uuid;

use super::clients::Clients;
use super::faults::{Rates, Rule, STORM, Strike};
use super::judge;
use super::parts::{Notices, Orders, Payments, Stocks};
use super::provider::Provider;
use super::service::Service;
use super::store::TxnId;
use super::topics::{Message, Topics};
use crate::random::Random;

/// Virtual time, in milliseconds since the world began.
pub type Millis = u64;

/// How many lanes a world has.
const LANES: u16 = 2;
/// When a world begins, in seconds since 1970.
const BEGAN: i64 = 1_700_000_000;
/// How long after the storm everything must have settled, in milliseconds: longer than the longest pauses, a minute for a
/// quiet lane and half a minute for the provider, each met more than once.
const PATIENCE: Millis = 300_000;
/// How often it is looked whether everything has settled, in milliseconds.
const LOOK: Millis = 2_000;
/// How often the books are audited while the storm lasts, in milliseconds.
const AUDIT: Millis = 1_500;

/// Which replica of a service, and in which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The replica.
    pub replica: usize,
    /// How often it was started before.
    pub number: u32,
}

/// Something that happens.
#[derive(Debug)]
pub enum Event {
    /// To a replica of the service that feeds this topic.
    Deed(Topic, Life, Deed),
    /// To the database of a service: a transaction ends whose process is gone or does not answer.
    Finish(Topic, TxnId, bool),
    /// The group of a service gives the lanes anew.
    Rebalance(Topic),
    /// A process of a service begins again.
    Start(Topic, usize),
    /// A message arrives at the broker.
    Arrive(Topic, Lane, Rc<Message>, Option<Life>),
    /// A request to send a lane again arrives at the owners of its source.
    Resend(Topic, Lane, i64),
    /// A request arrives at the payment provider, from this asker.
    Asked(Box<Call>, Life, u64),
    /// The next step of what a client does.
    Client(usize),
    /// Something befalls a service.
    Strike(Strike),
    /// The books are audited in passing.
    Audit,
    /// The storm is over.
    Calm,
    /// It is looked whether everything has settled.
    Look,
}

/// What a replica does, or learns.
#[derive(Debug)]
pub enum Deed {
    /// What it does twice a second.
    Tick,
    /// It goes on with whatever waits.
    Go,
    /// It looks into the database for what to publish.
    CatchUp,
    /// It asks the broker for more of a lane.
    Fetch(u64, Topic, Lane),
    /// What it asked for comes.
    Deliver(Delivery),
    /// The answer to its commit is due.
    Commit(TxnId),
    /// Its connection is back.
    Reconnected,
    /// The group gave it these lanes, in this round.
    Assigned(u64, Vec<Lane>),
    /// The broker has an event.
    Acknowledged(Lane, i64),
    /// An event was lost on its way.
    Undelivered(Lane, i64),
    /// The provider answered the request of this number, or time is up.
    Answered(u64, Box<Call>, Result<Reply, CallError>),
}

/// Messages of a lane, with their offsets, and the generation of the assignment under which they were fetched.
#[derive(Debug)]
pub struct Delivery {
    /// The generation.
    pub generation: u64,
    /// The topic.
    pub source: Topic,
    /// The lane.
    pub lane: Lane,
    /// The messages.
    pub messages: Vec<(usize, Rc<Message>)>,
}

/// What everything shares.
pub struct Env {
    /// The time.
    pub now: Millis,
    /// Chance.
    pub random: Random,
    /// The system's lanes.
    pub lanes: Lanes,
    /// What goes wrong how often.
    pub rates: Rates,
    /// What the protocol lacks.
    pub missing: Option<Rule>,
    /// The broker.
    pub topics: Topics,
    /// What must never happen and did.
    pub violations: Vec<String>,
    /// What happened, told by numbers.
    pub trace: Trace,
    /// How much of what happened.
    pub counts: BTreeMap<&'static str, u64>,
    queue: BTreeMap<(Millis, u64), Event>,
    ties: u64,
    ids: u64,
    base: Instant,
}

/// A hash of everything that happened, in its order (FNV-1a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(pub u64);

/// What became of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What must never happen and did.
    pub violations: Vec<String>,
    /// A hash of everything that happened.
    pub trace: u64,
    /// How much of what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// The world of a seed.
pub struct World {
    /// What everything shares.
    pub env: Env,
    /// Orders.
    pub orders: Service<Orders>,
    /// Inventory.
    pub stocks: Service<Stocks>,
    /// Payment.
    pub payments: Service<Payments>,
    /// Notification.
    pub notices: Service<Notices>,
    /// The payment provider.
    pub provider: Provider,
    /// Who uses it all.
    pub clients: Clients,
}

/// Runs the world of `seed`, in which a rule may be missing, until everything in it has settled or something is wrong.
pub fn run(seed: u64, missing: Option<Rule>) -> Outcome {
    let mut world = World::of(seed, missing);
    while world.env.violations.is_empty() && world.step() {}
    let Env { violations, trace, counts, .. } = world.env;
    Outcome { violations, trace: trace.0, counts }
}

impl Trace {
    /// Takes in a number.
    pub fn add(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Env {
    /// Something happens in so many milliseconds.
    pub fn after(&mut self, delay: Millis, event: Event) {
        self.ties += 1;
        self.queue.insert((self.now + delay, self.ties), event);
    }

    /// The time, as processes measure it.
    pub fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    /// The time, as the calendar has it.
    pub fn time(&self) -> DateTime<Utc> {
        let began = DateTime::from_timestamp(BEGAN, 0).unwrap_or_default();
        began + TimeDelta::milliseconds(i64::try_from(self.now).unwrap_or(i64::MAX))
    }

    /// An id that nothing has yet, greater than those before: of version 7, as real ones are.
    pub fn fresh_id(&mut self) -> Uuid {
        self.ids += 1;
        let time = u128::from(self.now) + u128::from(BEGAN.unsigned_abs()) * 1000;
        let rest = u128::from(self.random.draw() >> 16);
        Uuid::from_u128(time << 80 | 7 << 76 | u128::from(self.ids & 0xfff) << 64 | 2 << 62 | rest)
    }

    /// Whether a fault strikes; never once the storm is over.
    pub fn strikes(&mut self, what: &'static str, rate: impl Fn(&Rates) -> u64) -> bool {
        let rate = rate(&self.rates);
        let struck = rate > 0 && self.random.chance(rate);
        if struck {
            self.count(what);
        }
        struck
    }

    /// Counts something that happened.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// How long a message takes: some milliseconds, or a second or more when the network is slow.
    pub fn travel(&mut self) -> Millis {
        if self.strikes("slow", |rates| rates.slow) {
            self.random.between(200, 3_000)
        } else {
            self.random.between(1, 15)
        }
    }

    /// Whether the protocol lacks a rule.
    pub fn lacks(&self, rule: Rule) -> bool {
        self.missing == Some(rule)
    }

    /// Whether the storm is over.
    pub fn is_calm(&self) -> bool {
        self.now >= STORM
    }
}

impl World {
    /// The world of `seed` at its beginning.
    pub fn of(seed: u64, missing: Option<Rule>) -> Self {
        let mut random = Random::of(seed);
        let lanes = Lanes::new(LANES).unwrap_or_else(|_| unreachable!("a system may have two lanes"));
        let rates = Rates::draw(&mut random);
        let policy = Policy {
            payment_timeout: TimeDelta::milliseconds(i64::try_from(random.between(1_000, 20_000)).unwrap_or(1_000)),
            payment_attempts: 3,
        };
        let env = Env {
            now: 0,
            random,
            lanes,
            rates,
            missing,
            topics: Topics::default(),
            violations: Vec::new(),
            trace: Trace(0xcbf2_9ce4_8422_2325),
            counts: BTreeMap::new(),
            queue: BTreeMap::new(),
            ties: 0,
            ids: 0,
            base: Instant::now(),
        };
        let mut world = Self {
            env,
            orders: Service::new(Orders(policy), lanes),
            stocks: Service::new(Stocks, lanes),
            payments: Service::new(Payments, lanes),
            notices: Service::new(Notices, lanes),
            provider: Provider::default(),
            clients: Clients::default(),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.orders.begin(&mut self.env);
        self.stocks.begin(&mut self.env);
        self.payments.begin(&mut self.env);
        self.notices.begin(&mut self.env);
        self.clients.begin(&mut self.env);
        for (when, strike) in Strike::draw(&mut self.env.random) {
            self.env.after(when, Event::Strike(strike));
        }
        for when in (AUDIT..STORM).step_by(usize::try_from(AUDIT).unwrap_or(1)) {
            self.env.after(when, Event::Audit);
        }
        self.env.after(STORM, Event::Calm);
        self.env.after(STORM + LOOK, Event::Look);
    }

    /// What happens next; `false` when nothing has to any more.
    fn step(&mut self) -> bool {
        let Some(((at, tie), event)) = self.env.queue.pop_first() else { return false };
        self.env.now = at;
        self.env.trace.add(at << 20 ^ tie);
        match event {
            Event::Look => return self.look(),
            event => self.happen(event),
        }
        true
    }

    fn happen(&mut self, event: Event) {
        macro_rules! at {
            ($topic:expr, $service:ident => $what:expr) => {
                match $topic {
                    Topic::Orders => {
                        let $service = &mut self.orders;
                        $what
                    }
                    Topic::Inventory => {
                        let $service = &mut self.stocks;
                        $what
                    }
                    Topic::Payments => {
                        let $service = &mut self.payments;
                        $what
                    }
                    Topic::Notifications => {
                        let $service = &mut self.notices;
                        $what
                    }
                }
            };
        }
        let env = &mut self.env;
        match event {
            Event::Deed(topic, life, deed) => at!(topic, service => service.deed(life, deed, env)),
            Event::Finish(topic, txn, commits) => at!(topic, service => service.finish(txn, commits, env)),
            Event::Rebalance(topic) => at!(topic, service => service.rebalance(env)),
            Event::Start(topic, replica) => at!(topic, service => service.start(replica, env)),
            Event::Resend(topic, lane, seq) => at!(topic, service => service.resend(lane, seq, env)),
            Event::Strike(strike) => {
                let topic = *env.random.pick(&Topic::ALL);
                at!(topic, service => service.strike(strike, env));
            }
            Event::Arrive(topic, lane, message, sender) => self.arrive(topic, lane, message, sender),
            Event::Asked(call, life, number) => self.provider.asked(&call, life, number, env),
            Event::Client(client) => self.client(client),
            Event::Audit => judge::in_passing(self),
            Event::Calm => self.calm(),
            Event::Look => {}
        }
    }

    fn client(&mut self, client: usize) {
        let mut clients = std::mem::take(&mut self.clients);
        clients.step(client, self);
        self.clients = clients;
    }

    /// A message that a dead process had sent may have been lost with it.
    fn arrive(&mut self, topic: Topic, lane: Lane, message: Rc<Message>, sender: Option<Life>) {
        if let Some(life) = sender {
            let lives = match topic {
                Topic::Orders => self.orders.lives(life),
                Topic::Inventory => self.stocks.lives(life),
                Topic::Payments => self.payments.lives(life),
                Topic::Notifications => self.notices.lives(life),
            };
            if !lives && self.env.random.chance(500) {
                return;
            }
            let acknowledged = Deed::Acknowledged(lane, message.seq);
            let delay = self.env.random.between(1, 10);
            self.env.after(delay, Event::Deed(topic, life, acknowledged));
        }
        self.env.topics.append(topic, lane, message);
        self.orders.wake(topic, lane, &mut self.env);
        self.stocks.wake(topic, lane, &mut self.env);
        self.payments.wake(topic, lane, &mut self.env);
        self.notices.wake(topic, lane, &mut self.env);
    }

    fn calm(&mut self) {
        self.env.rates = Rates::default();
        self.orders.calm();
        self.stocks.calm();
        self.payments.calm();
        self.notices.calm();
    }

    /// Whether there is more to wait for.
    fn look(&mut self) -> bool {
        let waiting = judge::waits_for(self);
        let Some(waiting) = waiting else {
            judge::at_rest(self);
            return false;
        };
        if self.env.now > STORM + PATIENCE {
            let seconds = PATIENCE / 1000;
            self.env.violations.push(format!("not settled {seconds} s after the storm: {waiting}"));
            return false;
        }
        self.env.after(LOOK, Event::Look);
        true
    }
}
