//! What an attempt's events mean in money: balanced lines of a ledger.

use contract::Currency;
use contract::payment::{Amount, PaymentEvent};
use serde::Deserialize;
use uuid::Uuid;

/// Why money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It was taken.
    Capture,
    /// It was given back.
    Refund,
}

impl Kind {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Refund => "refund",
        }
    }
}

/// An account of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LedgerAccount {
    /// What the provider owes us.
    Provider,
    /// What we sold, below zero: an income is a credit.
    Sales,
}

impl LedgerAccount {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Sales => "sales",
        }
    }
}

/// One line of the ledger. The two lines of one attempt and kind add up to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The attempt whose money moved.
    pub payment: Uuid,
    /// Why.
    pub kind: Kind,
    /// Where to or from.
    pub account: LedgerAccount,
    /// The currency.
    pub currency: Currency,
    /// The money in the minor unit: above zero what came, below what went.
    pub amount: i64,
}

/// The lines that an event posts: two for money that moved, else none.
pub fn postings(event: &PaymentEvent) -> Vec<Posting> {
    match event {
        PaymentEvent::Captured(money) => lines(money, Kind::Capture, money.amount),
        PaymentEvent::Refunded(money) => lines(money, Kind::Refund, -money.amount),
        _ => Vec::new(),
    }
}

fn lines(money: &Amount, kind: Kind, owed: i64) -> Vec<Posting> {
    let Amount { payment_id: payment, currency, .. } = *money;
    let line = |account, amount| Posting { payment, kind, account, currency, amount };
    vec![line(LedgerAccount::Provider, owed), line(LedgerAccount::Sales, -owed)]
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::Error as UnknownName;

    use super::*;

    fn named<T: for<'n> Deserialize<'n>>(name: &str) -> Result<T, UnknownName> {
        T::deserialize(name.into_deserializer())
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in [Kind::Capture, Kind::Refund] {
            assert_eq!(named(kind.as_str()), Ok(kind));
        }
        for account in [LedgerAccount::Provider, LedgerAccount::Sales] {
            assert_eq!(named(account.as_str()), Ok(account));
        }
        assert!(named::<Kind>("gift").is_err() && named::<LedgerAccount>("till").is_err());
    }
}
