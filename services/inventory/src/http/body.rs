//! Request bodies, and what they have to keep to.

use contract::ProductId;
use process::{Problem, Violation};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::stock::{Adjustment, Command, MAX_ON_HAND};

/// The longest reason, in characters: a sentence.
const MAX_REASON_CHARACTERS: usize = 200;
/// The longest reference, in characters: as long as the caller's other names.
const MAX_REFERENCE_CHARACTERS: usize = 128;

/// What was counted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CountStock {
    /// Units on hand: available and reserved together.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    on_hand: i64,
}

/// Units to add or to take, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AdjustStock {
    /// Units to add, or to take when negative; not 0.
    #[schema(minimum = -1_000_000_000_000_i64, maximum = 1_000_000_000_000_i64)]
    delta: i64,
    /// Why.
    #[schema(min_length = 1, max_length = 200, example = "three were broken")]
    reason: String,
    /// The caller's own reference.
    #[schema(max_length = 128)]
    reference: Option<String>,
}

impl CountStock {
    /// The command, once it is known to be possible.
    pub fn command(&self, product: ProductId) -> Result<Command, Problem> {
        if (0..=MAX_ON_HAND).contains(&self.on_hand) {
            return Ok(Command::Count { product, on_hand: self.on_hand });
        }
        Err(Problem::validation_failed([Violation::new("/onHand", format!("must be 0 to {MAX_ON_HAND}"))]))
    }
}

impl AdjustStock {
    /// The adjustment, once it is known to be possible.
    pub fn adjustment(self, product: ProductId) -> Result<Adjustment, Problem> {
        let possible = (-MAX_ON_HAND..=MAX_ON_HAND).contains(&self.delta) && self.delta != 0;
        let delta = || Violation::new("/delta", format!("must be 1 to {MAX_ON_HAND}, or as many less than 0"));
        let reference = self.reference.as_deref().unwrap_or_default();
        let violations: Vec<Violation> = [
            (!possible).then(delta),
            misfit("/reason", &self.reason, 1, MAX_REASON_CHARACTERS),
            misfit("/reference", reference, 0, MAX_REFERENCE_CHARACTERS),
        ]
        .into_iter()
        .flatten()
        .collect();
        if violations.is_empty() {
            let Self { delta, reason, reference } = self;
            Ok(Adjustment { product, delta, reason, reference })
        } else {
            Err(Problem::validation_failed(violations))
        }
    }
}

/// What is wrong with a text that people write.
fn misfit(pointer: &str, text: &str, min: usize, max: usize) -> Option<Violation> {
    if !(min..=max).contains(&text.chars().count()) {
        return Some(Violation::new(pointer, format!("must have {min} to {max} characters")));
    }
    text.contains(char::is_control).then(|| Violation::new(pointer, "must not have control characters"))
}
