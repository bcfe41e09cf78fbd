//! What a batch writes, as columns: one statement per table, whatever the batch holds.

use contract::{Lanes, stock::Shortage};
use journal::Query;

use super::{Before, Kept, Rows};
use crate::order::Order;

pub(super) const INSERT: &str = "
INSERT INTO orders (id, lane, customer_id, status, payment_status, revision, version, currency, total, lines, reason,
    shortages, placed_at, updated_at, expires_at, token, declines, open)
SELECT unnest($1::uuid[]), unnest($2::int2[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]),
    unnest($6::int4[]), unnest($7::int4[]), unnest($8::text[]), unnest($9::int8[]), unnest($10::bytea[]),
    unnest($11::text[]), unnest($12::bytea[]), unnest($13::timestamptz[]), unnest($14::timestamptz[]),
    unnest($15::timestamptz[]), unnest($16::text[]), unnest($17::int4[]), unnest($18::bool[])";

/// Lines are sent only when they were replaced.
pub(super) const UPDATE: &str = "
UPDATE orders o SET status = v.status, payment_status = v.payment_status, revision = v.revision, version = v.version,
    total = v.total, lines = COALESCE(v.lines, o.lines), reason = v.reason, shortages = v.shortages,
    updated_at = v.updated_at, declines = v.declines, open = v.open
FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::text[]) AS status, unnest($3::text[]) AS payment_status,
    unnest($4::int4[]) AS revision, unnest($5::int4[]) AS version, unnest($6::int8[]) AS total,
    unnest($7::bytea[]) AS lines, unnest($8::text[]) AS reason, unnest($9::bytea[]) AS shortages,
    unnest($10::timestamptz[]) AS updated_at, unnest($11::int4[]) AS declines, unnest($12::bool[]) AS open) AS v
WHERE o.id = v.id";

/// The statements that store what changed.
pub(super) fn write(rows: &Rows, lanes: Lanes) -> Vec<Query> {
    let placed: Vec<&Order> = orders(rows, |kept| kept.before == Before::Absent);
    let changed: Vec<&Kept> = rows.orders.values().filter(|kept| kept.is_changed()).collect();
    let mut queries = Vec::new();
    if !placed.is_empty() {
        queries.push(insert(&placed, lanes));
    }
    if !changed.is_empty() {
        queries.push(update(&changed));
    }
    queries.extend(rows.keys.write());
    queries
}

fn orders(rows: &Rows, wanted: impl Fn(&Kept) -> bool) -> Vec<&Order> {
    rows.orders.values().filter(|kept| wanted(kept)).map(|kept| &*kept.order).collect()
}

fn insert(orders: &[&Order], lanes: Lanes) -> Query {
    Query::new(INSERT)
        .bind_each(orders, |order| order.shown.id)
        .bind_each(orders, |order| lanes.of_order(order.shown.id).as_i16())
        .bind_each(orders, |order| order.shown.customer_id.to_string())
        .bind_each(orders, |order| order.shown.status.as_str())
        .bind_each(orders, |order| order.shown.payment_status.as_str())
        .bind_each(orders, |order| order.shown.revision)
        .bind_each(orders, |order| order.shown.version)
        .bind_each(orders, |order| order.shown.currency.to_string())
        .bind_each(orders, |order| order.shown.total)
        .bind_each(orders, |order| order.shown.lines.as_json().as_bytes().to_vec())
        .bind_each(orders, |order| order.shown.reason.clone())
        .bind_each(orders, |order| encoded(&order.shown.shortages))
        .bind_each(orders, |order| order.shown.placed_at)
        .bind_each(orders, |order| order.shown.updated_at)
        .bind_each(orders, |order| order.shown.expires_at)
        .bind_each(orders, |order| order.payment.as_ref().map(|payment| payment.token.clone()))
        .bind_each(orders, |order| order.declines)
        .bind_each(orders, |order| order.shown.status.is_open())
}

fn update(changed: &[&Kept]) -> Query {
    let orders: Vec<&Order> = changed.iter().map(|kept| &*kept.order).collect();
    let orders = orders.as_slice();
    Query::new(UPDATE)
        .bind_each(orders, |order| order.shown.id)
        .bind_each(orders, |order| order.shown.status.as_str())
        .bind_each(orders, |order| order.shown.payment_status.as_str())
        .bind_each(orders, |order| order.shown.revision)
        .bind_each(orders, |order| order.shown.version)
        .bind_each(orders, |order| order.shown.total)
        .bind_each(changed, |kept| kept.new_lines())
        .bind_each(orders, |order| order.shown.reason.clone())
        .bind_each(orders, |order| encoded(&order.shown.shortages))
        .bind_each(orders, |order| order.shown.updated_at)
        .bind_each(orders, |order| order.declines)
        .bind_each(orders, |order| order.shown.status.is_open())
}

impl Kept {
    fn is_changed(&self) -> bool {
        matches!(self.before, Before::Stored { version, .. } if version != self.order.shown.version)
    }

    /// The lines, if this batch replaced them.
    pub(super) fn new_lines(&self) -> Option<Vec<u8>> {
        match self.before {
            Before::Stored { revision, .. } if revision == self.order.shown.revision => None,
            _ => Some(self.order.shown.lines.as_json().as_bytes().to_vec()),
        }
    }
}

/// Shortages as they are kept: JSON, or nothing.
pub(crate) fn encoded(shortages: &[Shortage]) -> Option<Vec<u8>> {
    let json = || serde_json::to_vec(shortages).expect("shortages hold only text and integers");
    (!shortages.is_empty()).then(json)
}
