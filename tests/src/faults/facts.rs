//! What the system wrote down, read from its tables and from the provider's own.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use uuid::Uuid;

use crate::postgres::TestDatabase;

const PLACED: &str = "
SELECT e.stream_id, d ->> 'customerId', (d ->> 'total')::int8, o.status, o.version::int8, o.total
FROM orders.event e CROSS JOIN LATERAL (SELECT convert_from(e.data, 'UTF8')::jsonb AS d) AS data
LEFT JOIN orders.orders o ON o.id = e.stream_id WHERE e.kind = 'order.placed.v1'";

const CHANGES: &str = "
SELECT stream_id, kind, count(*) FROM orders.event
WHERE kind IN ('order.amended.v1', 'order.cancelled.v1', 'order.confirmed.v1') GROUP BY 1, 2";

const ATTEMPTS: &str = "SELECT stream_id, count(*) FROM payments.event WHERE kind = 'payment.started.v1' GROUP BY 1";

/// The provider's own list, by the order that asked for the charge.
const CHARGES: &str = "
SELECT e.stream_id, sum(c.captured)::int8, sum(c.refunded)::int8
FROM provider.charge c JOIN payments.event e
  ON e.kind = 'payment.started.v1' AND (convert_from(e.data, 'UTF8')::jsonb ->> 'paymentId')::uuid = c.key
GROUP BY 1";

/// Charges that no order asked for.
const STRANGE_CHARGES: &str = "
SELECT count(*) FROM provider.charge c WHERE NOT EXISTS (SELECT FROM payments.event e
  WHERE e.kind = 'payment.started.v1' AND (convert_from(e.data, 'UTF8')::jsonb ->> 'paymentId')::uuid = c.key)";

const NOTICES: &str = "SELECT order_id, kind, count(*) FROM notifications.notice GROUP BY 1, 2";

const ADJUSTMENTS: &str = "
SELECT convert_from(data, 'UTF8')::jsonb ->> 'reference', count(*) FROM inventory.event
WHERE kind = 'stock.adjusted.v1' GROUP BY 1";

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Orders by id.
    pub orders: BTreeMap<String, OrderFacts>,
    /// Adjustments of stock by their reference, and how often each was made.
    pub adjustments: BTreeMap<String, u32>,
}

/// What is there of one order.
#[derive(Clone, Debug, Default)]
pub struct OrderFacts {
    /// Whose it is.
    pub customer: String,
    /// What it cost when it was placed.
    pub placed_total: i64,
    /// What it costs now.
    pub total: i64,
    /// How it ended.
    pub status: String,
    /// Whether it was ever confirmed.
    pub was_confirmed: bool,
    /// Its version.
    pub version: i64,
    /// How often its lines were replaced.
    pub amended: u32,
    /// How often it was called off.
    pub cancelled: u32,
    /// Attempts to pay for it.
    pub attempts: u32,
    /// What the provider took for it.
    pub taken: i64,
    /// What the provider gave back.
    pub given_back: i64,
    /// What its customer was told, and how often.
    pub notices: BTreeMap<String, u32>,
}

/// Reads what is there.
pub async fn read(database: &TestDatabase) -> anyhow::Result<Facts> {
    let client = database.connect().await?;
    let mut facts = Facts::default();
    for row in client.query(PLACED, &[]).await? {
        let order = OrderFacts {
            customer: row.try_get(1)?,
            placed_total: row.try_get(2)?,
            status: row.try_get::<_, Option<String>>(3)?.unwrap_or_default(),
            version: row.try_get::<_, Option<i64>>(4)?.unwrap_or_default(),
            total: row.try_get::<_, Option<i64>>(5)?.unwrap_or_default(),
            ..OrderFacts::default()
        };
        facts.orders.insert(row.try_get::<_, Uuid>(0)?.to_string(), order);
    }
    add_changes(&client, &mut facts).await?;
    add_payments(&client, &mut facts).await?;
    for row in client.query(NOTICES, &[]).await? {
        facts.order(row.try_get(0)?).notices.insert(row.try_get(1)?, count(row.try_get(2)?));
    }
    for row in client.query(ADJUSTMENTS, &[]).await? {
        facts.adjustments.insert(row.try_get::<_, Option<String>>(0)?.unwrap_or_default(), count(row.try_get(1)?));
    }
    Ok(facts)
}

async fn add_changes(client: &Client, facts: &mut Facts) -> anyhow::Result<()> {
    for row in client.query(CHANGES, &[]).await? {
        let order = facts.order(row.try_get(0)?);
        let times = count(row.try_get(2)?);
        match row.try_get(1)? {
            "order.amended.v1" => order.amended = times,
            "order.cancelled.v1" => order.cancelled = times,
            _ => order.was_confirmed = true,
        }
    }
    Ok(())
}

async fn add_payments(client: &Client, facts: &mut Facts) -> anyhow::Result<()> {
    for row in client.query(ATTEMPTS, &[]).await? {
        facts.order(row.try_get(0)?).attempts = count(row.try_get(1)?);
    }
    for row in client.query(CHARGES, &[]).await? {
        let order = facts.order(row.try_get(0)?);
        (order.taken, order.given_back) = (row.try_get(1)?, row.try_get(2)?);
    }
    let strange: i64 = client.query_one(STRANGE_CHARGES, &[]).await?.try_get(0)?;
    anyhow::ensure!(strange == 0, "the provider has {strange} charges that no order asked for");
    Ok(())
}

impl Facts {
    /// What is there of an order. One that was never placed has no customer, so nobody sent it.
    fn order(&mut self, id: Uuid) -> &mut OrderFacts {
        self.orders.entry(id.to_string()).or_default()
    }
}

fn count(times: i64) -> u32 {
    u32::try_from(times).unwrap_or(u32::MAX)
}
