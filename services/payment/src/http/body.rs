//! What clients ask for, checked: everything that is wrong with it is told at once.

use contract::payment::is_card_number;
use journal::idempotency::Key;
use process::{Problem, Violation};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::payment::Command;

/// The longest token, in characters; providers' tokens have some dozens. It is kept with each attempt.
const MAX_TOKEN_CHARACTERS: usize = 255;

/// A payment to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PaymentRequest {
    /// The order to pay.
    pub order_id: Uuid,
    /// The provider's token of the customer's card or account.
    #[schema(min_length = 1, max_length = 255, example = "tok_ok")]
    token: String,
    /// What the caller believes is due, in the minor unit; refused when it is not.
    #[schema(minimum = 0)]
    amount: Option<i64>,
}

/// Which payments are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// The order whose payments are wanted
    pub order_id: Uuid,
}

impl PaymentRequest {
    /// What is asked of the order's account.
    pub fn command(self) -> Result<Command, Problem> {
        let mut violations = Vec::new();
        let visible = |c: char| !c.is_control() && !c.is_whitespace();
        if !(1..=MAX_TOKEN_CHARACTERS).contains(&self.token.chars().count()) || !self.token.chars().all(visible) {
            let rule = format!("has 1 to {MAX_TOKEN_CHARACTERS} visible characters");
            violations.push(Violation::new("/token", rule));
        }
        if is_card_number(&self.token) {
            violations.push(Violation::new("/token", "is the payment provider's token, not a card number"));
        }
        if self.amount.is_some_and(i64::is_negative) {
            violations.push(Violation::new("/amount", "is at least 0"));
        }
        if violations.is_empty() {
            Ok(Command::Pay { token: self.token, amount: self.amount })
        } else {
            Err(Problem::validation_failed(violations))
        }
    }

    /// The idempotency key `text` for this request. Each order has keys of its own, which are settled in its lane.
    pub fn key(&self, text: &str) -> Key {
        Key::of(self.order_id.to_string(), text, &(&self.token, self.amount))
    }
}
