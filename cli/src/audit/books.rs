//! 1, 2, and the sums of 3: every product's balance, derived again from its changes.
//!
//! A product's changes come from many orders, which are read one after the other, so they come out of their order. Those
//! that come early wait. Ids of orders grow with time, so few do.

use std::collections::{BTreeMap, HashMap};

use contract::ProductId;
use contract::stock::StockEvent;
use inventory::stock::{Balance, Change, Hold, HoldStatus, Imbalance, changes};

use super::difference::difference;
use super::invariant::Invariant::{Conservation, Folds, Holds, NoOversell};
use super::verdict::Verdicts;

/// The books of every product.
#[derive(Default)]
pub(super) struct Books(HashMap<ProductId, Book>);

/// The book of one product.
#[derive(Default)]
struct Book {
    /// After every change so far that is not waiting.
    balance: Balance,
    /// Changes that came before the one that they follow, by version.
    waiting: BTreeMap<i64, Entry>,
    /// What people put on hand, less what they took.
    put_on_hand: i64,
    /// What holds hold.
    held: i64,
    /// What holds have sold.
    sold: i64,
}

/// A change, and what someone counted then.
struct Entry {
    change: Change,
    counted: Option<i64>,
}

impl Books {
    /// Enters what an event changes.
    pub fn enter(&mut self, event: &StockEvent, verdicts: &mut Verdicts) {
        let counted = match event {
            StockEvent::Counted(counted) => Some(counted.on_hand),
            _ => None,
        };
        for (product, change) in changes(event) {
            verdicts.checked(NoOversell, "changes", 1);
            self.book(product).enter(product, Entry { change, counted }, verdicts);
        }
    }

    /// Enters what a hold's row has.
    pub fn enter_hold(&mut self, hold: &Hold) {
        for units in &hold.units {
            let book = self.book(&units.product);
            match hold.status {
                HoldStatus::Held => book.held += units.quantity,
                HoldStatus::Sold => book.sold += units.quantity,
                HoldStatus::Closed | HoldStatus::Rejected => {}
            }
        }
    }

    /// Closes the book of a product and compares it with its row.
    pub fn close(&mut self, product: &ProductId, row: &Balance, verdicts: &mut Verdicts) {
        self.0.remove(product).unwrap_or_default().close(product, Some(row), verdicts);
    }

    /// Closes the books of products that have no row.
    pub fn close_all(self, verdicts: &mut Verdicts) {
        let mut left: Vec<(ProductId, Book)> = self.0.into_iter().collect();
        left.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (product, book) in left {
            book.close(&product, None, verdicts);
        }
    }

    fn book(&mut self, product: &ProductId) -> &mut Book {
        // Most changes are of a product that is known: its id is copied for the others only.
        if !self.0.contains_key(product) {
            self.0.insert(product.clone(), Book::default());
        }
        self.0.entry(product.clone()).or_default()
    }
}

impl Book {
    fn enter(&mut self, product: &ProductId, entry: Entry, verdicts: &mut Verdicts) {
        let version = entry.change.version;
        if entry.change.own {
            self.put_on_hand = self.put_on_hand.saturating_add(entry.change.available);
        }
        if version <= self.balance.version || self.waiting.contains_key(&version) {
            verdicts.broken(NoOversell, || format!("product {product}: change {version} is told twice"));
            return;
        }
        self.waiting.insert(version, entry);
        while let Some(next) = self.waiting.first_entry().filter(|next| *next.key() == self.balance.version + 1) {
            let entry = next.remove();
            self.apply(product, &entry, verdicts);
        }
    }

    fn apply(&mut self, product: &ProductId, entry: &Entry, verdicts: &mut Verdicts) {
        self.balance = match self.balance.next(&entry.change) {
            Ok(balance) => balance,
            Err(imbalance) => {
                verdicts.broken(NoOversell, || format!("product {product}: {imbalance}"));
                match imbalance {
                    Imbalance::Negative(balance) => balance,
                    Imbalance::Gap { .. } => self.balance.after(&entry.change),
                }
            }
        };
        let on_hand = self.balance.on_hand();
        if let Some(counted) = entry.counted.filter(|counted| *counted != on_hand) {
            let version = self.balance.version;
            verdicts.broken(Conservation, || {
                format!("product {product}: {counted} were counted in change {version}, and {on_hand} were on hand")
            });
        }
    }

    fn close(mut self, product: &ProductId, row: Option<&Balance>, verdicts: &mut Verdicts) {
        for invariant in [NoOversell, Conservation, Holds] {
            verdicts.checked(invariant, "products", 1);
        }
        verdicts.checked(Folds, "rows", 1);
        for entry in std::mem::take(&mut self.waiting).into_values() {
            self.apply(product, &entry, verdicts);
        }
        let made = (self.balance.version > 0).then_some(self.balance);
        if let Some(words) = difference(row, made.as_ref()) {
            for invariant in [NoOversell, Folds] {
                verdicts.broken(invariant, || format!("product {product}, inventory.stock: {words}"));
            }
        }
        self.compare_sums(product, &row.copied().unwrap_or_default(), verdicts);
    }

