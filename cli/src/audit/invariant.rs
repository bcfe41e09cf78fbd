//! The invariants that an order system keeps whatever happens to it.

use std::fmt;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// `available`, `reserved` and `sold` are never below zero, at no prefix of a product's changes.
    NoOversell,
    /// What was put on hand is available, reserved or sold.
    Conservation,
    /// What is reserved and sold is what holds say, and a hold is what its order says.
    Holds,
    /// A hold has every line of its revision.
    AllOrNothing,
    /// An order's money is taken once and exactly, and given back when the order is dead.
    Captures,
    /// The ledger balances, and agrees with what the provider says.
    Ledger,
    /// Streams and lanes have no gap, and every consumer reaches its source.
    Sequences,
    /// Rows are the fold of their events, views are what their source's events project.
    Folds,
    /// Every order is settled within its deadline.
    Deadlines,
    /// One notice for each occasion, one order for each idempotency key.
    Once,
}

impl Invariant {
    /// Every invariant, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::NoOversell,
        Self::Conservation,
        Self::Holds,
        Self::AllOrNothing,
        Self::Captures,
        Self::Ledger,
        Self::Sequences,
        Self::Folds,
        Self::Deadlines,
        Self::Once,
    ];

    /// Its number, from 1.
    pub fn number(self) -> usize {
        self.index() + 1
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// What it promises, in a few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoOversell => "no unit was ever sold twice",
            Self::Conservation => "what was put on hand is available, reserved or sold",
            Self::Holds => "reserved and sold match the holds, and the holds their orders",
            Self::AllOrNothing => "a hold has every line of its revision",
            Self::Captures => "money is taken once and exactly, and back when the order is dead",
            Self::Ledger => "the ledger balances and agrees with the provider",
            Self::Sequences => "streams and lanes have no gap, and consumers keep up",
            Self::Folds => "rows and views are what the events make of them",
            Self::Deadlines => "every order is settled within its deadline",
            Self::Once => "one notice for each occasion, one order for each idempotency key",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_numbered_from_one_to_ten() {
        let numbers: Vec<usize> = Invariant::ALL.iter().map(|invariant| invariant.number()).collect();
        assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    }
}
