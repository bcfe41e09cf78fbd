//! Orders, their payments and the provider, in any order that messages, requests and answers can take: whatever happens
//! on the way, money ends where the order says.

use std::collections::HashMap;

use contract::Currency;
use contract::payment::PaymentEvent;
use proptest::prelude::*;
use uuid::Uuid;

use super::{Account, Call, CallError, Command, LedgerAccount, Outcome, Step, postings};
use crate::gateway::simulated::{Charge, ChargeStatus, settle};

const ORDER: Uuid = Uuid::from_u128(1);
const TOTAL: i64 = 500;
/// More rounds than any order needs to come to rest.
const ROUNDS: usize = 100;

fn euro() -> Currency {
    Currency::try_from("EUR").expect("a currency")
}

/// The order as its own service keeps it, as far as payment can tell.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Pending,
    Reserved,
    Confirmed(Uuid),
    Dead,
}

/// One thing that happens. A number picks among what is on its way.
#[derive(Clone, Debug)]
enum Happening {
    /// The customer or the clock acts on the order.
    Reserve,
    Amend,
    Kill,
    /// Someone pays.
    Pay(&'static str),
    /// The order's next event reaches payment.
    OrderToPayment,
    /// Payment's next event reaches the order.
    PaymentToOrder,
    /// The provider is asked what is due.
    Ask,
    /// A request reaches the provider, and its answer is on its way.
    Arrive(usize),
    /// The caller of a request gives up; the request may still arrive.
    GiveUp(usize),
    /// An answer reaches payment; it may come again.
    Answer(usize, bool),
}

#[derive(Debug)]
struct World {
    method: Option<&'static str>,
    order: Order,
    revision: i32,
    order_events: Vec<Command>,
    orders_read: usize,
    account: Account,
    events: Vec<PaymentEvent>,
    events_read: usize,
    requests: Vec<Call>,
    answers: Vec<Command>,
    charges: HashMap<Uuid, Charge>,
    captures: usize,
    attempts: u128,
}

impl World {
    fn new(method: Option<&'static str>) -> Self {
        let expect = Command::Expect { amount: TOTAL, currency: euro() };
        Self {
            method,
            order: Order::Pending,
            revision: 1,
            order_events: if method.is_none() { vec![expect] } else { Vec::new() },
            orders_read: 0,
            account: Account::unheard(ORDER),
            events: Vec::new(),
            events_read: 0,
            requests: Vec::new(),
            answers: Vec::new(),
            charges: HashMap::new(),
            captures: 0,
            attempts: 100,
        }
    }

    /// What the order comes to in its present revision.
    fn total(&self) -> i64 {
        TOTAL * i64::from(self.revision)
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Reserve => self.reserve(),
            Happening::Amend => self.amend(),
            Happening::Kill => self.kill(),
            Happening::Pay(token) => self.command(&Command::Pay { token: token.to_owned(), amount: None }),
            Happening::OrderToPayment => self.order_to_payment(),
            Happening::PaymentToOrder => self.payment_to_order(),
            Happening::Ask => self.requests.extend(self.account.next_call()),
            Happening::Arrive(which) => self.arrive(which),
            Happening::GiveUp(which) => self.give_up(which),
            Happening::Answer(which, again) => self.answer(which, again),
        }
    }

    // The order.

    fn reserve(&mut self) {
        if self.order == Order::Pending {
            self.order = Order::Reserved;
            let (revision, amount, token) = (self.revision, self.total(), self.method.map(str::to_owned));
            self.order_events.push(Command::Collect { revision, amount, currency: euro(), token });
        }
    }

    fn amend(&mut self) {
        if matches!(self.order, Order::Pending | Order::Reserved) {
            self.order = Order::Pending;
            self.revision += 1;
            self.order_events.push(Command::Amend { revision: self.revision, amount: self.total() });
        }
    }

    fn kill(&mut self) {
        if self.order != Order::Dead {
            self.order = Order::Dead;
            self.order_events.push(Command::Close);
        }
    }

    fn payment_to_order(&mut self) {
        let Some(event) = self.events.get(self.events_read) else { return };
        self.events_read += 1;
        match event {
            PaymentEvent::Authorized(money)
                if self.order == Order::Reserved && (money.revision, money.amount) == (self.revision, self.total()) =>
            {
                self.order = Order::Confirmed(money.payment_id);
                self.order_events.push(Command::Capture { payment: money.payment_id });
            }
            PaymentEvent::Declined(declined)
                if self.order == Order::Reserved && declined.for_good && declined.revision == self.revision =>
            {
                self.kill();
            }
            _ => {}
        }
    }

    // The payment.

    fn order_to_payment(&mut self) {
        if let Some(command) = self.order_events.get(self.orders_read).cloned() {
            self.orders_read += 1;
            self.command(&command);
            self.command(&command);
        }
    }

