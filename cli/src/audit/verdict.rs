//! What is found while everything is read.

use std::collections::BTreeMap;

use super::invariant::Invariant;

/// Examples that are kept of what breaks an invariant: enough to see what they have in common. The rest is counted.
pub const EXAMPLES: usize = 10;

/// What was found about one invariant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many of what was checked.
    pub checked: BTreeMap<&'static str, u64>,
    /// How often it is broken.
    pub broken: u64,
    /// The first [`EXAMPLES`] of what breaks it, with ids and numbers.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether the invariant holds.
    pub fn holds(&self) -> bool {
        self.broken == 0
    }
}

/// The verdicts so far, one for each invariant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdicts([Verdict; Invariant::ALL.len()]);

impl Verdicts {
    /// Counts what is checked.
    pub fn checked(&mut self, invariant: Invariant, what: &'static str, count: usize) {
        *self.0[invariant.index()].checked.entry(what).or_default() += count as u64;
    }

    /// Notes that an invariant is broken; `finding` says by what, with ids and numbers.
    pub fn broken(&mut self, invariant: Invariant, finding: impl FnOnce() -> String) {
        let verdict = &mut self.0[invariant.index()];
        verdict.broken += 1;
        if verdict.examples.len() < EXAMPLES {
            verdict.examples.push(finding());
        }
    }

    /// Notes that an invariant is broken unless `holds`.
    pub fn expect(&mut self, invariant: Invariant, holds: bool, finding: impl FnOnce() -> String) {
        if !holds {
            self.broken(invariant, finding);
        }
    }

    /// Every invariant with its verdict, in order.
    pub fn into_each(self) -> impl Iterator<Item = (Invariant, Verdict)> {
        Invariant::ALL.into_iter().zip(self.0)
    }

    /// The verdict on one invariant.
    #[cfg(test)]
    pub fn of(&self, invariant: Invariant) -> &Verdict {
        &self.0[invariant.index()]
    }

    /// The invariants that are broken.
    #[cfg(test)]
    pub fn named(&self) -> Vec<Invariant> {
        Invariant::ALL.into_iter().filter(|invariant| !self.of(*invariant).holds()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_break_is_counted_and_the_first_are_told() {
        let mut verdicts = Verdicts::default();
        for number in 0..25 {
            verdicts.expect(Invariant::Holds, number % 2 == 0, || format!("number {number}"));
        }
        let verdict = verdicts.of(Invariant::Holds);
        assert_eq!((verdict.holds(), verdict.broken), (false, 12));
        assert_eq!(verdict.examples.len(), EXAMPLES);
        assert_eq!(verdict.examples[0], "number 1");
        assert_eq!(verdicts.named(), [Invariant::Holds]);
    }

    #[test]
    fn what_is_checked_adds_up_by_its_name() {
        let mut verdicts = Verdicts::default();
        verdicts.checked(Invariant::Ledger, "lines", 2);
        verdicts.checked(Invariant::Ledger, "attempts", 1);
        verdicts.checked(Invariant::Ledger, "lines", 4);
        let checked = &verdicts.of(Invariant::Ledger).checked;
        assert_eq!(
            checked.iter().map(|(what, count)| (*what, *count)).collect::<Vec<_>>(),
            [("attempts", 1), ("lines", 6)]
        );
    }
}
