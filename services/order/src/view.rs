//! The orders for listing: what the orders' own events make of them, kept apart from the write side, so that lists scale
//! on their own and cost the write side nothing.
//!
//! An event says all that it changes, so a batch reads nothing: whatever it brings for one order becomes one row to
//! insert or one row to update.

mod columns;
mod list;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use contract::{
    ProductId, Record, Topic,
    order::{Line, OrderEvent},
};
use journal::{Cells, Decision, Loaded, Model, Query, Unreadable, UnreadableRow};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::order::{Change, Order, Shown, fold};
use crate::store::{read_shown, shown_columns};

pub use list::{Filter, list};

/// The view's tables. An order's row is updated in place a few times, so room is left for that, and no index tells
/// `pending` from `reserved`. `shelf` is where an order is looked for by its status: the open ones are together, and a
/// confirmed one, as nearly every order is soon, is on none: it is found in the primary key, which is in the order of time.
pub const MIGRATIONS: &[&str] = &[r#"
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    customer_id text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    payment_status text COLLATE "C" NOT NULL,
    revision int4 NOT NULL,
    version int4 NOT NULL,
    currency text COLLATE "C" NOT NULL,
    total int8 NOT NULL,
    lines bytea NOT NULL,
    reason text,
    shortages bytea,
    placed_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    shelf text COLLATE "C" GENERATED ALWAYS AS (CASE
        WHEN status IN ('pending', 'reserved') THEN 'open'
        WHEN status <> 'confirmed' THEN status
    END) STORED
) WITH (fillfactor = 60, autovacuum_analyze_scale_factor = 1);
CREATE INDEX orders_of_customer ON orders (customer_id, id);
CREATE INDEX orders_on_shelf ON orders (shelf, id) WHERE shelf IS NOT NULL;

CREATE TABLE order_line (
    product_id text COLLATE "C",
    order_id uuid,
    PRIMARY KEY (product_id, order_id)
) WITH (autovacuum_analyze_scale_factor = 1);
"#];

/// Every row of the view, to be read by [`read_row`]; a condition may follow.
pub const ROWS: &str = concat!(
    "SELECT ",
    shown_columns!(),
    ", l.products FROM orders o LEFT JOIN
        (SELECT order_id, array_agg(product_id) AS products FROM order_line GROUP BY order_id) l ON l.order_id = o.id"
);

/// What the view keeps of one order.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewRow {
    /// What a list shows.
    pub shown: Shown,
    /// The products by which it is found.
    pub products: BTreeSet<ProductId>,
}

/// The row that an order's events, oldest first and each with its time, make; nothing if they do not begin with its
/// placing.
pub fn project(id: Uuid, events: &[(DateTime<Utc>, OrderEvent)]) -> Option<ViewRow> {
    let order = fold(id, events.iter().map(|(at, event)| (*at, event)))?;
    let products = events.iter().rev().find_map(|(_, event)| products(event))?;
    Some(ViewRow { shown: order.shown, products })
}

/// The row of the view that a row of [`ROWS`] holds.
pub fn read_row(row: &Row) -> Result<ViewRow, UnreadableRow> {
    let mut cells = Cells::of("orders_view.orders", row);
    let shown = read_shown(&mut cells)?;
    let products: Option<Vec<&str>> = cells.take()?;
    let products = products.unwrap_or_default().into_iter().map(str::parse).collect::<Result<_, _>>();
    Ok(ViewRow { shown, products: products.map_err(|error| cells.unreadable(error))? })
}

/// The products of the lines that an event brings, if it brings any.
fn products(event: &OrderEvent) -> Option<BTreeSet<ProductId>> {
    let of = |lines: &[Line]| lines.iter().map(|line| line.product_id.clone()).collect();
    match event {
        OrderEvent::Placed(placed) => Some(of(&placed.lines)),
        OrderEvent::Amended(amended) => Some(of(&amended.lines)),
        _ => None,
    }
}

/// The view as its journal sees it.
pub struct OrdersView;

/// An event to project.
#[derive(Debug)]
pub struct Happened {
    order: Uuid,
    version: i32,
    at: DateTime<Utc>,
    event: OrderEvent,
}

/// What a batch brings, by order.
#[derive(Default)]
pub struct Rows(BTreeMap<Uuid, Touched>);

/// What a batch brings for one order.
enum Touched {
    /// The whole of it.
    Placed(Box<ViewRow>),
    /// What is new.
    Changed(Box<Changed>),
}

/// What is new of an order.
struct Changed {
    change: Change,
    version: i32,
    at: DateTime<Utc>,
    products: Option<BTreeSet<ProductId>>,
}

impl Model for OrdersView {
    type Command = Happened;
    type Answer = ();
    type Rows = Rows;
    type Memory = ();

    const STATEMENTS: &'static [&'static str] =
        &[columns::INSERT, columns::UPDATE, columns::DELETE_LINES, columns::INSERT_LINES];

    fn read(&self, _: Topic, record: &Record) -> Result<Option<Happened>, Unreadable> {
        let event = OrderEvent::decode(&record.kind, &record.data)?;
        let (order, version, at) = (record.stream, record.version, record.at);
        Ok(event.map(|event| Happened { order, version, at, event }))
    }

    fn load(&self, _: &[&Happened], (): &()) -> Vec<Query> {
        Vec::new()
    }

    fn rows(&self, _: &[&Happened], _: Loaded, (): &mut ()) -> Result<Rows, UnreadableRow> {
        Ok(Rows::default())
    }

    fn decide(&self, rows: &mut Rows, happened: &Happened, _: &mut Decision<'_>) {
        rows.take_note(happened);
    }

    fn write(&self, rows: &Rows) -> Vec<Query> {
        columns::write(rows)
    }

    fn committed(&self, _: Rows, (): &mut ()) {}
}

impl Rows {
    fn take_note(&mut self, happened: &Happened) {
        let Happened { order, version, at, event } = happened;
        match (event, self.0.get_mut(order)) {
            (OrderEvent::Placed(placed), _) => {
                let shown = Order::placed(*order, placed, *at).shown;
                let products = products(event).unwrap_or_default();
                self.0.insert(*order, Touched::Placed(Box::new(ViewRow { shown, products })));
            }
            (_, Some(touched)) => touched.add(happened),
            (_, None) => {
                let (change, products) = (Change::of(event), products(event));
                let changed = Changed { change, version: *version, at: *at, products };
                self.0.insert(*order, Touched::Changed(Box::new(changed)));
            }
        }
    }
}

impl Touched {
    /// What comes after it in the same batch.
    fn add(&mut self, happened: &Happened) {
        let Happened { version, at, event, .. } = happened;
        let (change, products) = (Change::of(event), products(event));
        match self {
            Self::Placed(row) => {
                row.shown.apply(change, *version, *at);
                row.products = products.unwrap_or_else(|| std::mem::take(&mut row.products));
            }
            Self::Changed(changed) => {
                changed.change = std::mem::take(&mut changed.change).then(change);
                (changed.version, changed.at) = (*version, *at);
                changed.products = products.or_else(|| changed.products.take());
            }
        }
    }
}

#[cfg(test)]
mod tests;
