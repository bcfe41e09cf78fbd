//! What a request's body asks for, checked: everything that is wrong with it is told at once.

use std::fmt::Display;
use std::ops::RangeInclusive;

use contract::{
    Currency, ProductId,
    order::{Line, PaymentMethod},
    payment::is_card_number,
};
use process::{Problem, Violation};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::order::{Amendment, Overflow, Place, total};

/// The most lines of an order: one product each, it is more than a cart holds, and a batch stays small.
const MAX_LINES: usize = 1_000;
/// Units of one line.
const QUANTITIES: RangeInclusive<i64> = 1..=1_000_000_000;
/// The longest reason of a cancellation, in characters.
const MAX_REASON_CHARACTERS: usize = 500;
/// What is said to who sends a card's number for its token.
const NO_CARD: &str = "must be the payment provider's token, not a card number";

/// The longest token of a payment method, in characters: providers' tokens have some dozens.
const MAX_TOKEN_CHARACTERS: usize = 255;

/// An order to place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PlaceOrder {
    /// Who orders.
    #[schema(min_length = 1, max_length = 128, example = "customer-1")]
    customer_id: String,
    /// The ISO 4217 code of the currency of every price.
    #[schema(pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: String,
    /// What is ordered.
    #[schema(min_items = 1, max_items = 1000)]
    lines: Vec<OrderLine>,
    /// How it will be paid; without it, a payment is expected from `POST /payments`.
    payment: Option<OrderPayment>,
}

/// New lines for an order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AmendOrder {
    /// What is ordered instead.
    #[schema(min_items = 1, max_items = 1000)]
    lines: Vec<OrderLine>,
}

/// An order to call off.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CancelOrder {
    /// Why.
    #[schema(min_length = 1, max_length = 500, example = "changed my mind")]
    reason: String,
}

/// So many of one product at one price.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OrderLine {
    /// The product.
    #[schema(min_length = 1, max_length = 128, example = "SKU-1")]
    product_id: String,
    /// How many units.
    #[schema(minimum = 1, maximum = 1_000_000_000, example = 2)]
    quantity: i64,
    /// The price of one unit, in the currency's minor unit.
    #[schema(minimum = 0, example = 1999)]
    unit_price: i64,
    /// The price's currency, which can only be the order's.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
}

/// How an order will be paid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OrderPayment {
    /// The provider's token for the customer's card or account.
    #[schema(min_length = 1, max_length = 255, example = "tok_ok")]
    token: String,
}

/// Lines that are as they should be.
struct CheckedLines {
    lines: Vec<Line>,
    total: i64,
    /// The currencies that lines name, with the lines' places.
    named: Vec<(usize, Currency)>,
}

/// Everything that was found wrong so far.
#[derive(Default)]
struct Violations(Vec<Violation>);

impl PlaceOrder {
    /// The order, if nothing is wrong with it.
    pub fn check(self) -> Result<Place, Problem> {
        let mut violations = Violations::default();
        let customer_id = violations.take("/customerId", self.customer_id.try_into());
        let currency = violations.take("/currency", Currency::try_from(self.currency.as_str()));
        let lines = violations.lines(self.lines);
        if let (Some(currency), Some(lines)) = (currency, &lines) {
            for (line, _) in lines.named.iter().filter(|(_, named)| *named != currency) {
                violations.add(format!("/lines/{line}/currency"), format!("must be the order's, {currency}"));
            }
        }
        if let Some(payment) = &self.payment {
            violations.require(is_token(&payment.token), "/payment/token", &token_rule());
            violations.require(!is_card_number(&payment.token), "/payment/token", NO_CARD);
        }
        let payment = self.payment.map(|OrderPayment { token }| PaymentMethod { token });
        violations.unless_any(|| {
            let CheckedLines { lines, total, .. } = lines?;
            Some(Place { customer_id: customer_id?, currency: currency?, lines, total, payment })
        })
    }
}

impl AmendOrder {
    /// The lines, if nothing is wrong with them.
    pub fn check(self) -> Result<Amendment, Problem> {
        let mut violations = Violations::default();
        let lines = violations.lines(self.lines);
        violations.unless_any(|| {
            let CheckedLines { lines, total, named } = lines?;
            Some(Amendment { lines, total, named })
        })
    }
}

