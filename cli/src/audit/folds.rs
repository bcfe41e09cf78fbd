//! 8: a row is the fold of its events, and a view what its source's events project.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::vec;

use chrono::{DateTime, Utc};
use contract::Topic;
use contract::order::OrderEvent;
use inventory::stock::Hold;
use inventory::view::Movement;
use payment::payment::Account;
use uuid::Uuid;

use super::difference::{Kept, difference};
use super::dossier::Dossier;
use super::invariant::Invariant::Folds;
use super::moment::Moment;
use super::tables::Duty;
use super::verdict::Verdicts;

/// Judges every row about one order.
pub(super) fn judge(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    let mut rows = Rows { id: dossier.id, verdicts };
    rows.judge_order(dossier, moment);
    rows.judge_stock(dossier, moment);
    rows.judge_payment(dossier);
    rows.judge_notices(dossier);
}

/// The rows about one order.
struct Rows<'v> {
    id: Uuid,
    verdicts: &'v mut Verdicts,
}

impl Rows<'_> {
    fn judge_order(&mut self, dossier: &Dossier, moment: &Moment) {
        self.compare("orders.orders", dossier.order_row.first(), dossier.made.as_ref());
        if let Some((duty, made)) = dossier.duty.first().zip(dossier.made.as_ref()) {
            let lane = moment.lanes.of_order(self.id).as_i16();
            self.compare("orders.orders", Some(duty), Some(&Duty { lane, open: made.shown.status.is_open() }));
        }
        let applied = moment.applied(order::VIEW_SCHEMA, Topic::Orders, &dossier.order);
        let events: Vec<(DateTime<Utc>, OrderEvent)> =
            applied.iter().map(|told| (told.record.at, told.event.clone())).collect();
        let listed = order::view::project(self.id, &events);
        self.compare("orders_view.orders", dossier.view_row.first(), listed.as_ref());
    }

    fn judge_stock(&mut self, dossier: &Dossier, moment: &Moment) {
        let made = Hold::fold(dossier.stock.iter().map(|told| &told.event));
        self.compare("inventory.reservation", dossier.hold.first(), made.as_ref());
        let applied = moment.applied(inventory::VIEW_SCHEMA, Topic::Inventory, &dossier.stock);
        let movements =
            applied.iter().flat_map(|told| inventory::view::movements(&told.event, told.record.stream, told.record.at));
        self.compare_all("inventory_view.movement", &dossier.movements, &movements.collect::<Vec<_>>(), movement_key);
    }

    fn judge_payment(&mut self, dossier: &Dossier) {
        let events = || dossier.payment.iter().map(|told| &told.event);
        let made = (!dossier.payment.is_empty()).then(|| Account::fold(self.id, events()));
        self.compare("payments.account", dossier.account.first(), made.as_ref());
        let attempts = Account::attempts(self.id, events());
        self.compare_all("payments.payment", &dossier.attempts, &attempts, |attempt| attempt.id);
    }

    fn judge_notices(&mut self, dossier: &Dossier) {
        match notification::notice::fold(dossier.told.iter().map(|told| &told.record)) {
            Ok(made) => self.compare_all("notifications.notice", &dossier.notices, &made, |notice| notice.id),
            Err(error) => self.verdicts.broken(Folds, || format!("order {}: {error}", self.id)),
        }
    }

    fn compare<K: Kept>(&mut self, table: &'static str, kept: Option<&K>, made: Option<&K>) {
        self.verdicts.checked(Folds, "rows", usize::from(kept.is_some() || made.is_some()));
        if let Some(words) = difference(kept, made) {
            self.verdicts.broken(Folds, || format!("order {}, {table}: {words}", self.id));
        }
    }

    /// Compares several rows of one order, paired by `key`.
    fn compare_all<K: Kept, I: Ord>(&mut self, table: &'static str, kept: &[K], made: &[K], key: fn(&K) -> I) {
        for (kept, made) in paired(kept, made, key) {
            self.compare(table, kept, made);
        }
    }
}

/// A movement's key in the view.
pub(super) fn movement_key(movement: &Movement) -> (contract::ProductId, i64) {
    (movement.product.clone(), movement.change.version)
}

/// What has the same key, side by side; what has none of its like, alone. In the order of the keys.
pub(super) fn paired<'k, K, I: Ord>(
    kept: &'k [K],
    made: &'k [K],
    key: fn(&K) -> I,
) -> Vec<(Option<&'k K>, Option<&'k K>)> {
    let (mut kept, mut made) = (sorted(kept, key), sorted(made, key));
    let mut pairs = Vec::with_capacity(kept.len().max(made.len()));
    loop {
        let order = match (kept.peek(), made.peek()) {
            (Some((kept, _)), Some((made, _))) => kept.cmp(made),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return pairs,
        };
        let kept = if order.is_le() { kept.next() } else { None };
        let made = if order.is_ge() { made.next() } else { None };
        pairs.push((kept.map(|(_, kept)| kept), made.map(|(_, made)| made)));
    }
}

fn sorted<K, I: Ord>(rows: &[K], key: fn(&K) -> I) -> Peekable<vec::IntoIter<(I, &K)>> {
    let mut rows: Vec<(I, &K)> = rows.iter().map(|row| (key(row), row)).collect();
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    rows.into_iter().peekable()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_paired_by_their_key() {
        let (kept, made) = ([(1, 'a'), (2, 'b'), (2, 'c')], [(3, 'd'), (2, 'b'), (1, 'a')]);
        let pairs = paired(&kept, &made, |row| row.0);
        let pairs: Vec<_> = pairs.into_iter().map(|(kept, made)| (kept.copied(), made.copied())).collect();
        let expected = [
            (Some((1, 'a')), Some((1, 'a'))),
            (Some((2, 'b')), Some((2, 'b'))),
            (Some((2, 'c')), None),
            (None, Some((3, 'd'))),
        ];
        assert_eq!(pairs, expected);
    }
}
