//! 6: the ledger's lines are those that the events post, they add up to zero, and the provider says the same.

use std::collections::BTreeMap;

use contract::Currency;
use payment::gateway::simulated::{Charge, ChargeStatus};
use payment::payment::{Account, Payment, Posting, Status, postings};
use uuid::Uuid;

use super::difference::difference;
use super::dossier::Dossier;
use super::folds::paired;
use super::invariant::Invariant::Ledger;
use super::verdict::Verdicts;

/// The sums of the ledger, by currency.
#[derive(Default)]
pub(super) struct Sums(BTreeMap<Currency, i128>);

impl Sums {
    /// Adds the lines of an order.
    pub fn add(&mut self, postings: &[Posting]) {
        for posting in postings {
            *self.0.entry(posting.currency).or_default() += i128::from(posting.amount);
        }
    }

    /// Judges the sums when every line is added.
    pub fn judge(self, verdicts: &mut Verdicts) {
        verdicts.checked(Ledger, "currencies", self.0.len());
        for (currency, sum) in self.0 {
            verdicts.expect(Ledger, sum == 0, || format!("all lines in {currency} add up to {sum}"));
        }
    }
}

/// Judges the lines of one order, and what the provider says of it.
pub(super) fn judge(dossier: &Dossier, verdicts: &mut Verdicts) {
    judge_lines(dossier, verdicts);
    let events = dossier.payment.iter().map(|told| &told.event);
    judge_charges(dossier.id, &Account::attempts(dossier.id, events), &dossier.charges, verdicts);
}

fn judge_lines(dossier: &Dossier, verdicts: &mut Verdicts) {
    let posted: Vec<Posting> = dossier.payment.iter().flat_map(|told| postings(&told.event)).collect();
    verdicts.checked(Ledger, "lines", dossier.postings.len());
    for (kept, made) in paired(&dossier.postings, &posted, |line| (line.payment, line.kind, line.account)) {
        if let Some(words) = difference(kept, made) {
            verdicts.broken(Ledger, || format!("order {}, payments.ledger, {words}", dossier.id));
        }
    }
}

fn judge_charges(order: Uuid, attempts: &[Payment], charges: &[Charge], verdicts: &mut Verdicts) {
    verdicts.checked(Ledger, "charges", charges.len());
    for attempt in attempts {
        let charge = charges.iter().find(|charge| charge.key == attempt.id);
        verdicts.expect(Ledger, agree(attempt, charge), || contradiction(order, attempt, charge));
    }
    for charge in charges {
        let known = attempts.iter().any(|attempt| attempt.id == charge.key);
        verdicts.expect(Ledger, known, || {
            format!(
                "order {order}: the provider has charge {} of {} {}, and no attempt has",
                charge.key, charge.amount, charge.currency
            )
        });
        verdicts.expect(Ledger, is_whole(charge), || {
            let (status, Charge { key, amount, captured, refunded, .. }) = (charge.status.as_str(), charge);
            format!(
                "order {order}: charge {key} of {amount} is {status} with {captured} taken and {refunded} given back"
            )
        });
    }
}

/// Whether the provider may say this of an attempt that stands where it does. While the provider is being asked something,
/// it may have done so or not.
fn agree(attempt: &Payment, charge: Option<&Charge>) -> bool {
    use ChargeStatus::{Authorized, Captured, Declined, Refunded, Voided};
    let Some(charge) = charge else {
        return matches!(attempt.status, Status::Authorizing | Status::Unknown | Status::Voiding);
    };
    let possible: &[ChargeStatus] = match attempt.status {
        Status::Authorizing | Status::Unknown => &[Authorized, Declined],
        Status::Authorized => &[Authorized],
        Status::Capturing => &[Authorized, Captured],
        Status::Captured => &[Captured],
        Status::Declined => &[Declined],
        Status::Voiding => &[Authorized, Declined, Voided],
        Status::Voided => &[Declined, Voided],
        Status::Refunding => &[Captured, Refunded],
        Status::Refunded => &[Refunded],
    };
    possible.contains(&charge.status) && (charge.amount, charge.currency) == (attempt.amount, attempt.currency)
}

