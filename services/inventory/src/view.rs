//! The read model: every movement of every product, projected from inventory's own topic.

use chrono::{DateTime, Utc};
use contract::event::UnreadableData;
use contract::stock::{Adjusted, StockEvent};
use contract::{ProductId, Record, Topic};
use deadpool_postgres::Pool;
use journal::{Cells, Decision, Loaded, Model, Query, ReadError, Unreadable, UnreadableRow};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::stock::{Change, changes};

/// The view's own tables. A movement never changes, and is found by its product alone.
pub const MIGRATIONS: &[&str] = &[r#"
CREATE TABLE movement (
    product_id text COLLATE "C" NOT NULL,
    version int8 NOT NULL,
    kind text NOT NULL,
    available int8 NOT NULL,
    reserved int8 NOT NULL,
    sold int8 NOT NULL,
    order_id uuid,
    reason text,
    reference text,
    at timestamptz NOT NULL,
    PRIMARY KEY (product_id, version)
) WITH (autovacuum_analyze_scale_factor = 1)"#];

const PROJECT: &str = "
INSERT INTO movement (product_id, version, kind, available, reserved, sold, order_id, reason, reference, at)
SELECT unnest($1::text[]), unnest($2::int8[]), unnest($3::text[]), unnest($4::int8[]), unnest($5::int8[]),
    unnest($6::int8[]), unnest($7::uuid[]), unnest($8::text[]), unnest($9::text[]), unnest($10::timestamptz[])";

/// Newest first; `version < $2` with the greatest of all versions begins at the newest.
const PAGE: &str = "
SELECT product_id, version, kind, available, reserved, sold, order_id, reason, reference, at FROM movement
WHERE product_id = $1 AND version < $2 ORDER BY version DESC LIMIT $3";

/// Every movement's row, to be read by [`read`]; a condition may follow.
pub const MOVEMENTS: &str =
    "SELECT product_id, version, kind, available, reserved, sold, order_id, reason, reference, at FROM movement";

/// What moved units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An order took hold of them.
    Reserved,
    /// An order gave its hold back.
    Released,
    /// An order was confirmed.
    Sold,
    /// A confirmed order was cancelled.
    Returned,
    /// Someone counted.
    Counted,
    /// Someone added or took units.
    Adjusted,
}

/// One change of one product's balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The product.
    pub product: ProductId,
    /// What moved the units.
    pub kind: Kind,
    /// By how much the balance changed, and the product's version after it.
    pub change: Change,
    /// The order that moved them.
    pub order: Option<Uuid>,
    /// Why, in the words of whoever adjusted.
    pub reason: Option<String>,
    /// The reference of whoever adjusted.
    pub reference: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

impl Kind {
    /// Its name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Released => "released",
            Self::Sold => "sold",
            Self::Returned => "returned",
            Self::Counted => "counted",
            Self::Adjusted => "adjusted",
        }
    }

    /// Whether it is told in the product's own stream.
    fn is_own(self) -> bool {
        matches!(self, Self::Counted | Self::Adjusted)
    }
}

/// The movements that a record of inventory's topic tells of, as the view keeps them.
pub fn project(record: &Record) -> Result<Vec<Movement>, UnreadableData> {
    let event = StockEvent::decode(&record.kind, &record.data)?;
    Ok(event.map(|event| movements(&event, record.stream, record.at)).unwrap_or_default())
}

/// The movements that an event of `stream`, an order's or a product's, tells of.
pub fn movements(event: &StockEvent, stream: Uuid, at: DateTime<Utc>) -> Vec<Movement> {
    let kind = match event {
        StockEvent::Reserved(_) => Kind::Reserved,
        StockEvent::Released(_) => Kind::Released,
        StockEvent::Sold(_) => Kind::Sold,
        StockEvent::Returned(_) => Kind::Returned,
        StockEvent::Counted(_) => Kind::Counted,
        StockEvent::Adjusted(adjusted) => return vec![Movement::adjusted(adjusted, at)],
        StockEvent::Rejected(_) => return Vec::new(),
    };
    let order = (!kind.is_own()).then_some(stream);
    let moved = |(product, change): (&ProductId, _)| Movement::new(product.clone(), kind, change, order, at);
    changes(event).into_iter().map(moved).collect()
}

