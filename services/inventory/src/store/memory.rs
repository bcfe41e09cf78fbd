//! What is remembered of stock from batch to batch.

use contract::ProductId;
use journal::Recent;
use uuid::Uuid;

use super::Request;
use super::batch::Rows;
use crate::stock::{Balance, Hold, Stock};

/// Products that are remembered at least. A row of a shop's assortment comes again much later than an order does.
const PRODUCTS: usize = 16_384;

/// The balances and holds that batches touched lately. A lane covers the holds of its orders; a balance may have changed
/// since, which storing it finds out.
pub struct Memory {
    pub(super) holds: Recent<Uuid, Hold>,
    products: Recent<ProductId, Balance>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { holds: Recent::default(), products: Recent::of(PRODUCTS) }
    }
}

impl Memory {
    /// The products that these requests are about and that are not remembered, each once, in order. Those of orders that
    /// are not remembered are left to whoever reads the orders.
    pub(super) fn unknown_products(&self, requests: &[&Request]) -> Vec<String> {
        let named = requests.iter().flat_map(|request| products_of(request, &self.holds));
        self.products.missing(named).into_iter().map(ToString::to_string).collect()
    }

    /// Moves what these requests are about into `rows`.
    pub(super) fn recall(&mut self, requests: &[&Request], rows: &mut Rows) {
        for request in requests {
            for product in products_of(request, &self.holds) {
                if let Some(balance) = self.products.take(product) {
                    rows.take_product(product.clone(), balance);
                }
            }
            if let Some(order) = request.command.order()
                && let Some(hold) = self.holds.take(&order)
            {
                rows.take_hold(order, hold);
            }
        }
    }

    /// Keeps what a batch left.
    pub(super) fn keep(&mut self, stock: Stock) {
        for (product, balance) in stock.products {
            self.products.keep(product, balance);
        }
        for (order, hold) in stock.holds {
            self.holds.keep(order, hold);
        }
    }
}

/// The products that a request names, and those that its order holds as far as that is remembered.
fn products_of<'r>(request: &'r Request, holds: &'r Recent<Uuid, Hold>) -> impl Iterator<Item = &'r ProductId> {
    let held = request.command.order().and_then(|order| holds.get(&order));
    let held = held.into_iter().flat_map(|hold| hold.units.iter().map(|units| &units.product));
    request.command.products().into_iter().chain(held)
}
