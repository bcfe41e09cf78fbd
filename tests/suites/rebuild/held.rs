//! Rebuilds that someone is in the way of, wherever they have come to.

use anyhow::{Context, ensure};
use tests::eventually;
use tests::program::Program;
use tests::system::{System, Transport};
use tokio_postgres::Client;

use crate::{DEADLINE, begun, ended, lists, rebuilt, settled};

/// What holds a rebuild up, and what it has come to then.
const HURDLES: [(&str, &str); 4] = [
    ("LOCK TABLE orders.event IN ACCESS EXCLUSIVE MODE", "replaying"),
    ("LOCK TABLE orders_view.orders IN ACCESS EXCLUSIVE MODE", "comparing"),
    ("SELECT FROM orders_view.lane_head WHERE lane = 0 FOR UPDATE", "stopping the live view"),
    ("LOCK TABLE orders_view.orders IN ACCESS SHARE MODE", "swapping"),
];

/// A rebuild, where the database shows its sessions.
const REBUILD: &str = "application_name = 'ordersystem rebuild'";

/// An audit that counts the events of each lane.
const AUDIT: &str = "query LIKE '%lane_head h FULL JOIN%'";

/// A row of the live view that only a rebuild that ends changes.
const DAMAGE: &str = "UPDATE orders_view.orders SET status = 'expired' WHERE status = 'rejected'";

/// Killed wherever it is, a rebuild leaves the live view as it was, and the next one works, whatever is left over.
pub async fn killed() -> anyhow::Result<()> {
    let (system, before) = settled(Transport::Log).await?;
    for (hurdle, what) in HURDLES {
        killed_at(&system, hurdle).await.with_context(|| format!("killed while {what}"))?;
        assert_eq!(lists(&system.shop()).await?, before, "killed while {what}");
    }
    system.audit().await
}

async fn killed_at(system: &System, hurdle: &str) -> anyhow::Result<()> {
    let (database, shop) = (system.database(), system.shop());
    let client = database.connect().await?;
    client.batch_execute(DAMAGE).await?;
    let damaged = lists(&shop).await?;
    let mut rebuild = held(&client, system, hurdle).await?;
    rebuild.kill_9().await?;
    client.batch_execute("ROLLBACK").await?;
    assert_eq!(lists(&shop).await?, damaged);
    ensure!(
        rows(&client, "SELECT FROM pg_namespace WHERE nspname = 'orders_view_next'").await? == 1,
        "nothing is left"
    );

    let report = rebuilt(database, "orders").await?;
    ensure!(report["differing"] == 1, "{report}");
    ensure!(rows(&client, "SELECT FROM pg_namespace WHERE nspname = 'orders_view_next'").await? == 0, "some is left");
    Ok(())
}

/// While a view is rebuilt, another rebuild of it is refused; the first ends well, and another view is nobody's concern.
pub async fn two() -> anyhow::Result<()> {
    let (system, before) = settled(Transport::Log).await?;
    let database = system.database();
    let client = database.connect().await?;
    let (hurdle, _) = HURDLES[1];
    let first = held(&client, &system, hurdle).await?;

    let (succeeded, said) = ended(begun(database, "orders", &[])?).await?;
    ensure!(!succeeded, "{said}");
    assert_eq!(said, "error: orders_view is as before: another rebuild of orders_view is under way\n");
    rebuilt(database, "inventory").await?;

    client.batch_execute("ROLLBACK").await?;
    let (succeeded, said) = ended(first).await?;
    ensure!(succeeded && said.contains(", swapped, "), "{said}");
    assert_eq!(lists(&system.shop()).await?, before);
    system.audit().await
}

/// Whoever has read a view as of one moment goes on with what there was: a rebuild gives up, and works afterwards.
pub async fn audited() -> anyhow::Result<()> {
    let (system, before) = settled(Transport::Log).await?;
    let (database, shop) = (system.database(), system.shop());
    let client = database.connect().await?;
    client.batch_execute("BEGIN; LOCK TABLE payments.event IN ACCESS EXCLUSIVE MODE").await?;
    // The audit has its moment, and waits to read the payments before it has come to any view.
    let mut audit = Program::start("audit", |command| command.args(["--database", database.url()]))?;
    waits(&client, AUDIT).await?;

    let rebuild = begun(database, "orders", &[])?;
    let (succeeded, said) = ended(rebuild).await?;
    ensure!(!succeeded && said.contains("someone uses the tables of orders_view"), "{said}");
    assert_eq!(lists(&shop).await?, before);

    client.batch_execute("ROLLBACK").await?;
    ensure!(audit.ended(DEADLINE).await?.success(), "{}", audit.log());
    rebuilt(database, "orders").await?;
    system.audit().await
}

/// A rebuild of the orders that waits for what `client` holds.
async fn held(client: &Client, system: &System, hurdle: &str) -> anyhow::Result<Program> {
    client.batch_execute(&format!("BEGIN; {hurdle}")).await?;
    let rebuild = begun(system.database(), "orders", &[])?;
    waits(client, REBUILD).await?;
    Ok(rebuild)
}

/// Waits until `who` waits for what this `client` holds.
async fn waits(client: &Client, who: &str) -> anyhow::Result<()> {
    let waiting = format!("SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)) AND {who}");
    eventually(DEADLINE, "someone waits", async || {
        // Within a transaction it shows the same sessions again and again.
        client.batch_execute("SELECT pg_stat_clear_snapshot()").await?;
        ensure!(rows(client, &waiting).await? > 0, "nobody does");
        Ok(())
    })
    .await
}

async fn rows(client: &Client, sql: &str) -> anyhow::Result<usize> {
    Ok(client.query(sql, &[]).await?.len())
}