impl Movement {
    fn new(product: ProductId, kind: Kind, change: Change, order: Option<Uuid>, at: DateTime<Utc>) -> Self {
        Self { product, kind, change, order, reason: None, reference: None, at }
    }

    /// The movement that an adjustment at `at` is.
    pub fn adjusted(adjusted: &Adjusted, at: DateTime<Utc>) -> Self {
        let Adjusted { product_id, delta, reason, reference, version } = adjusted.clone();
        let moved = Self::new(product_id, Kind::Adjusted, Change::own(version, delta), None, at);
        Self { reason: Some(reason), reference, ..moved }
    }
}

/// The view as its journal sees it.
#[derive(Debug)]
pub struct InventoryView;

impl Model for InventoryView {
    type Command = Vec<Movement>;
    type Answer = ();
    type Rows = Vec<Movement>;
    type Memory = ();

    const STATEMENTS: &'static [&'static str] = &[PROJECT];

    fn read(&self, _: Topic, record: &Record) -> Result<Option<Vec<Movement>>, Unreadable> {
        let movements = project(record)?;
        Ok((!movements.is_empty()).then_some(movements))
    }

    fn load(&self, _: &[&Vec<Movement>], (): &()) -> Vec<Query> {
        Vec::new()
    }

    fn rows(&self, _: &[&Vec<Movement>], _: Loaded, (): &mut ()) -> Result<Vec<Movement>, UnreadableRow> {
        Ok(Vec::new())
    }

    fn decide(&self, rows: &mut Vec<Movement>, movements: &Vec<Movement>, _: &mut Decision<'_>) {
        rows.extend_from_slice(movements);
    }

    fn write(&self, rows: &Vec<Movement>) -> Vec<Query> {
        vec![insertion(rows)]
    }

    fn committed(&self, _: Vec<Movement>, (): &mut ()) {}
}

/// In the order of the index, so that neighbours find its page at hand.
fn insertion(movements: &[Movement]) -> Query {
    let mut sorted: Vec<&Movement> = movements.iter().collect();
    sorted.sort_unstable_by_key(|movement| (&movement.product, movement.change.version));
    let movements = &sorted;
    Query::new(PROJECT)
        .bind_each(movements, |movement| movement.product.to_string())
        .bind_each(movements, |movement| movement.change.version)
        .bind_each(movements, |movement| movement.kind.as_str())
        .bind_each(movements, |movement| movement.change.available)
        .bind_each(movements, |movement| movement.change.reserved)
        .bind_each(movements, |movement| movement.change.sold)
        .bind_each(movements, |movement| movement.order)
        .bind_each(movements, |movement| movement.reason.clone())
        .bind_each(movements, |movement| movement.reference.clone())
        .bind_each(movements, |movement| movement.at)
}

