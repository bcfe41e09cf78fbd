//! What an audit has found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::invariant::Invariant;
use super::verdict::Verdict;

/// What an audit has found. As JSON its names are stable: they are added to, not changed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether every invariant holds.
    pub holds: bool,
    /// The moment that was judged, by the database's clock.
    pub at: DateTime<Utc>,
    /// Whether the system had to be at rest.
    pub settled: bool,
    /// Orders.
    pub orders: u64,
    /// Events, of all services.
    pub events: u64,
    /// Records that consumers could not read or settle and put aside.
    pub dead_letters: u64,
    /// What was not done yet.
    pub in_flight: InFlight,
    /// Each invariant, in order.
    pub invariants: Vec<Judged>,
}

/// What was not done yet at the moment that was judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InFlight {
    /// Events that a consumer has yet to apply, each once for every such consumer.
    pub messages: u64,
    /// The consumers that have some to apply.
    pub consumers: Vec<Lag>,
    /// Attempts to pay of which the provider is asked something.
    pub payments: u64,
    /// Orders that wait for stock or payment.
    pub orders: u64,
}

/// How far a consumer is behind its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// The schema of the consumer.
    pub consumer: &'static str,
    /// The schema of its source.
    pub source: &'static str,
    /// How many events it has yet to apply.
    pub messages: u64,
    /// How long the oldest of them waits, in seconds.
    pub oldest_seconds: i64,
}

/// One invariant and what was found about it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// Its number.
    pub number: usize,
    /// What it promises.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// How many of what was checked.
    pub checked: BTreeMap<&'static str, u64>,
    /// How often it is broken.
    pub broken: u64,
    /// Some of what breaks it.
    pub examples: Vec<String>,
}

impl Judged {
    pub(super) fn of(invariant: Invariant, verdict: Verdict) -> Self {
        Self {
            number: invariant.number(),
            name: invariant.name(),
            holds: verdict.holds(),
            checked: verdict.checked,
            broken: verdict.broken,
            examples: verdict.examples,
        }
    }
}

impl Report {
    /// The numbers of the invariants that are broken.
    pub fn broken(&self) -> Vec<usize> {
        self.invariants.iter().filter(|judged| !judged.holds).map(|judged| judged.number).collect()
    }

    /// The report as JSON.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

impl InFlight {
    /// Whether everything is done.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        writeln!(f, "{} and {} at {at}", counted(self.orders, "orders"), counted(self.events, "events"))?;
        writeln!(f, "{}", self.in_flight)?;
        if self.dead_letters > 0 {
            writeln!(f, "dead letters: {}", grouped(self.dead_letters))?;
        }
        for judged in &self.invariants {
            writeln!(f, "{judged}")?;
        }
        match self.broken().len() {
            0 => writeln!(f, "the books balance"),
            broken => {
                writeln!(f, "the books do not balance: {broken} of {} invariants are broken", self.invariants.len())
            }
        }
    }
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nothing() {
            return write!(f, "in flight: nothing");
        }
        let Self { messages, consumers, payments, orders } = self;
        write!(f, "in flight: {}", counted(*messages, "messages"))?;
        for (place, lag) in consumers.iter().enumerate() {
            let mark = if place == 0 { " (" } else { ", " };
            write!(
                f,
                "{mark}{} {} → {}, oldest {} s",
                grouped(lag.messages),
                lag.source,
                lag.consumer,
                lag.oldest_seconds
            )?;
        }
        let end = if consumers.is_empty() { "" } else { ")" };
        let (payments, orders) = (counted(*payments, "payments"), counted(*orders, "orders"));
        write!(f, "{end}, {payments} with the provider, {orders} unsettled")
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds { "ok" } else { "BROKEN" };
        write!(f, "{verdict:<6} {:>2} {}", self.number, self.name)?;
        let checked: Vec<String> = self.checked.iter().map(|(what, count)| counted(*count, what)).collect();
        if !checked.is_empty() {
            write!(f, ": {}", checked.join(", "))?;
        }
        if !self.holds {
            write!(f, "; broken: {}", grouped(self.broken))?;
        }
        for example in &self.examples {
            write!(f, "\n          {example}")?;
        }
        let told = self.examples.len() as u64;
        if self.broken > told {
            write!(f, "\n          and {} more", grouped(self.broken - told))?;
        }
        Ok(())
    }
}

/// So many of something, whose name is in the plural.
pub(crate) fn counted(count: u64, plural: &str) -> String {
    let singular = || plural.strip_suffix("ies").map(|stem| format!("{stem}y"));
    match count {
        1 => format!("1 {}", singular().unwrap_or_else(|| plural.trim_end_matches('s').to_owned())),
        _ => format!("{} {plural}", grouped(count)),
    }
}

/// A number as people read it: `18,210`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(broken: u64) -> Report {
        let verdict = Verdict {
            checked: BTreeMap::from([("holds", 18_210), ("products", 500)]),
            broken,
            examples: (0..broken.min(2))
                .map(|number| format!("product SKU-{number}: 5 reserved, holds have 4"))
                .collect(),
        };
        Report {
            holds: broken == 0,
            at: DateTime::UNIX_EPOCH,
            settled: false,
            orders: 20_000,
            events: 1_220_123,
            dead_letters: 0,
            in_flight: InFlight::default(),
            invariants: vec![Judged::of(Invariant::Holds, verdict)],
        }
    }

    #[test]
    fn what_holds_is_told_in_a_line_each() {
        let text = "20,000 orders and 1,220,123 events at 1970-01-01T00:00:00Z\n\
            in flight: nothing\n\
            ok      3 reserved and sold match the holds, and the holds their orders: 18,210 holds, 500 products\n\
            the books balance\n";
        assert_eq!(report(0).to_string(), text);
    }

    #[test]
    fn what_is_broken_is_told_by_example() {
        let text = report(1_002).to_string();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert!(lines[0].starts_with("BROKEN  3 ") && lines[0].ends_with("; broken: 1,002"), "{text}");
        assert_eq!(lines[1], "          product SKU-0: 5 reserved, holds have 4");
        assert_eq!(lines[3], "          and 1,000 more");
        assert_eq!(lines[4], "the books do not balance: 1 of 1 invariants are broken");
    }

    #[test]
    fn what_is_in_flight_is_told() {
        let lag = |source, messages| Lag { consumer: "inventory", source, messages, oldest_seconds: 2 };
        let in_flight = InFlight { messages: 1_005, consumers: vec![lag("orders", 1_005)], payments: 3, orders: 7 };
        assert_eq!(
            in_flight.to_string(),
            "in flight: 1,005 messages (1,005 orders → inventory, oldest 2 s), 3 payments with the provider, 7 orders \
             unsettled"
        );
    }

    #[test]
    fn programs_find_the_same() {
        let json: serde_json::Value = serde_json::from_str(&report(1).to_json().expect("encodes")).expect("is JSON");
        assert_eq!(json["holds"], false);
        assert_eq!(json["inFlight"]["messages"], 0);
        assert_eq!(json["invariants"][0]["number"], 3);
        assert_eq!(json["invariants"][0]["checked"]["products"], 500);
        assert_eq!(report(1).broken(), [3]);
    }

    #[test]
    fn one_is_told_in_the_singular() {
        assert_eq!(counted(1, "orders"), "1 order");
        assert_eq!(counted(1, "currencies"), "1 currency");
        assert_eq!(counted(0, "currencies"), "0 currencies");
    }

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
