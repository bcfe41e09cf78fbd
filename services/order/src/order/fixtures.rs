//! An order for tests: two lines, 500 EUR cents in all.

use chrono::{DateTime, TimeDelta, Utc};
use contract::{
    Currency, CustomerId,
    order::{Line, OrderEvent, PaymentMethod},
};
use uuid::Uuid;

use super::{Fact, News, Order, Place, Policy, fold, learn};

pub(crate) const PAYMENT: Uuid = Uuid::from_u128(2);
pub(crate) const POLICY: Policy = Policy { payment_timeout: TimeDelta::minutes(15), payment_attempts: 3 };

pub(crate) fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("in range")
}

pub(crate) fn customer() -> CustomerId {
    "customer-1".parse().expect("visible")
}

pub(crate) fn eur() -> Currency {
    Currency::try_from("EUR").expect("three letters")
}

pub(crate) fn token() -> PaymentMethod {
    PaymentMethod { token: "tok_ok".to_owned() }
}

pub(crate) fn line(product: &str, quantity: i64, unit_price: i64) -> Line {
    Line { product_id: product.parse().expect("visible"), quantity, unit_price }
}

pub(crate) fn lines() -> Vec<Line> {
    vec![line("SKU-1", 2, 200), line("SKU-2", 1, 100)]
}

pub(crate) fn place(payment: Option<PaymentMethod>) -> Place {
    Place { customer_id: customer(), currency: eur(), lines: lines(), total: 500, payment }
}

pub(crate) fn authorized(amount: i64) -> News {
    News::PaymentAuthorized { payment: PAYMENT, amount, currency: eur() }
}

/// The events of an order that is placed, reserved and confirmed.
pub(crate) fn confirmed_events() -> Vec<(DateTime<Utc>, OrderEvent)> {
    let mut events = vec![(noon(), OrderEvent::Placed(place(Some(token())).decide(POLICY, noon())))];
    for news in [News::StockReserved, authorized(500)] {
        let order = folded(Uuid::nil(), &events);
        let event = learn(&order, &Fact { revision: 1, news }, POLICY).expect("fits");
        events.push((order.shown.updated_at + TimeDelta::seconds(1), event));
    }
    events
}

/// The order `id`, just placed.
pub(crate) fn pending(id: Uuid) -> Order {
    folded(id, &confirmed_events()[..1])
}

/// The order `id`, confirmed.
pub(crate) fn confirmed(id: Uuid) -> Order {
    folded(id, &confirmed_events())
}

fn folded(id: Uuid, events: &[(DateTime<Utc>, OrderEvent)]) -> Order {
    fold(id, events.iter().map(|(at, event)| (*at, event))).expect("placed")
}
