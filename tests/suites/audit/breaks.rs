//! What someone could do to the books by hand, and the invariant that it breaks.

use super::orders::Orders;

/// One thing that someone did.
pub struct Break {
    /// The number of the invariant that it breaks; others may follow from it.
    pub invariant: usize,
    /// What was done.
    pub what: &'static str,
    /// How.
    pub sql: String,
}

fn done(invariant: usize, what: &'static str, sql: impl Into<String>) -> Break {
    Break { invariant, what, sql: sql.into() }
}

/// Replaces `from` by `to` in the data of events of `schema`.
fn forged(schema: &str, which: &str, from: &str, to: &str) -> String {
    format!(
        "UPDATE {schema}.event SET data = convert_to(replace(convert_from(data, 'UTF8'), '{from}', '{to}'), 'UTF8')
         WHERE {which}"
    )
}

/// Everything that is tried.
pub fn all(orders: &Orders) -> Vec<Break> {
    [stock(orders), money(orders), journals(orders), rows(orders), deadlines(orders), once(orders)]
        .into_iter()
        .flatten()
        .collect()
}

fn stock(orders: &Orders) -> Vec<Break> {
    let Orders { confirmed, refunded, amended, .. } = orders;
    let counted = "kind = 'stock.counted.v1' AND subject = 'SKU-1'";
    vec![
        done(
            1,
            "a unit from nowhere",
            "UPDATE inventory.stock SET available = available + 1 WHERE product_id = 'SKU-1'",
        ),
        done(
            1,
            "fewer units counted than were held afterwards",
            forged("inventory", counted, r#""onHand":100,"delta":100"#, r#""onHand":1,"delta":1"#),
        ),
        done(
            1,
            "a change of a product that is told no more",
            format!("DELETE FROM inventory.event WHERE stream_id = '{refunded}' AND kind = 'stock.returned.v1'"),
        ),
        done(2, "a unit sold from nowhere", "UPDATE inventory.stock SET sold = sold + 1 WHERE product_id = 'SKU-1'"),
        done(
            2,
            "another number counted than there was",
            forged("inventory", counted, r#""onHand":100"#, r#""onHand":101"#),
        ),
        done(
            3,
            "a unit reserved for nobody",
            "UPDATE inventory.stock SET reserved = reserved + 1, available = available - 1 WHERE product_id = 'SKU-1'",
        ),
        done(
            3,
            "a confirmed order's hold given back",
            format!(
                "UPDATE inventory.reservation SET status = 'closed', products = '{{}}', quantities = '{{}}' WHERE order_id = '{confirmed}'"
            ),
        ),
        done(
            3,
            "a confirmed order's hold gone",
            format!("DELETE FROM inventory.reservation WHERE order_id = '{confirmed}'"),
        ),
        done(
            4,
            "a hold without one of its lines",
            format!(
                "UPDATE inventory.reservation SET products = products[1:1], quantities = quantities[1:1] WHERE order_id = '{confirmed}'"
            ),
        ),
        done(
            4,
            "a line that grew after it was held",
            forged(
                "orders",
                &format!("stream_id = '{confirmed}' AND version = 1"),
                r#""quantity":2"#,
                r#""quantity":3"#,
            ),
        ),
        done(
            4,
            "a hold for other lines than those of its revision",
            forged(
                "inventory",
                &format!("stream_id = '{amended}' AND kind = 'stock.sold.v1'"),
                r#""revision":2"#,
                r#""revision":1"#,
            ),
        ),
    ]
}

fn money(orders: &Orders) -> Vec<Break> {
    let Orders { confirmed, refunded, voided, declined, .. } = orders;
    let ledger = |order| format!("payment_id IN (SELECT id FROM payments.payment WHERE order_id = '{order}')");
    let charge = |order| format!("key IN (SELECT id FROM payments.payment WHERE order_id = '{order}')");
    vec![
        done(
            5,
            "money taken twice",
            format!(
                "INSERT INTO payments.event SELECT seq + 1000, lane, version + 1, stream_id, gen_random_uuid(), at, kind, data
                 FROM payments.event WHERE stream_id = '{confirmed}' AND kind = 'payment.captured.v1'"
            ),
        ),
        done(
            5,
            "less money taken than the order's total",
            forged("payments", &format!("stream_id = '{confirmed}' AND kind = 'payment.captured.v1'"), r#""amount":750"#, r#""amount":700"#),
        ),
        done(
            5,
            "money of a cancelled order that was never given back",
            format!("DELETE FROM payments.event WHERE stream_id = '{refunded}' AND kind LIKE 'payment.refund%'"),
        ),
        done(
            5,
            "money of a cancelled order that is held still",
            format!("DELETE FROM payments.event WHERE stream_id = '{voided}' AND kind LIKE 'payment.void%'"),
        ),
        done(
            5,
            "an order confirmed without its money being held",
            format!("DELETE FROM payments.event WHERE stream_id = '{confirmed}' AND kind = 'payment.authorized.v1'"),
        ),
        done(
            6,
            "a line of the ledger with another amount",
            format!("UPDATE payments.ledger SET amount = amount + 1 WHERE account = 'sales' AND {}", ledger(confirmed)),
        ),
        done(6, "a refund that the ledger lost", format!("DELETE FROM payments.ledger WHERE kind = 'refund' AND {}", ledger(refunded))),
        done(6, "a charge that the provider denies", format!("DELETE FROM provider.charge WHERE {}", charge(confirmed))),
        done(
            6,
            "a charge that the provider did not give back",
            format!("UPDATE provider.charge SET status = 'captured', refunded = 0 WHERE {}", charge(refunded)),
        ),
        done(
            6,
            "a charge of a declined order",
            format!("UPDATE provider.charge SET status = 'captured', captured = amount WHERE {}", charge(declined)),
        ),
        done(
            6,
            "a charge that nobody asked for",
            "INSERT INTO provider.charge SELECT gen_random_uuid(), token, amount, currency, 'authorized', NULL, 0, 0, now(), now()
             FROM provider.charge LIMIT 1",
        ),
    ]
}

fn journals(orders: &Orders) -> Vec<Break> {
    let Orders { confirmed, .. } = orders;
    vec![
        done(
            7,
            "an event deleted",
            format!("DELETE FROM orders.event WHERE stream_id = '{confirmed}' AND version = 2"),
        ),
        done(7, "an event too few at the end", "UPDATE payments.lane_head SET last_seq = last_seq + 1 WHERE lane = 0"),
        done(
            7,
            "a consumer ahead of its source",
            "UPDATE inventory.inbox_lane SET last_seq = last_seq + 1 WHERE lane = 1",
        ),
        done(7, "a consumer without a position", "DELETE FROM notifications.inbox_lane WHERE lane = 2"),
        done(
            7,
            "an event in another lane",
            format!(
                "UPDATE notifications.event SET lane = (lane + 1) % 3, seq = seq + 1000 WHERE subject = '{confirmed}'"
            ),
        ),
        done(
            7,
            "two events changed places",
            format!(
                "UPDATE orders.event SET version = version + 100 WHERE stream_id = '{confirmed}' AND version IN (2, 3);
                 UPDATE orders.event SET version = 105 - version WHERE stream_id = '{confirmed}' AND version > 100"
            ),
        ),
    ]
}

fn rows(orders: &Orders) -> Vec<Break> {
    let Orders { confirmed, paid_late, short, .. } = orders;
    vec![
        done(
            8,
            "an order's row with another total",
            format!("UPDATE orders.orders SET total = total + 1 WHERE id = '{confirmed}'"),
        ),
        done(
            8,
            "an order that is looked after for ever",
            format!("UPDATE orders.orders SET open = true WHERE id = '{confirmed}'"),
        ),
        done(8, "an order whose row is gone", format!("DELETE FROM orders.orders WHERE id = '{short}'")),
        done(8, "a row that nobody can read", format!("UPDATE orders.orders SET status = 'lost' WHERE id = '{short}'")),
        done(
            8,
            "an order listed with another status",
            format!("UPDATE orders_view.orders SET status = 'pending' WHERE id = '{short}'"),
        ),
        done(
            8,
            "an order that is not found by its product",
            format!("DELETE FROM orders_view.order_line WHERE order_id = '{confirmed}'"),
        ),
        done(
            8,
            "an order's movement that is not shown",
            format!("DELETE FROM inventory_view.movement WHERE order_id = '{confirmed}'"),
        ),
        done(
            8,
            "an adjustment that is shown otherwise",
            "UPDATE inventory_view.movement SET reason = 'stolen' WHERE kind = 'adjusted'",
        ),
        done(
            8,
            "a count that is not shown",
            "DELETE FROM inventory_view.movement WHERE kind = 'counted' AND product_id = 'SKU-2'",
        ),
        done(
            8,
            "an account closed by hand",
            format!("UPDATE payments.account SET closed = true WHERE order_id = '{confirmed}'"),
        ),
        done(
            8,
            "an attempt's row gone",
            format!("DELETE FROM payments.payment WHERE order_id = '{paid_late}' AND attempt = 1"),
        ),
        done(
            8,
            "a notice's row changed",
            format!("UPDATE notifications.notice SET attempts = 2 WHERE order_id = '{confirmed}'"),
        ),
        done(
            8,
            "an event that nobody can read",
            format!("UPDATE payments.event SET data = '{{}}' WHERE stream_id = '{paid_late}' AND version = 2"),
        ),
    ]
}

fn deadlines(orders: &Orders) -> Vec<Break> {
    let Orders { expired, .. } = orders;
    vec![done(
        9,
        "an order that nobody ended",
        format!(
            "DELETE FROM orders.event WHERE stream_id = '{expired}' AND kind = 'order.expired.v1';
             UPDATE orders.orders SET status = 'reserved', open = true WHERE id = '{expired}'"
        ),
    )]
}

fn once(orders: &Orders) -> Vec<Break> {
    let Orders { confirmed, refunded, declined, .. } = orders;
    vec![
        done(
            10,
            "a customer who was not told",
            format!("DELETE FROM notifications.notice WHERE order_id = '{declined}'"),
        ),
        done(
            10,
            "a customer who was told twice",
            format!(
                "ALTER TABLE notifications.notice DROP CONSTRAINT notice_order_id_kind_channel_key;
                 INSERT INTO notifications.notice
                 SELECT gen_random_uuid(), lane, order_id, customer_id, kind, channel, status, attempts, created_at
                 FROM notifications.notice WHERE order_id = '{confirmed}'"
            ),
        ),
        done(
            10,
            "another customer told",
            format!("UPDATE notifications.notice SET customer_id = 'eve' WHERE order_id = '{refunded}'"),
        ),
        done(
            10,
            "a key that stands for another's order",
            format!("UPDATE orders.idempotency SET stream_id = '{confirmed}' WHERE stream_id = '{refunded}'"),
        ),
        done(10, "a key that stands for nothing", "UPDATE inventory.idempotency SET version = version + 7"),
    ]
}
