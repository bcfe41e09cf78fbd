//! Products: the streams that are their own, and what their books say when every order is read.

use std::collections::BTreeMap;

use contract::stock::{StockEvent, stream_of};
use contract::{ProductId, Topic};
use inventory::stock::product_of;
use inventory::view::Movement;
use uuid::Uuid;

use super::books::Books;
use super::difference::difference;
use super::dossier::Told;
use super::folds::movement_key;
use super::invariant::Invariant::{Folds, Sequences};
use super::moment::Moment;
use super::notices::judge_keys;
use super::sequences::{judge_stream, records};
use super::shelf::{Illegible, Shelf};
use super::snapshot::Snapshot;
use super::tables::{self, Key};
use super::verdict::Verdicts;

/// What people did to stock, as the view should show it.
#[derive(Default)]
pub(super) struct Deeds(BTreeMap<(ProductId, i64), Movement>);

/// Reads the streams of every product: enters them into the books, and judges them and the keys of adjustments.
pub(super) async fn read_streams(
    snapshot: &Snapshot<'_>,
    moment: &Moment,
    books: &mut Books,
    verdicts: &mut Verdicts,
) -> anyhow::Result<Deeds> {
    let schema = inventory::SCHEMA;
    let sql = tables::streams_of_products();
    let mut streams = Shelf::open(snapshot, schema, &sql, tables::stock_event, verdicts).await?;
    let mut keys = Shelf::open(snapshot, schema, tables::KEYS, tables::key, verdicts).await?;
    let mut deeds = Deeds::default();
    while let Some(stream) = streams.id().into_iter().chain(keys.id()).min() {
        let told = streams.take(stream, snapshot, verdicts).await?;
        let keys = keys.take(stream, snapshot, verdicts).await?;
        judge_product(stream, &told, &keys, moment, verdicts);
        for told in &told {
            books.enter(&told.event, verdicts);
        }
        deeds.note(moment.applied(inventory::VIEW_SCHEMA, Topic::Inventory, &told));
    }
    Ok(deeds)
}

fn judge_product(stream: Uuid, told: &[Told<StockEvent>], keys: &[Key], moment: &Moment, verdicts: &mut Verdicts) {
    let is_adjusted = |event: &StockEvent| matches!(event, StockEvent::Adjusted(_));
    judge_keys("stream", &stream, keys, told, is_adjusted, verdicts);
    let Some(product) = told.iter().find_map(|told| product_of(&told.event)) else { return };
    judge_stream(inventory::SCHEMA, records(told), moment.lanes.of_key(product.as_str()), verdicts);
    let is_own = told.iter().all(|told| product_of(&told.event) == Some(product)) && stream_of(product) == stream;
    verdicts.expect(Sequences, is_own, || format!("inventory, stream {stream}: it is not the stream of {product}"));
}

/// Closes the books of every product.
pub(super) async fn close(snapshot: &Snapshot<'_>, mut books: Books, verdicts: &mut Verdicts) -> anyhow::Result<()> {
    let mut rows = snapshot.cursor(inventory::SCHEMA, &tables::stock()).await?;
    while let Some(row) = rows.next(snapshot).await? {
        match tables::balance(&row) {
            Ok((product, balance)) => books.close(&product, &balance, verdicts),
            Err(Illegible(reason)) => verdicts.broken(Folds, || reason),
        }
    }
    books.close_all(verdicts);
    Ok(())
}

impl Deeds {
    fn note(&mut self, told: &[Told<StockEvent>]) {
        let movements =
            told.iter().flat_map(|told| inventory::view::movements(&told.event, told.record.stream, told.record.at));
        self.0.extend(movements.map(|movement| (movement_key(&movement), movement)));
    }

    /// Judges whether the view shows these and no others.
    pub async fn judge(mut self, snapshot: &Snapshot<'_>, verdicts: &mut Verdicts) -> anyhow::Result<()> {
        let mut rows = snapshot.cursor(inventory::VIEW_SCHEMA, &tables::movements_of_people()).await?;
        while let Some(row) = rows.next(snapshot).await? {
            match tables::movement(&row) {
                Ok((_, shown)) => {
                    let made = self.0.remove(&movement_key(&shown));
                    judge_movement(Some(&shown), made.as_ref(), verdicts);
                }
                Err(Illegible(reason)) => verdicts.broken(Folds, || reason),
            }
        }
        for made in self.0.values() {
            judge_movement(None, Some(made), verdicts);
        }
        Ok(())
    }
}

fn judge_movement(shown: Option<&Movement>, made: Option<&Movement>, verdicts: &mut Verdicts) {
    verdicts.checked(Folds, "rows", 1);
    if let Some((words, movement)) = difference(shown, made).zip(shown.or(made)) {
        let (product, version) = (&movement.product, movement.change.version);
        verdicts.broken(Folds, || format!("product {product}, inventory_view.movement {version}: {words}"));
    }
}
