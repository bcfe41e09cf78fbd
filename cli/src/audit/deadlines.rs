//! 9: every order is settled within its deadline.

use super::dossier::Dossier;
use super::invariant::Invariant::Deadlines;
use super::moment::Moment;
use super::verdict::Verdicts;

/// Judges one order.
pub(super) fn judge(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    verdicts.checked(Deadlines, "orders", usize::from(!dossier.order.is_empty()));
    let Some(order) = dossier.made.as_ref().filter(|order| order.shown.status.is_open()) else { return };
    let (status, deadline) = (order.shown.status.as_str(), order.shown.expires_at);
    verdicts.expect(Deadlines, !moment.is_late(deadline), || {
        format!("order {}: it is {status}, and its deadline is {deadline}", dossier.id)
    });
}
