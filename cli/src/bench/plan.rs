//! The orders of a run. An order follows from the seed and its number alone, so that a run can be repeated.

use hyper::body::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::BenchSettings;
use super::mix::{Mix, Twist};

/// Units of each product that a run puts on hand: no run orders as many.
pub(super) const ON_HAND: i64 = 1_000_000_000;
/// The most lines of an order; a basket is small.
const MAX_LINES: u64 = 4;
/// The most units on a line.
const MAX_QUANTITY: u64 = 3;
/// The dearest unit, in cents.
const MAX_PRICE: u64 = 20_000;
/// Orders for each customer, about.
const ORDERS_OF_A_CUSTOMER: u32 = 4;
const CURRENCY: &str = "EUR";
/// A product that is never put on hand.
const NO_SUCH_PRODUCT: &str = "bench-none";

/// What the orders of a run are drawn from.
#[derive(Debug)]
pub(super) struct Plan {
    /// Tells this run's customers and idempotency keys from another run's with the same seed.
    pub run: Uuid,
    pub seed: u64,
    pub mix: Mix,
    pub products: u32,
    pub customers: u32,
    /// Lines of every order; one to [`MAX_LINES`] without it.
    pub lines: Option<u8>,
    /// Whether the first product is in every order.
    pub hot: bool,
}

/// One order of the plan.
#[derive(Debug, PartialEq)]
pub(super) struct PlannedOrder {
    pub number: u32,
    pub twist: Twist,
    pub total: i64,
    body: Body,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    customer_id: String,
    currency: &'static str,
    lines: Vec<Line>,
    payment: Payment,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    product_id: String,
    quantity: u64,
    unit_price: u64,
}

#[derive(Debug, PartialEq, Serialize)]
struct Payment {
    token: &'static str,
}

/// How an order must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Confirmed,
    OutOfStock,
    PaymentDeclined,
    Cancelled,
    Expired,
}

impl Plan {
    pub(super) fn new(settings: &BenchSettings) -> Self {
        let BenchSettings { seed, mix, products, lines, hot, .. } = *settings;
        Self {
            run: Uuid::now_v7(),
            seed,
            mix,
            products,
            lines,
            hot,
            customers: settings.orders / ORDERS_OF_A_CUSTOMER + 1,
        }
    }

    /// The ids of the products that there is stock of.
    pub(super) fn product(number: u32) -> String {
        format!("bench-{number}")
    }

    /// What the ids of this run's customers begin with.
    pub(super) fn customer_prefix(&self) -> String {
        format!("bench-{}-", self.run.simple())
    }

    /// The idempotency key of an order.
    pub(super) fn key(&self, number: u32) -> String {
        format!("bench-{}-{number}", self.run.simple())
    }

    /// The order of this number.
    pub(super) fn order(&self, number: u32) -> PlannedOrder {
        let mut draw = Draw::of(self.seed, number);
        let twist = self.mix.twist(u8::try_from(draw.below(100)).unwrap_or_default());
        let customer = draw.below(self.customers.into());
        let mut lines = self.lines(&mut draw);
        if twist == Twist::OutOfStock {
            lines.push(Line { product_id: NO_SUCH_PRODUCT.to_owned(), quantity: 1, unit_price: 1 });
        }
        let token = if twist == Twist::Declined { "tok_declined" } else { "tok_ok" };
        let customer_id = format!("{}{customer}", self.customer_prefix());
        let total = lines.iter().map(|line| line.quantity * line.unit_price).sum::<u64>();
        PlannedOrder {
            number,
            twist,
            total: i64::try_from(total).unwrap_or(i64::MAX),
            body: Body { customer_id, currency: CURRENCY, lines, payment: Payment { token } },
        }
    }

    /// The lines that replace those of an amended order.
    pub(super) fn amendment(&self, number: u32) -> Bytes {
        #[derive(Serialize)]
        struct Amendment {
            lines: Vec<Line>,
        }
        json(&Amendment { lines: self.lines(&mut Draw::of(!self.seed, number)) })
    }

    fn lines(&self, draw: &mut Draw) -> Vec<Line> {
        let lines = self.lines.map_or_else(|| 1 + draw.below(MAX_LINES), u64::from);
        (0..lines).map(|number| self.line(draw, self.hot && number == 0)).collect()
    }

