//! Names of the environment variables that configure a process: the seam between the operator, which writes them, and
//! each service's settings, which parse them; and the bounds of what both of them read.

use std::ops::RangeInclusive;

use chrono::TimeDelta;

/// PostgreSQL connection URL.
pub const DATABASE_URL: &str = "ORDERSYSTEM_DATABASE_URL";
/// Name of the order system: the prefix of its topics and consumer groups.
pub const NAME: &str = "ORDERSYSTEM_NAME";
/// Number of lanes, the partitions of every topic.
pub const LANES: &str = "ORDERSYSTEM_LANES";
/// Address that HTTP is served on.
pub const LISTEN: &str = "ORDERSYSTEM_LISTEN";
/// `text` or `json`.
pub const LOG_FORMAT: &str = "ORDERSYSTEM_LOG_FORMAT";
/// Kafka's `host:port` list; without it, services read each other's journals.
pub const KAFKA_BOOTSTRAP_SERVERS: &str = "ORDERSYSTEM_KAFKA_BOOTSTRAP_SERVERS";
/// Replicas of each topic that a service creates when it finds none.
pub const KAFKA_REPLICATION_FACTOR: &str = "ORDERSYSTEM_KAFKA_REPLICATION_FACTOR";
/// Path of the PEM file with the certificate authority that signed the brokers' certificates.
pub const KAFKA_CA_FILE: &str = "ORDERSYSTEM_KAFKA_CA_FILE";
/// Path of the PEM file with our client certificate.
pub const KAFKA_CERTIFICATE_FILE: &str = "ORDERSYSTEM_KAFKA_CERTIFICATE_FILE";
/// Path of the PEM file with our client key.
pub const KAFKA_KEY_FILE: &str = "ORDERSYSTEM_KAFKA_KEY_FILE";
/// `true` to speak TLS with the system's certificate authorities when no CA file is given.
pub const KAFKA_TLS: &str = "ORDERSYSTEM_KAFKA_TLS";
/// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
pub const KAFKA_SASL_MECHANISM: &str = "ORDERSYSTEM_KAFKA_SASL_MECHANISM";
/// SASL user.
pub const KAFKA_SASL_USERNAME: &str = "ORDERSYSTEM_KAFKA_SASL_USERNAME";
/// SASL password.
pub const KAFKA_SASL_PASSWORD: &str = "ORDERSYSTEM_KAFKA_SASL_PASSWORD";
/// Path of the PEM file with the certificate authority that signed PostgreSQL's certificate.
pub const DATABASE_CA_FILE: &str = "ORDERSYSTEM_DATABASE_CA_FILE";
/// How long an order waits for stock and payment, such as `15m`.
pub const PAYMENT_TIMEOUT: &str = "ORDERSYSTEM_PAYMENT_TIMEOUT";
/// Declined attempts after which an order is rejected.
pub const PAYMENT_ATTEMPTS: &str = "ORDERSYSTEM_PAYMENT_ATTEMPTS";

/// The longest payment timeout: 90 days. A hold on stock that outlives a season is a mistake in the settings.
const MAX_PAYMENT_TIMEOUT: TimeDelta = TimeDelta::days(90);

/// Declined attempts that may be allowed. Providers block whoever tries more often.
pub const PAYMENT_ATTEMPTS_RANGE: RangeInclusive<i64> = 1..=100;

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
