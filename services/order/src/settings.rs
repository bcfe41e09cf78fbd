//! What the order service is told from outside.

use std::ops::RangeInclusive;

use chrono::TimeDelta;
use clap::{Args, value_parser};
use contract::env;
use journal::JournalSettings;

use crate::order::Policy;

/// The longest payment timeout: 90 days. A hold on stock that outlives a season is a mistake in the settings.
const MAX_PAYMENT_TIMEOUT: TimeDelta = TimeDelta::days(90);

/// How long an order waits for stock and payment unless something else is said.
pub const DEFAULT_PAYMENT_TIMEOUT: &str = "15m";

/// Declined attempts after which an order is rejected unless something else is said.
pub const DEFAULT_PAYMENT_ATTEMPTS: i32 = 3;

/// Declined attempts that may be allowed. Providers block whoever tries more often.
pub const PAYMENT_ATTEMPTS: RangeInclusive<i64> = 1..=100;

/// Settings of the order service.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where its journal is
    #[command(flatten)]
    pub journal: JournalSettings,
    /// How long an order waits for stock and payment: a number with `s`, `m`, `h` or `d`, up to 90d
    #[arg(long, env = env::PAYMENT_TIMEOUT, value_name = "TIME", default_value = DEFAULT_PAYMENT_TIMEOUT, value_parser = payment_timeout)]
    pub payment_timeout: TimeDelta,
    /// Declined attempts after which an order is rejected
    #[arg(long, env = env::PAYMENT_ATTEMPTS, value_name = "ATTEMPTS", default_value_t = DEFAULT_PAYMENT_ATTEMPTS, value_parser = value_parser!(i32).range(PAYMENT_ATTEMPTS))]
    pub payment_attempts: i32,
}

impl Settings {
    /// The part of it that orders are decided by.
    pub fn policy(&self) -> Policy {
        Policy { payment_timeout: self.payment_timeout, payment_attempts: self.payment_attempts }
    }
}

/// Why a text is no payment timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTimeout {
    /// It is not a number with a unit.
    #[error("a whole number with s, m, h or d, such as 15m")]
    Form,
    /// It is too short or too long.
    #[error("from 1s to 90d")]
    Range,
}

/// Reads a payment timeout, such as `15m`.
pub fn payment_timeout(text: &str) -> Result<TimeDelta, NoTimeout> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let count: i64 = digits.parse().map_err(|_| NoTimeout::Form)?;
    let timeout = match &text[digits.len()..] {
        "s" => TimeDelta::try_seconds(count),
        "m" => TimeDelta::try_minutes(count),
        "h" => TimeDelta::try_hours(count),
        "d" => TimeDelta::try_days(count),
        _ => return Err(NoTimeout::Form),
    };
    let in_range = |timeout: &TimeDelta| (TimeDelta::seconds(1)..=MAX_PAYMENT_TIMEOUT).contains(timeout);
    timeout.filter(in_range).ok_or(NoTimeout::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_number_with_a_unit() {
        assert_eq!(payment_timeout("90s"), Ok(TimeDelta::seconds(90)));
        assert_eq!(payment_timeout("15m"), Ok(TimeDelta::minutes(15)));
        assert_eq!(payment_timeout("2h"), Ok(TimeDelta::hours(2)));
        assert_eq!(payment_timeout("90d"), Ok(MAX_PAYMENT_TIMEOUT));
    }

    #[test]
    fn anything_else_is_no_timeout() {
        for text in ["", "m", "15", "15 m", "1.5h", "15w", "15µ"] {
            assert_eq!(payment_timeout(text), Err(NoTimeout::Form), "{text}");
        }
        for text in ["0s", "-1m", "91d", "9223372036854775807d"] {
            assert_eq!(payment_timeout(text), Err(NoTimeout::Range), "{text}");
        }
    }
}
