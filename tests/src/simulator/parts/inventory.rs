//! Inventory.

use std::collections::{BTreeMap, BTreeSet};

use contract::{ProductId, Record, Topic};
use inventory::stock::{Balance, Hold};
use inventory::store::{Answer, Request, Rows};
use journal::{Decision, Unreadable};
use uuid::Uuid;

use super::{KeyTable, Part};

/// Inventory.
pub struct Stocks;

/// Its tables.
#[derive(Default)]
pub struct Tables {
    /// What there is of each product.
    pub products: BTreeMap<ProductId, Balance>,
    /// What is held for each order.
    pub holds: BTreeMap<Uuid, Hold>,
    /// The keys of adjustments.
    pub keys: KeyTable,
}

impl Part for Stocks {
    const TOPIC: Topic = Topic::Inventory;
    const SCHEMA: &'static str = inventory::SCHEMA;
    const SOURCES: &'static [Topic] = inventory::OPENING.consumes;
    const PASSES: &'static [&'static str] = inventory::OPENING.passes;
    type Command = Request;
    type Answer = Answer;
    type Rows = Rows;
    type Tables = Tables;

    fn read(_: Topic, record: &Record) -> Result<Option<Request>, Unreadable> {
        Ok(inventory::messages::read(record)?.map(Request::from))
    }

    fn locks(tables: &Tables, requests: &[&Request]) -> BTreeSet<ProductId> {
        let named = requests.iter().flat_map(|request| request.command().products()).cloned();
        let holds = requests.iter().filter_map(|request| tables.holds.get(&request.command().order()?));
        named.chain(holds.flat_map(|hold| hold.units.iter().map(|units| units.product.clone()))).collect()
    }

    fn load(tables: &Tables, requests: &[&Request]) -> Rows {
        let mut rows = Rows::default();
        for order in requests.iter().filter_map(|request| request.command().order()) {
            if let Some(hold) = tables.holds.get(&order) {
                rows.take_hold(order, hold.clone());
            }
        }
        for product in Self::locks(tables, requests) {
            if let Some(balance) = tables.products.get(&product) {
                rows.take_product(product, *balance);
            }
        }
        rows.take_keys(tables.keys.load(requests.iter().filter_map(|request| request.key())));
        rows
    }

    fn decide(&self, rows: &mut Rows, request: &Request, decision: &mut Decision<'_>) -> Answer {
        rows.settle(request, decision)
    }

    fn store(tables: &mut Tables, rows: &Rows) -> Result<(), String> {
        let stock = rows.stock();
        for (product, balance) in &stock.products {
            if balance.available < 0 || balance.reserved < 0 || balance.sold < 0 {
                return Err(format!("there are {balance:?} of {product}"));
            }
            tables.products.insert(product.clone(), *balance);
        }
        tables.holds.extend(stock.holds.iter().map(|(order, hold)| (*order, hold.clone())));
        tables.keys.store(rows.keys())
    }
}
