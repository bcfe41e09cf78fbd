//! Waiting for the system to come to rest.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;

use super::consumers;
use super::report::InFlight;
use super::snapshot::Snapshot;

/// How often to look: each look costs PostgreSQL a few milliseconds.
const POLL: Duration = Duration::from_millis(200);

const OPEN_ORDERS: &str = "SELECT count(*) FROM orders WHERE open";
const OPEN_PAYMENTS: &str = "SELECT count(*) FROM payment WHERE open";

/// Waits until nothing is in flight, or until `limit` has passed.
pub(super) async fn wait(client: &mut Client, limit: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    while !look(client).await?.is_nothing() && Instant::now() < end {
        sleep(POLL).await;
    }
    Ok(())
}

/// What is in flight, without reading any order or event.
async fn look(client: &mut Client) -> anyhow::Result<InFlight> {
    let snapshot = Snapshot::of(client).await?;
    let at = snapshot.at().await?;
    let count = async |schema, sql| {
        let rows = snapshot.rows(schema, sql, &[]).await?;
        let count: i64 = rows[0].try_get(0)?;
        anyhow::Ok(count.unsigned_abs())
    };
    Ok(InFlight {
        orders: count(order::SCHEMA, OPEN_ORDERS).await?,
        payments: count(payment::SCHEMA, OPEN_PAYMENTS).await?,
        ..consumers::in_flight(&consumers::reached(&snapshot).await?, at)
    })
}
