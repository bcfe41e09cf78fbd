//! Whatever is asked in whatever order, the books balance after every step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use contract::ProductId;
use contract::stock::StockEvent;
use proptest::prelude::*;
use uuid::Uuid;

use super::{Adjustment, Balance, Change, Command, Hold, HoldStatus, Stock, Units, changes, product_of};

const PRODUCTS: [&str; 3] = ["a", "b", "c"];
/// Few, so that a sequence comes back to the same orders.
const ORDERS: u128 = 6;
/// Steps of one sequence: enough for every order to live and die.
const STEPS: usize = 60;

fn products() -> impl Strategy<Value = ProductId> {
    prop::sample::select(&PRODUCTS[..]).prop_map(|name| name.parse().expect("a product id"))
}

fn orders() -> impl Strategy<Value = Uuid> {
    (1..=ORDERS).prop_map(Uuid::from_u128)
}

fn needs() -> impl Strategy<Value = Vec<Units>> {
    let unsorted = prop::collection::btree_map(products(), 1_i64..=4, 1..=PRODUCTS.len());
    unsorted.prop_map(|needs| needs.into_iter().map(|(product, quantity)| Units { product, quantity }).collect())
}

fn adjustments() -> impl Strategy<Value = Adjustment> {
    (products(), -4_i64..=6).prop_map(|(product, delta)| {
        let (reason, reference) = ("recount".to_owned(), None);
        Adjustment { product, delta, reason, reference }
    })
}

fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => (orders(), 1..=3, needs()).prop_map(|(order, revision, needs)| Command::Reserve { order, revision, needs }),
        3 => (orders(), 1..=3).prop_map(|(order, revision)| Command::Sell { order, revision }),
        2 => orders().prop_map(|order| Command::GiveBack { order }),
        2 => (products(), 0_i64..=12).prop_map(|(product, on_hand)| Command::Count { product, on_hand }),
        2 => adjustments().prop_map(Command::Adjust),
    ]
}

/// Everything that was told so far, as an auditor reads it.
#[derive(Default)]
struct Books {
    streams: HashMap<Uuid, Vec<StockEvent>>,
    changes: BTreeMap<ProductId, Vec<Change>>,
    put_on_hand: BTreeMap<ProductId, i64>,
}

impl Books {
    fn keep(&mut self, stream: Uuid, version: i32, event: StockEvent) {
        for (product, change) in changes(&event) {
            self.changes.entry(product.clone()).or_default().push(change);
            if change.own {
                *self.put_on_hand.entry(product.clone()).or_default() += change.available;
            }
        }
        let told = self.streams.entry(stream).or_default();
        told.push(event);
        assert_eq!(Ok(told.len()), usize::try_from(version), "a stream's versions have no gap");
    }

    fn assert_agree_with(&self, stock: &Stock) {
        assert_eq!(self.changes.keys().collect::<BTreeSet<_>>(), stock.products.keys().collect());
        for (product, changes) in &self.changes {
            let balance = stock.balance(product);
            assert_eq!(Balance::fold(changes.iter().copied()), Ok(balance), "{product}: row = fold, never negative");
            let put_on_hand = self.put_on_hand[product];
            assert_eq!(put_on_hand, balance.available + balance.reserved + balance.sold, "{product}: conserved");
            assert_eq!(balance.reserved, in_holds(stock, product, HoldStatus::Held), "{product}: live holds");
            assert_eq!(balance.sold, in_holds(stock, product, HoldStatus::Sold), "{product}: sold holds");
        }
        for (stream, events) in self.streams.iter().filter(|(_, events)| product_of(&events[0]).is_none()) {
            assert_eq!(Hold::fold(events).as_ref(), stock.holds.get(stream), "{stream}: row = fold");
        }
    }
}

fn in_holds(stock: &Stock, product: &ProductId, status: HoldStatus) -> i64 {
    let holds = stock.holds.values().filter(|hold| hold.status == status);
    holds.flat_map(|hold| &hold.units).filter(|units| units.product == *product).map(|units| units.quantity).sum()
}

proptest! {
    #[test]
    fn the_books_balance_after_every_step(commands in prop::collection::vec(commands(), 1..STEPS)) {
        let (mut stock, mut books) = (Stock::default(), Books::default());
        for command in &commands {
            for event in stock.decide(command).unwrap_or_default() {
                let version = stock.evolve(command.stream(), &event);
                books.keep(command.stream(), version, event);
            }
            books.assert_agree_with(&stock);
        }
    }

    #[test]
    fn a_command_that_comes_again_at_once_moves_nothing(commands in prop::collection::vec(commands(), 1..STEPS)) {
        let mut stock = Stock::default();
        for command in commands.iter().filter(|command| !matches!(command, Command::Adjust(_))) {
            for event in stock.decide(command).unwrap_or_default() {
                stock.evolve(command.stream(), &event);
            }
            prop_assert_eq!(stock.decide(command).unwrap_or_default(), Vec::new());
        }
    }
}