    fn compare_sums(&self, product: &ProductId, row: &Balance, verdicts: &mut Verdicts) {
        let Balance { available, reserved, sold, .. } = *row;
        let (Self { put_on_hand, held, sold: in_holds, .. }, all) = (self, [available, reserved, sold]);
        let sum = all.into_iter().fold(0, i64::saturating_add);
        verdicts.expect(Conservation, sum == *put_on_hand, || {
            format!("product {product}: {put_on_hand} were put on hand, {available} + {reserved} + {sold} are there")
        });
        verdicts.expect(Holds, (reserved, sold) == (*held, *in_holds), || {
            format!(
                "product {product}: {reserved} reserved and {sold} sold, and holds hold {held} and have sold {in_holds}"
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use contract::stock::{Adjusted, Counted, Held, Movement};
    use inventory::stock::Units;

    use super::*;
    use crate::audit::invariant::Invariant;

    fn product() -> ProductId {
        "SKU-1".parse().expect("is an id")
    }

    fn counted(on_hand: i64, delta: i64, version: i64) -> StockEvent {
        StockEvent::Counted(Counted { product_id: product(), on_hand, delta, version })
    }

    fn adjusted(delta: i64, version: i64) -> StockEvent {
        let reason = "found".to_owned();
        StockEvent::Adjusted(Adjusted { product_id: product(), delta, reason, reference: None, version })
    }

    fn held(quantity: i64, version: i64) -> Held {
        Held { revision: 1, movements: vec![Movement { product_id: product(), quantity, version }] }
    }

    fn reserved(quantity: i64, version: i64) -> StockEvent {
        StockEvent::Reserved(held(quantity, version))
    }

    fn sold(quantity: i64, version: i64) -> StockEvent {
        StockEvent::Sold(held(quantity, version))
    }

    fn hold(status: HoldStatus, quantity: i64) -> Hold {
        Hold { revision: 1, status, units: vec![Units { product: product(), quantity }], version: 1 }
    }

    fn row(available: i64, reserved: i64, sold: i64, version: i64, stream_version: i32) -> Balance {
        Balance { available, reserved, sold, version, stream_version }
    }

    /// What is found of a product with these events, holds and row.
    fn found(events: &[StockEvent], holds: &[Hold], row: &Balance) -> Verdicts {
        let (mut books, mut verdicts) = (Books::default(), Verdicts::default());
        for event in events {
            books.enter(event, &mut verdicts);
        }
        for hold in holds {
            books.enter_hold(hold);
        }
        books.close(&product(), row, &mut verdicts);
        books.close_all(&mut verdicts);
        verdicts
    }

    #[test]
    fn changes_are_folded_in_their_order_whatever_order_they_come_in() {
        let events = [sold(2, 4), counted(5, 5, 1), reserved(2, 2), adjusted(3, 5), reserved(1, 3)];
        let holds = [hold(HoldStatus::Sold, 2), hold(HoldStatus::Held, 1)];
        let verdicts = found(&events, &holds, &row(5, 1, 2, 5, 2));
        assert_eq!(verdicts.named(), [], "{verdicts:?}");
    }

    #[test]
    fn a_unit_sold_twice_is_seen_even_when_one_came_back_since() {
        // given two holds of the one unit, after which another was found
        let events = [counted(1, 1, 1), reserved(1, 2), reserved(1, 3), adjusted(1, 4)];
        let holds = [hold(HoldStatus::Held, 1), hold(HoldStatus::Held, 1)];
        // then the balance is fine at the end, and was not in between
        let verdicts = found(&events, &holds, &row(0, 2, 0, 4, 2));
        assert_eq!(verdicts.named(), [Invariant::NoOversell]);
        assert!(
            verdicts.of(Invariant::NoOversell).examples[0].contains("change 3 leaves -1 available"),
            "{verdicts:?}"
        );
    }

    #[test]
    fn a_change_that_is_missing_or_told_twice_is_seen() {
        let missing = found(&[counted(5, 5, 1), adjusted(1, 3)], &[], &row(6, 0, 0, 3, 2));
        assert!(missing.named().contains(&Invariant::NoOversell), "{missing:?}");
        let twice = found(&[counted(5, 5, 1), adjusted(1, 2), adjusted(1, 2)], &[], &row(6, 0, 0, 2, 2));
        assert!(twice.named().contains(&Invariant::NoOversell), "{twice:?}");
    }

    #[test]
    fn units_from_nowhere_are_seen() {
        let verdicts = found(&[counted(5, 5, 1)], &[], &row(6, 0, 0, 1, 1));
        assert!(verdicts.named().contains(&Invariant::Conservation), "{verdicts:?}");
        let counted_wrongly = found(&[counted(5, 4, 1)], &[], &row(4, 0, 0, 1, 1));
        assert_eq!(counted_wrongly.named(), [Invariant::Conservation], "{counted_wrongly:?}");
    }

    #[test]
    fn what_is_reserved_for_nobody_is_seen() {
        let verdicts = found(&[counted(5, 5, 1), reserved(2, 2)], &[], &row(3, 2, 0, 2, 1));
        assert_eq!(verdicts.named(), [Invariant::Holds], "{verdicts:?}");
    }

    #[test]
    fn a_product_without_a_row_is_seen() {
        let (mut books, mut verdicts) = (Books::default(), Verdicts::default());
        books.enter(&counted(5, 5, 1), &mut verdicts);
        books.close_all(&mut verdicts);
        assert!(verdicts.named().contains(&Invariant::Folds), "{verdicts:?}");
    }
}
