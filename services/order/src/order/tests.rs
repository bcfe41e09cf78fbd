//! The lifecycle, given–when–then: a history, then a command or a fact, then the event that comes of it.

mod legal;
mod properties;
mod races;
mod refused;

use chrono::{DateTime, TimeDelta, Utc};
use contract::{
    Currency,
    order::{OrderEvent, PaymentMethod, PaymentStatus},
    stock::Shortage,
};
use uuid::Uuid;

use super::fixtures::*;
use super::*;

const ID: Uuid = Uuid::from_u128(1);

/// An order with its history, as the journal would keep it.
struct Story {
    order: Order,
    events: Vec<(DateTime<Utc>, OrderEvent)>,
    now: DateTime<Utc>,
}

impl Story {
    /// An order of two lines, 500 EUR cents in all, that says how it will be paid.
    fn placed() -> Self {
        Self::placed_with(Some(token()))
    }

    /// The same without a payment method.
    fn placed_unpaid() -> Self {
        Self::placed_with(None)
    }

    fn placed_with(payment: Option<PaymentMethod>) -> Self {
        let now = noon();
        let placed = place(payment).decide(POLICY, now);
        let order = Order::placed(ID, &placed, now);
        Self { order, events: vec![(now, OrderEvent::Placed(placed))], now }
    }

    fn reserved() -> Self {
        Self::placed().given(News::StockReserved)
    }

    fn confirmed() -> Self {
        Self::reserved().given(authorized(500))
    }

    fn paid() -> Self {
        Self::confirmed().given(captured())
    }

    fn rejected() -> Self {
        Self::placed().given(News::StockRejected(shortages()))
    }

    fn cancelled() -> Self {
        Self::placed().given_command(&cancel())
    }

    fn expired() -> Self {
        let mut story = Self::placed();
        story.now += POLICY.payment_timeout;
        story.given_command(&Command::Expire)
    }

    /// One order in each status.
    fn in_every_status() -> [Self; 6] {
        [Self::placed(), Self::reserved(), Self::confirmed(), Self::rejected(), Self::cancelled(), Self::expired()]
    }

    /// What has happened already to the current revision.
    fn given(mut self, news: News) -> Self {
        let event = self.learn(news).expect("the fact fits");
        self.append(event);
        self
    }

    /// What was asked already.
    fn given_command(mut self, command: &Command) -> Self {
        let event = self.decide(command).expect("the command is legal").expect("it changes something");
        self.append(event);
        self
    }

    /// What comes of a fact about the current revision.
    fn learn(&self, news: News) -> Result<OrderEvent, Ignored> {
        self.learn_of(self.order.shown.revision, news)
    }

    fn learn_of(&self, revision: i32, news: News) -> Result<OrderEvent, Ignored> {
        learn(&self.order, &Fact { revision, news }, POLICY)
    }

    fn decide(&self, command: &Command) -> Result<Option<OrderEvent>, Refusal> {
        decide(&self.order, command, self.now)
    }

    fn append(&mut self, event: OrderEvent) {
        self.now += TimeDelta::seconds(1);
        self.order.apply(&event, self.now);
        self.events.push((self.now, event));
    }

    fn status(&self) -> (Status, PaymentStatus) {
        (self.order.shown.status, self.order.shown.payment_status)
    }

    fn folded(&self) -> Option<Order> {
        fold(ID, self.events.iter().map(|(at, event)| (*at, event)))
    }
}

fn usd() -> Currency {
    Currency::try_from("USD").expect("three letters")
}

fn shortages() -> Vec<Shortage> {
    vec![Shortage { product_id: "SKU-1".parse().expect("visible"), requested: 2, available: 1 }]
}

fn captured() -> News {
    News::PaymentCaptured { payment: PAYMENT, amount: 500 }
}

fn declined(for_good: bool) -> News {
    News::PaymentDeclined { payment: PAYMENT, code: "insufficient_funds".to_owned(), for_good }
}

fn cancel() -> Command {
    Command::Cancel { if_match: IfMatch::Any, reason: "changed my mind".to_owned() }
}

fn amend() -> Command {
    amend_if(IfMatch::Any)
}

fn amend_if(if_match: IfMatch) -> Command {
    let amendment = Amendment { lines: vec![line("SKU-3", 7, 100)], total: 700, named: Vec::new() };
    Command::Amend { if_match, amendment }
}

/// Every kind of news, each about an event that could have happened.
fn every_news() -> Vec<News> {
    vec![
        News::StockReserved,
        News::StockRejected(shortages()),
        News::PaymentStarted(PAYMENT),
        authorized(500),
        declined(false),
        declined(true),
        News::PaymentUnknown(PAYMENT),
        captured(),
        News::PaymentVoided(PAYMENT),
        News::PaymentRefunded(PAYMENT),
    ]
}
