//! The same judgment over books that are in memory instead of in a database.

use contract::ProductId;
use contract::stock::StockEvent;
use inventory::stock::Balance;

use super::books::Books;
use super::dossier::Dossier;
use super::ledger::Sums;
use super::moment::Moment;
use super::verdict::Verdicts;

/// All that there is to judge.
pub struct Case {
    /// When, and how far everyone had come.
    pub moment: Moment,
    /// What is kept about each order, in the order of their ids.
    pub orders: Vec<Dossier>,
    /// Each product, its row, and the events of its own stream.
    pub products: Vec<(ProductId, Balance, Vec<StockEvent>)>,
}

impl Case {
    /// What breaks an invariant, each named by it; nothing when the books balance.
    pub fn judge(&self) -> Vec<String> {
        let (mut books, mut sums, mut verdicts) = (Books::default(), Sums::default(), Verdicts::default());
        for event in self.products.iter().flat_map(|(_, _, events)| events) {
            books.enter(event, &mut verdicts);
        }
        for dossier in &self.orders {
            super::judge_order(dossier, &self.moment, &mut verdicts);
            super::enter(dossier, &mut books, &mut sums, &mut verdicts);
        }
        for (product, row, _) in &self.products {
            books.close(product, row, &mut verdicts);
        }
        books.close_all(&mut verdicts);
        sums.judge(&mut verdicts);
        let found = |(invariant, verdict): (super::Invariant, super::verdict::Verdict)| {
            verdict.examples.into_iter().map(move |example| format!("{invariant}: {example}"))
        };
        verdicts.into_each().flat_map(found).collect()
    }
}
