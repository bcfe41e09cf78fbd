//! What a batch writes, as columns: one statement per table for what is new and one for what changed, whatever the batch
//! holds.

use contract::ProductId;
use journal::Query;
use uuid::Uuid;

use super::batch::Rows;
use crate::stock::{Balance, Hold};

pub(super) const INSERT_STOCK: &str = "
INSERT INTO stock (product_id, available, reserved, sold, version, stream_version)
SELECT unnest($1::text[]), unnest($2::int8[]), unnest($3::int8[]), unnest($4::int8[]), unnest($5::int8[]),
    unnest($6::int4[])";

/// A product that has another version than it was decided on becomes NULL, which the column refuses, and the whole batch
/// with it: it was remembered, and somebody changed it since.
pub(super) const UPDATE_STOCK: &str = "
UPDATE stock s SET available = v.available, reserved = v.reserved, sold = v.sold,
    version = CASE WHEN s.version = v.was THEN v.version END, stream_version = v.stream_version
FROM (SELECT unnest($1::text[]) AS product_id, unnest($2::int8[]) AS available, unnest($3::int8[]) AS reserved,
    unnest($4::int8[]) AS sold, unnest($5::int8[]) AS version, unnest($6::int4[]) AS stream_version,
    unnest($7::int8[]) AS was) AS v
WHERE s.product_id = v.product_id";

/// A row's arrays come as the lines of one text, because `unnest` takes arrays of arrays apart altogether.
pub(super) const INSERT_HOLDS: &str = r"
INSERT INTO reservation (order_id, revision, status, version, products, quantities)
SELECT v.order_id, v.revision, v.status, v.version, string_to_array(v.products, E'\n'),
    string_to_array(v.quantities, E'\n')::int8[]
FROM (SELECT unnest($1::uuid[]) AS order_id, unnest($2::int4[]) AS revision, unnest($3::text[]) AS status,
    unnest($4::int4[]) AS version, unnest($5::text[]) AS products, unnest($6::text[]) AS quantities) AS v";

pub(super) const UPDATE_HOLDS: &str = r"
UPDATE reservation r SET revision = v.revision, status = v.status, version = v.version,
    products = string_to_array(v.products, E'\n'), quantities = string_to_array(v.quantities, E'\n')::int8[]
FROM (SELECT unnest($1::uuid[]) AS order_id, unnest($2::int4[]) AS revision, unnest($3::text[]) AS status,
    unnest($4::int4[]) AS version, unnest($5::text[]) AS products, unnest($6::text[]) AS quantities) AS v
WHERE r.order_id = v.order_id";

/// The statements that store what changed.
pub(super) fn write(rows: &Rows) -> Vec<Query> {
    let stock = [insert_stock(&rows.new_products()), update_stock(rows.changed_products())];
    let holds = [holds(INSERT_HOLDS, &rows.new_holds()), holds(UPDATE_HOLDS, &rows.changed_holds())];
    stock.into_iter().chain(holds).chain([rows.keys().write()]).flatten().collect()
}

fn insert_stock(products: &[(&ProductId, &Balance)]) -> Option<Query> {
    (!products.is_empty()).then(|| stock(INSERT_STOCK, products))
}

/// The rows are locked in the products' order, so that no two batches can wait for each other.
fn update_stock(mut products: Vec<(&ProductId, &Balance, i64)>) -> Option<Query> {
    products.sort_unstable_by_key(|(product, ..)| *product);
    let now: Vec<_> = products.iter().map(|(product, balance, _)| (*product, *balance)).collect();
    (!products.is_empty()).then(|| stock(UPDATE_STOCK, &now).bind_each(&products, |(.., was)| *was))
}

fn stock(sql: &'static str, products: &[(&ProductId, &Balance)]) -> Query {
    Query::new(sql)
        .bind_each(products, |(product, _)| product.to_string())
        .bind_each(products, |(_, balance)| balance.available)
        .bind_each(products, |(_, balance)| balance.reserved)
        .bind_each(products, |(_, balance)| balance.sold)
        .bind_each(products, |(_, balance)| balance.version)
        .bind_each(products, |(_, balance)| balance.stream_version)
}

fn holds(sql: &'static str, holds: &[(&Uuid, &Hold)]) -> Option<Query> {
    (!holds.is_empty()).then(|| {
        Query::new(sql)
            .bind_each(holds, |(order, _)| **order)
            .bind_each(holds, |(_, hold)| hold.revision)
            .bind_each(holds, |(_, hold)| hold.status.as_str())
            .bind_each(holds, |(_, hold)| hold.version)
            .bind_each(holds, |(_, hold)| lines(hold.units.iter().map(|units| units.product.to_string())))
            .bind_each(holds, |(_, hold)| lines(hold.units.iter().map(|units| units.quantity.to_string())))
    })
}

/// Texts as the lines of one: no product's id has a line's end in it.
fn lines(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join("\n")
}
