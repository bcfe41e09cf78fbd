//! What the order service is told from outside.

use chrono::TimeDelta;
use clap::{Args, value_parser};
use contract::env;
use journal::JournalSettings;

use crate::order::Policy;

/// How long an order waits for stock and payment unless something else is said.
pub const DEFAULT_PAYMENT_TIMEOUT: &str = "15m";

/// Declined attempts after which an order is rejected unless something else is said.
pub const DEFAULT_PAYMENT_ATTEMPTS: i32 = 3;

/// Settings of the order service.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where its journal is
    #[command(flatten)]
    pub journal: JournalSettings,
    /// How long an order waits for stock and payment: a number with `s`, `m`, `h` or `d`, up to 90d
    #[arg(long, env = env::PAYMENT_TIMEOUT, value_name = "TIME", default_value = DEFAULT_PAYMENT_TIMEOUT, value_parser = env::payment_timeout)]
    pub payment_timeout: TimeDelta,
    /// Declined attempts after which an order is rejected
    #[arg(long, env = env::PAYMENT_ATTEMPTS, value_name = "ATTEMPTS", default_value_t = DEFAULT_PAYMENT_ATTEMPTS, value_parser = value_parser!(i32).range(env::PAYMENT_ATTEMPTS_RANGE))]
    pub payment_attempts: i32,
}

impl Settings {
    /// The part of it that orders are decided by.
    pub fn policy(&self) -> Policy {
        Policy { payment_timeout: self.payment_timeout, payment_attempts: self.payment_attempts }
    }
}