    fn command(&mut self, command: &Command) {
        self.attempts += 1;
        for event in self.account.decide(command, Uuid::from_u128(self.attempts)).unwrap_or_default() {
            self.account.evolve(&event);
            self.events.push(event);
        }
        let live = Account::attempts(ORDER, &self.events);
        assert!(live.iter().filter(|payment| payment.status.is_live()).count() <= 1, "{:?}", self.events);
    }

    fn answer(&mut self, which: usize, again: bool) {
        if self.answers.is_empty() {
            return;
        }
        let which = which % self.answers.len();
        let answer = if again { self.answers[which].clone() } else { self.answers.swap_remove(which) };
        self.command(&answer);
    }

    // The provider.

    fn arrive(&mut self, which: usize) {
        if self.requests.is_empty() {
            return;
        }
        let call = self.requests.swap_remove(which % self.requests.len());
        let held = |world: &Self| world.charges.values().map(|charge| charge.captured).sum::<i64>();
        let before = held(self);
        let (charge, answer) = settle(self.charges.remove(&call.key), &call);
        self.charges.extend(charge.map(|charge| (call.key, charge)));
        self.captures += usize::from(held(self) > before);
        if answer == Ok(Outcome::NotFound) && call.wanted {
            self.requests.push(Call { step: Step::Authorize, ..call });
        } else {
            self.answers.push(Command::Answer { payment: call.key, step: call.step, result: answer });
        }
        let live = |charge: &&Charge| matches!(charge.status, ChargeStatus::Authorized | ChargeStatus::Captured);
        assert!(self.charges.values().filter(live).count() <= 1, "{:?}", self.charges);
    }

    fn give_up(&mut self, which: usize) {
        if !self.requests.is_empty() {
            let call = &self.requests[which % self.requests.len()];
            let (payment, step) = (call.key, call.step);
            self.answers.push(Command::Answer { payment, step, result: Err(CallError::Timeout) });
        }
    }

    // The end.

    /// Lets everything arrive that is on its way, until nothing is.
    fn come_to_rest(&mut self) {
        for _ in 0..ROUNDS {
            let seen = (self.orders_read, self.events_read, self.events.len(), self.order_events.len());
            self.order_to_payment();
            self.payment_to_order();
            self.happen(&Happening::Ask);
            while !self.requests.is_empty() {
                self.arrive(0);
            }
            while !self.answers.is_empty() {
                self.answer(0, false);
            }
            let now = (self.orders_read, self.events_read, self.events.len(), self.order_events.len());
            if seen == now && self.account.next_call().is_none() {
                return;
            }
        }
        panic!("no rest after {ROUNDS} rounds: {self:#?}");
    }

    fn judge(&self) {
        assert!(self.captures <= 1, "{self:#?}");
        let net: i64 = self.charges.values().map(|charge| charge.captured - charge.refunded).sum();
        let held = self.charges.values().any(|charge| charge.status == ChargeStatus::Authorized);
        match self.order {
            Order::Confirmed(payment) => {
                assert_eq!(net, self.total(), "{self:#?}");
                assert_eq!(self.charges[&payment].captured, self.total());
            }
            _ => assert_eq!(net, 0, "{self:#?}"),
        }
        assert!(!held, "{self:#?}");
        let lines: Vec<_> = self.events.iter().flat_map(postings).collect();
        let balance =
            |account| lines.iter().filter(|line| line.account == account).map(|line| line.amount).sum::<i64>();
        assert_eq!((balance(LedgerAccount::Provider), balance(LedgerAccount::Sales)), (net, -net));
        assert_eq!(Account::fold(ORDER, &self.events), self.account);
    }
}

fn happenings() -> impl Strategy<Value = Happening> {
    let token = prop_oneof![Just("tok_ok"), Just("tok_insufficient_funds"), Just("tok_declined")];
    prop_oneof![
        3 => Just(Happening::Reserve),
        1 => Just(Happening::Amend),
        1 => Just(Happening::Kill),
        2 => token.prop_map(Happening::Pay),
        6 => Just(Happening::OrderToPayment),
        6 => Just(Happening::PaymentToOrder),
        6 => Just(Happening::Ask),
        6 => any::<usize>().prop_map(Happening::Arrive),
        2 => any::<usize>().prop_map(Happening::GiveUp),
        6 => any::<(usize, bool)>().prop_map(|(which, again)| Happening::Answer(which, again)),
    ]
}

fn methods() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![Just(None), Just(Some("tok_ok")), Just(Some("tok_insufficient_funds")), Just(Some("tok_declined"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// A confirmed order is paid in full, once; any other ends with nothing held and nothing kept.
    #[test]
    fn money_ends_where_the_order_says(
        method in methods(),
        happenings in proptest::collection::vec(happenings(), 0..80),
    ) {
        let mut world = World::new(method);
        for happening in &happenings {
            world.happen(happening);
        }
        world.come_to_rest();
        if !matches!(world.order, Order::Confirmed(_)) {
            world.kill();
            world.come_to_rest();
        }
        world.judge();
    }
}