    fn line(&self, draw: &mut Draw, hot: bool) -> Line {
        // The smaller of two draws: the first products sell most, as in any shop.
        let product = draw.below(self.products.into()).min(draw.below(self.products.into()));
        let product = if hot { 0 } else { product };
        Line {
            product_id: Self::product(u32::try_from(product).unwrap_or_default()),
            quantity: 1 + draw.below(MAX_QUANTITY),
            unit_price: 1 + draw.below(MAX_PRICE),
        }
    }
}

impl PlannedOrder {
    /// The body of the request that places it.
    pub(super) fn body(&self) -> Bytes {
        json(&self.body)
    }

    /// How it must end, whatever happens on the way.
    pub(super) fn end(&self) -> End {
        match self.twist {
            Twist::Plain | Twist::Amended | Twist::Duplicated => End::Confirmed,
            Twist::OutOfStock => End::OutOfStock,
            Twist::Declined => End::PaymentDeclined,
            Twist::Cancelled => End::Cancelled,
        }
    }

    /// Whether it is left alone once it is placed, so that its way from placed to settled is the system's own.
    pub(super) fn is_left_alone(&self) -> bool {
        matches!(self.twist, Twist::Plain | Twist::OutOfStock | Twist::Declined)
    }
}

/// JSON of what is written in this file: names and numbers, which JSON can always hold.
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Numbers that look random and follow from the seed: `SplitMix64` (Steele, Lea, Flood 2014).
struct Draw(u64);

impl Draw {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    fn of(seed: u64, number: u32) -> Self {
        // Far apart on the generator's orbit: one scrambled step per number, so that neighbours share nothing.
        let mut orbit = Self(seed.wrapping_add(u64::from(number).wrapping_mul(Self::STEP)));
        Self(orbit.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..bound`; the bias of the remainder is below a billionth for the bounds used here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        Plan { run: Uuid::nil(), seed, mix: Mix::REAL, products: 500, customers: 5000, lines: None, hot: false }
    }

    #[test]
    fn an_order_follows_from_the_seed_and_its_number() {
        for number in 0..100 {
            assert_eq!(plan(7).order(number), plan(7).order(number));
            assert_eq!(plan(7).amendment(number), plan(7).amendment(number));
            assert_ne!(plan(7).order(number), plan(8).order(number));
            assert_ne!(plan(7).order(number).body, plan(7).order(number + 1).body);
        }
    }

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        // From the reference implementation (prng.di.unimi.it/splitmix64.c) with the seed 1234567.
        let mut draw = Draw(1_234_567);
        let numbers = [draw.next(), draw.next(), draw.next()];
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn the_shares_of_the_mix_are_met_about() {
        let plan = plan(1);
        let ends = |end| (0..20_000).filter(|number| plan.order(*number).end() == end).count();
        assert!((500..700).contains(&ends(End::OutOfStock)), "{}", ends(End::OutOfStock));
        assert!((700..900).contains(&ends(End::PaymentDeclined)), "{}", ends(End::PaymentDeclined));
        assert!((700..900).contains(&ends(End::Cancelled)), "{}", ends(End::Cancelled));
    }

    #[test]
    fn lines_and_a_hot_product_are_as_asked_for() {
        let plan = Plan { lines: Some(2), hot: true, ..plan(1) };
        for number in 0..100 {
            let lines = plan.order(number).body.lines;
            assert_eq!(lines.len(), 2 + usize::from(plan.order(number).twist == Twist::OutOfStock));
            assert_eq!(lines[0].product_id, Plan::product(0));
        }
    }

    #[test]
    fn an_order_is_what_the_api_takes() {
        let plan = Plan { mix: Mix { out_of_stock: 100, ..Mix::PLAIN }, ..plan(1) };
        let order = plan.order(3);
        let body: serde_json::Value = serde_json::from_slice(&order.body()).expect("is JSON");
        let lines = body["lines"].as_array().expect("has lines");
        let number = |line: &serde_json::Value, name| line[name].as_i64().expect("is a number");
        let sum: i64 = lines.iter().map(|line| number(line, "quantity") * number(line, "unitPrice")).sum();
        assert_eq!(sum, order.total);
        assert_eq!(lines.last().expect("has lines")["productId"], NO_SUCH_PRODUCT);
        assert_eq!(body["payment"]["token"], "tok_ok");
        assert_eq!(body["currency"], "EUR");
        assert!(body["customerId"].as_str().expect("has one").starts_with(&plan.customer_prefix()));
    }
}