impl CancelOrder {
    /// The reason, if nothing is wrong with it.
    pub fn check(self) -> Result<String, Problem> {
        let mut violations = Violations::default();
        let characters = self.reason.chars().count();
        let fits = (1..=MAX_REASON_CHARACTERS).contains(&characters);
        violations.require(fits, "/reason", &format!("must have 1 to {MAX_REASON_CHARACTERS} characters"));
        let is_text = !self.reason.chars().any(|c| c.is_control() && !c.is_whitespace());
        violations.require(is_text, "/reason", "must have no control characters");
        violations.unless_any(|| Some(self.reason))
    }
}

impl Violations {
    fn add(&mut self, pointer: String, rule: impl Display) {
        self.0.push(Violation::new(pointer, rule.to_string()));
    }

    fn require(&mut self, holds: bool, pointer: &str, rule: &str) {
        if !holds {
            self.add(pointer.to_owned(), rule);
        }
    }

    fn take<T, E: Display>(&mut self, pointer: impl Into<String>, checked: Result<T, E>) -> Option<T> {
        checked.map_err(|rule| self.add(pointer.into(), rule)).ok()
    }

    /// The lines, if nothing is wrong with any. Of too many nothing else is told: it would be too much.
    fn lines(&mut self, lines: Vec<OrderLine>) -> Option<CheckedLines> {
        if !(1..=MAX_LINES).contains(&lines.len()) {
            self.add("/lines".to_owned(), format_args!("must be 1 to {MAX_LINES}, not {}", lines.len()));
            return None;
        }
        let count = lines.len();
        let mut checked = Vec::with_capacity(count);
        let mut named = Vec::new();
        for (index, line) in lines.into_iter().enumerate() {
            named.extend(self.line_currency(index, line.currency.as_deref()).map(|currency| (index, currency)));
            checked.extend(self.line(index, line));
        }
        let total = if checked.len() == count { self.total(&checked) } else { None };
        Some(CheckedLines { lines: checked, total: total?, named })
    }

    fn line(&mut self, index: usize, line: OrderLine) -> Option<Line> {
        let OrderLine { product_id, quantity, unit_price, .. } = line;
        let product_id: Option<ProductId> = self.take(format!("/lines/{index}/productId"), product_id.try_into());
        let good_quantity = QUANTITIES.contains(&quantity);
        if !good_quantity {
            let rule = format_args!("must be {} to {}", QUANTITIES.start(), QUANTITIES.end());
            self.add(format!("/lines/{index}/quantity"), rule);
        }
        if unit_price < 0 {
            self.add(format!("/lines/{index}/unitPrice"), "must not be negative");
        }
        let product_id = product_id.filter(|_| good_quantity && unit_price >= 0)?;
        Some(Line { product_id, quantity, unit_price })
    }

    fn line_currency(&mut self, index: usize, currency: Option<&str>) -> Option<Currency> {
        self.take(format!("/lines/{index}/currency"), Currency::try_from(currency?))
    }

    fn total(&mut self, lines: &[Line]) -> Option<i64> {
        let rule = "the total is beyond 9223372036854775807";
        match total(lines) {
            Ok(total) => return Some(total),
            Err(Overflow::Line(index)) => self.add(format!("/lines/{index}"), rule),
            Err(Overflow::Sum) => self.add("/lines".to_owned(), rule),
        }
        None
    }

    /// What was asked for, or all that is wrong with it.
    fn unless_any<T>(self, asked: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        let asked = if self.0.is_empty() { asked() } else { None };
        asked.ok_or_else(|| Problem::validation_failed(self.0))
    }
}

fn is_token(token: &str) -> bool {
    let characters = token.chars().count();
    (1..=MAX_TOKEN_CHARACTERS).contains(&characters) && !token.chars().any(|c| c.is_control() || c.is_whitespace())
}

fn token_rule() -> String {
    format!("must have 1 to {MAX_TOKEN_CHARACTERS} visible characters")
}

#[cfg(test)]
mod tests;
