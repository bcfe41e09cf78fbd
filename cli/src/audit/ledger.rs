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
            let line = kept.or(made).map(|line| (line.payment, line.kind.as_str(), line.account.as_str()));
            verdicts.broken(Ledger, || format!("order {}, payments.ledger, {line:?}: {words}", dossier.id));
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