fn contradiction(order: Uuid, attempt: &Payment, charge: Option<&Charge>) -> String {
    let told = charge.map_or_else(
        || "knows nothing of it".to_owned(),
        |charge| format!("says {} of {} {}", charge.status.as_str(), charge.amount, charge.currency),
    );
    let (id, status, amount, currency) = (attempt.id, attempt.status.as_str(), attempt.amount, attempt.currency);
    format!("order {order}: attempt {id} is {status} with {amount} {currency}, and the provider {told}")
}

/// Whether a charge's amounts are those of its status.
fn is_whole(charge: &Charge) -> bool {
    let amounts = match charge.status {
        ChargeStatus::Authorized | ChargeStatus::Declined | ChargeStatus::Voided => (0, 0),
        ChargeStatus::Captured => (charge.amount, 0),
        ChargeStatus::Refunded => (charge.amount, charge.amount),
    };
    (charge.captured, charge.refunded) == amounts
}

#[cfg(test)]
mod tests {
    use payment::payment::{Kind, LedgerAccount};

    use super::*;

    fn attempt(status: Status) -> Payment {
        Payment {
            id: Uuid::from_u128(1),
            attempt: 1,
            revision: 1,
            status,
            amount: 500,
            currency: "EUR".try_into().expect("is a currency"),
            token: "tok_ok".to_owned(),
            decline_code: None,
        }
    }

    fn charge(status: ChargeStatus) -> Charge {
        let Payment { id: key, amount, currency, token, .. } = attempt(Status::Captured);
        let (captured, refunded) = match status {
            ChargeStatus::Captured => (amount, 0),
            ChargeStatus::Refunded => (amount, amount),
            _ => (0, 0),
        };
        Charge { key, token, amount, currency, status, code: None, captured, refunded }
    }

    #[test]
    fn while_the_provider_is_asked_something_it_may_have_done_it_or_not() {
        for status in Status::ALL {
            let charges = ChargeStatus::ALL.into_iter().filter(|said| agree(&attempt(status), Some(&charge(*said))));
            let possible = charges.count() + usize::from(agree(&attempt(status), None));
            // What was voided before it was asked for is declined.
            let is_open = status.asks().is_some() || status == Status::Voided;
            assert_eq!(possible > 1, is_open, "{status:?}");
            assert!(possible > 0, "{status:?}");
        }
    }

    #[test]
    fn another_amount_is_a_contradiction() {
        let other = Charge { amount: 499, captured: 499, ..charge(ChargeStatus::Captured) };
        assert!(agree(&attempt(Status::Captured), Some(&charge(ChargeStatus::Captured))));
        assert!(!agree(&attempt(Status::Captured), Some(&other)));
    }

    #[test]
    fn a_charge_has_the_amounts_of_its_status() {
        for status in ChargeStatus::ALL {
            assert!(is_whole(&charge(status)), "{status:?}");
        }
        assert!(!is_whole(&Charge { captured: 499, ..charge(ChargeStatus::Captured) }));
        assert!(!is_whole(&Charge { captured: 500, ..charge(ChargeStatus::Authorized) }));
    }

    #[test]
    fn sums_are_kept_by_currency() {
        let line = |currency: &str, amount| Posting {
            payment: Uuid::from_u128(1),
            kind: Kind::Capture,
            account: LedgerAccount::Sales,
            currency: currency.try_into().expect("is a currency"),
            amount,
        };
        // given lines that balance over all currencies and in neither
        let (mut sums, mut verdicts) = (Sums::default(), Verdicts::default());
        sums.add(&[line("EUR", 5), line("USD", -5)]);
        // then
        sums.judge(&mut verdicts);
        assert_eq!(verdicts.of(Ledger).broken, 2);
    }
}