/// Up to `limit` movements of a product, newest first: those before version `before`, or from the newest on.
pub async fn page(
    reads: &Pool,
    product: &ProductId,
    before: Option<i64>,
    limit: u16,
) -> Result<Vec<Movement>, ReadError> {
    let (before, limit) = (before.unwrap_or(i64::MAX), i64::from(limit));
    let parameters = [(&product.as_str() as _, Type::TEXT), (&before as _, Type::INT8), (&limit as _, Type::INT8)];
    let rows = reads.get().await?.query_typed(PAGE, &parameters).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// The movement that a row of [`MOVEMENTS`] holds.
pub fn read(row: &Row) -> Result<Movement, UnreadableRow> {
    let mut cells = Cells::of("inventory_view.movement", row);
    let (product, version, kind) = (cells.take_named()?, cells.take()?, cells.take_named::<Kind>()?);
    let (available, reserved, sold) = (cells.take()?, cells.take()?, cells.take()?);
    let change = Change { version, available, reserved, sold, own: kind.is_own() };
    let (order, reason, reference, at) = (cells.take()?, cells.take()?, cells.take()?, cells.take()?);
    Ok(Movement { product, kind, change, order, reason, reference, at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::tests::{ORDER, record};
    use contract::Lane;
    use contract::stock::{Counted, Held, Movement as Moved, Rejected, stream_of};
    use serde::de::IntoDeserializer as _;
    use serde::de::value::Error as UnknownName;

    fn product(name: &str) -> ProductId {
        name.parse().expect("is an id")
    }

    fn held() -> Held {
        let moved = |name, version| Moved { product_id: product(name), quantity: 2, version };
        Held { revision: 1, movements: vec![moved("a", 4), moved("b", 9)] }
    }

    fn projected(stream: Uuid, event: &StockEvent) -> Vec<Movement> {
        project(&record(stream, event)).expect("can be read")
    }

    #[test]
    fn an_order_moves_each_of_its_products() {
        let moved = projected(ORDER, &StockEvent::Sold(held()));
        let change = |version| Change { version, available: 0, reserved: -2, sold: 2, own: false };
        assert_eq!(moved.iter().map(|moved| &moved.product).collect::<Vec<_>>(), [&product("a"), &product("b")]);
        assert_eq!(moved.iter().map(|moved| moved.change).collect::<Vec<_>>(), [change(4), change(9)]);
        assert!(moved.iter().all(|moved| moved.order == Some(ORDER) && moved.kind == Kind::Sold));
    }

    #[test]
    fn a_count_and_an_adjustment_are_nobodys_order() {
        let (product_id, stream) = (product("a"), stream_of(&product("a")));
        let counted = Counted { product_id: product_id.clone(), on_hand: 5, delta: -1, version: 2 };
        let (reason, reference) = ("broken".to_owned(), Some("R-1".to_owned()));
        let adjusted =
            Adjusted { product_id, delta: -3, reason: reason.clone(), reference: reference.clone(), version: 3 };
        let counted = projected(stream, &StockEvent::Counted(counted));
        let adjusted = projected(stream, &StockEvent::Adjusted(adjusted));
        assert_eq!((counted[0].kind, counted[0].change, counted[0].order), (Kind::Counted, Change::own(2, -1), None));
        assert_eq!(
            (adjusted[0].kind, adjusted[0].change, adjusted[0].order),
            (Kind::Adjusted, Change::own(3, -3), None)
        );
        assert_eq!((adjusted[0].reason.as_ref(), &adjusted[0].reference), (Some(&reason), &reference));
    }

    #[test]
    fn a_rejection_moves_nothing_and_is_passed_over() {
        let rejected = StockEvent::Rejected(Rejected { revision: 1, shortages: vec![] });
        assert!(InventoryView.read(Topic::Inventory, &record(ORDER, &rejected)).expect("can be read").is_none());
    }

    #[test]
    fn a_batch_is_one_statement() {
        let (mut rows, mut appended) = (Vec::new(), Vec::new());
        for event in [StockEvent::Reserved(held()), StockEvent::Released(held())] {
            let mut decision = Decision::new(DateTime::UNIX_EPOCH, Lane(3), &mut appended);
            InventoryView.decide(&mut rows, &projected(ORDER, &event), &mut decision);
        }
        assert_eq!((rows.len(), appended.len(), InventoryView.write(&rows).len()), (4, 0, 1));
    }

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        for kind in [Kind::Reserved, Kind::Released, Kind::Sold, Kind::Returned, Kind::Counted, Kind::Adjusted] {
            let read: Result<_, UnknownName> = Kind::deserialize(kind.as_str().into_deserializer());
            assert_eq!(read, Ok(kind));
            assert_eq!(serde_json::to_value(kind).expect("is JSON"), kind.as_str());
        }
    }
}
