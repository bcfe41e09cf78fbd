//! What a batch writes to the view, as columns.

use contract::{ProductId, order::PaymentStatus};
use journal::Query;
use uuid::Uuid;

use super::{Changed, Rows, Touched, ViewRow};
use crate::order::{Lines, Status};
use crate::store::encoded;

pub(super) const INSERT: &str = "
INSERT INTO orders (id, customer_id, status, payment_status, revision, version, currency, total, lines, reason,
    shortages, placed_at, updated_at, expires_at)
SELECT unnest($1::uuid[]), unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::int4[]),
    unnest($6::int4[]), unnest($7::text[]), unnest($8::int8[]), unnest($9::bytea[]), unnest($10::text[]),
    unnest($11::bytea[]), unnest($12::timestamptz[]), unnest($13::timestamptz[]), unnest($14::timestamptz[])";

/// What is absent stays.
pub(super) const UPDATE: &str = "
UPDATE orders o SET version = v.version, updated_at = v.updated_at, status = COALESCE(v.status, o.status),
    payment_status = COALESCE(v.payment_status, o.payment_status), revision = COALESCE(v.revision, o.revision),
    total = COALESCE(v.total, o.total), lines = COALESCE(v.lines, o.lines), reason = COALESCE(v.reason, o.reason),
    shortages = COALESCE(v.shortages, o.shortages)
FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::int4[]) AS version, unnest($3::timestamptz[]) AS updated_at,
    unnest($4::text[]) AS status, unnest($5::text[]) AS payment_status, unnest($6::int4[]) AS revision,
    unnest($7::int8[]) AS total, unnest($8::bytea[]) AS lines, unnest($9::text[]) AS reason,
    unnest($10::bytea[]) AS shortages) AS v
WHERE o.id = v.id";

/// The products of orders that are about to get other lines. An order's lines are amended so rarely that reading them
/// here is cheaper than an index by order would be for every order. The limit keeps the planner from reading the whole
/// index instead of looking each of them up.
pub(super) const DELETE_LINES: &str = "
DELETE FROM order_line WHERE ctid = ANY (ARRAY(
    SELECT l.ctid FROM orders o
    CROSS JOIN jsonb_array_elements(convert_from(o.lines, 'UTF8')::jsonb) AS line
    CROSS JOIN LATERAL (
        SELECT ctid FROM order_line WHERE product_id = line ->> 'productId' AND order_id = o.id LIMIT 1) l
    WHERE o.id = ANY($1)))";

pub(super) const INSERT_LINES: &str = "
INSERT INTO order_line (product_id, order_id) SELECT unnest($1::text[]), unnest($2::uuid[])";

/// The statements that store what a batch brings. Old products go before the lines that tell them are replaced.
pub(super) fn write(rows: &Rows) -> Vec<Query> {
    let (mut placed, mut changed) = (Vec::new(), Vec::new());
    for (id, touched) in &rows.0 {
        match touched {
            Touched::Placed(row) => placed.push(&**row),
            Touched::Changed(change) => changed.push((*id, &**change)),
        }
    }
    let amended: Vec<Uuid> =
        changed.iter().filter(|(_, changed)| changed.products.is_some()).map(|(id, _)| *id).collect();
    let mut queries = Vec::new();
    if !placed.is_empty() {
        queries.push(insert(&placed));
    }
    if !amended.is_empty() {
        queries.push(Query::new(DELETE_LINES).bind(amended));
    }
    if !changed.is_empty() {
        queries.push(update(&changed));
    }
    queries.extend(insert_lines(rows));
    queries
}

fn insert(placed: &[&ViewRow]) -> Query {
    Query::new(INSERT)
        .bind_each(placed, |row| row.shown.id)
        .bind_each(placed, |row| row.shown.customer_id.to_string())
        .bind_each(placed, |row| row.shown.status.as_str())
        .bind_each(placed, |row| row.shown.payment_status.as_str())
        .bind_each(placed, |row| row.shown.revision)
        .bind_each(placed, |row| row.shown.version)
        .bind_each(placed, |row| row.shown.currency.to_string())
        .bind_each(placed, |row| row.shown.total)
        .bind_each(placed, |row| bytes(&row.shown.lines))
        .bind_each(placed, |row| row.shown.reason.clone())
        .bind_each(placed, |row| encoded(&row.shown.shortages))
        .bind_each(placed, |row| row.shown.placed_at)
        .bind_each(placed, |row| row.shown.updated_at)
        .bind_each(placed, |row| row.shown.expires_at)
}

fn update(changed: &[(Uuid, &Changed)]) -> Query {
    Query::new(UPDATE)
        .bind_each(changed, |(id, _)| *id)
        .bind_each(changed, |(_, new)| new.version)
        .bind_each(changed, |(_, new)| new.at)
        .bind_each(changed, |(_, new)| new.change.status.map(Status::as_str))
        .bind_each(changed, |(_, new)| new.change.payment_status.map(PaymentStatus::as_str))
        .bind_each(changed, |(_, new)| new.change.revision)
        .bind_each(changed, |(_, new)| new.change.total)
        .bind_each(changed, |(_, new)| new.change.lines.as_ref().map(bytes))
        .bind_each(changed, |(_, new)| new.change.reason.clone())
        .bind_each(changed, |(_, new)| new.change.shortages.as_deref().and_then(encoded))
}

/// In the order of the index, so that neighbours find its page at hand.
fn insert_lines(rows: &Rows) -> Option<Query> {
    let mut lines = Vec::new();
    for (id, touched) in &rows.0 {
        lines.extend(touched.products().map(|product| (product, *id)));
    }
    if lines.is_empty() {
        return None;
    }
    lines.sort_unstable();
    Some(Query::new(INSERT_LINES).bind_each(&lines, |line| line.0.to_string()).bind_each(&lines, |line| line.1))
}

impl Touched {
    /// The products by which the order is to be found from now on, if that is new.
    fn products(&self) -> impl Iterator<Item = &ProductId> {
        let products = match self {
            Self::Placed(row) => Some(&row.products),
            Self::Changed(changed) => changed.products.as_ref(),
        };
        products.into_iter().flatten()
    }
}

fn bytes(lines: &Lines) -> Vec<u8> {
    lines.as_json().as_bytes().to_vec()
}
