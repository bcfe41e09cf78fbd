//! What clients want, and in what proportion.

use serde_json::{Value, json};

use super::random::Random;
use crate::shop;

/// Products of which there are plenty. Few, so that orders meet at them.
pub const PRODUCTS: usize = 6;
/// Units of each that are put on hand.
pub const PLENTY: i64 = 10_000_000;
/// A product of which there is not enough for all who want it, and how many there are.
pub const SCARCE: (&str, i64) = ("scarce", 200);
/// A product of which there is nothing.
const NOTHING: &str = "nothing";

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// An order that is paid.
    Plain,
    /// The same, without a key; it is sent once, whatever comes of it.
    Keyless,
    /// The same, sent twice at once under one key.
    Twice,
    /// An order whose payment is declined for good.
    Declined,
    /// An order whose payment is declined, and then paid by other means.
    PaidLater,
    /// An order that nobody pays.
    Unpaid,
    /// An order that is called off at some time.
    Cancelled,
    /// An order whose lines are replaced before it is paid.
    Amended,
    /// An order whose payment takes seconds.
    Slow,
    /// The same, called off while it is being paid.
    SlowCancelled,
    /// An order whose payment is answered by nobody.
    Unanswered,
    /// An order for what there is not enough of.
    Scarce,
    /// An order for what there is nothing of.
    Short,
    /// An adjustment of stock.
    Adjusted,
    /// A count of stock.
    Counted,
}

/// Scripts in the proportion in which they come.
pub const SCRIPTS: [Script; 20] = [
    Script::Plain,
    Script::Plain,
    Script::Plain,
    Script::Plain,
    Script::Plain,
    Script::Keyless,
    Script::Twice,
    Script::Twice,
    Script::Twice,
    Script::Cancelled,
    Script::Cancelled,
    Script::Cancelled,
    Script::Amended,
    Script::Amended,
    Script::PaidLater,
    Script::Declined,
    Script::Unanswered,
    Script::Scarce,
    Script::Short,
    Script::Adjusted,
];

/// Scripts that take long and come now and then only.
pub const SELDOM: [Script; 4] = [Script::Slow, Script::SlowCancelled, Script::Unpaid, Script::Counted];

/// The name of a product.
pub fn product(number: usize) -> String {
    format!("product-{number}")
}

/// An order, as its client sends it. Neighbouring orders name their products in different orders.
pub fn body(number: u32, script: Script, random: &mut Random) -> Value {
    let token = match script {
        Script::Declined => Some("tok_declined"),
        Script::PaidLater => Some("tok_insufficient_funds"),
        Script::Unpaid => None,
        Script::Amended => random.happens(50).then_some("tok_ok"),
        Script::Slow | Script::SlowCancelled => Some("tok_slow"),
        Script::Unanswered => Some("tok_timeout_then_ok"),
        _ => Some("tok_ok"),
    };
    let mut products: Vec<String> = (0..=random.below(3)).map(|_| product(random.below(PRODUCTS))).collect();
    match script {
        Script::Scarce => products.push(SCARCE.0.to_owned()),
        Script::Short => products.push(NOTHING.to_owned()),
        _ => {}
    }
    let products = random.shuffled(&products);
    let lines: Vec<(&str, i64)> = products.iter().map(|product| (product.as_str(), 1)).collect();
    let mut body = shop::order(&lines, token);
    body["customerId"] = json!(customer(number));
    body
}

/// The name of the client `number`.
pub fn customer(number: u32) -> String {
    format!("client-{number}")
}
