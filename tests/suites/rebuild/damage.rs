//! Views that somebody changed by hand.

use anyhow::ensure;
use serde_json::{Value, json};
use tests::Folder;
use tests::postgres::TestDatabase;
use tests::shop::order;
use tests::system::{Service, System, Transport};

use crate::{begun, both_rebuilt, ended, lists, rebuilt, settled};

/// A wrong status, a row that is gone with what finds it, a row too many; and as many for the movements.
const DAMAGE: &str = "
UPDATE orders_view.orders SET status = 'pending' WHERE id = (SELECT min(id::text)::uuid FROM orders_view.orders);
DELETE FROM orders_view.order_line WHERE order_id = (SELECT max(id::text)::uuid FROM orders_view.orders) AND product_id = 'SKU-1';
DELETE FROM orders_view.orders WHERE id = (SELECT max(id::text)::uuid FROM orders_view.orders);
INSERT INTO orders_view.orders SELECT gen_random_uuid(), customer_id, status, payment_status, revision, version, currency,
    total, lines, reason, shortages, placed_at, updated_at, expires_at FROM orders_view.orders LIMIT 1;
UPDATE inventory_view.movement SET kind = 'adjusted' WHERE product_id = 'SKU-1' AND version = 1;
DELETE FROM inventory_view.movement WHERE product_id = 'SKU-1' AND version = 2;
INSERT INTO inventory_view.movement SELECT product_id, 99, kind, available, reserved, sold, order_id, reason, reference, at
    FROM inventory_view.movement WHERE product_id = 'SKU-2' AND version = 1";

/// Rows that differ by it: of orders and of inventory.
const DAMAGED: [u64; 2] = [4, 3];

/// Whatever was done to a view by hand is told and undone, the books balance, and the view goes on.
pub async fn repaired(transport: Transport) -> anyhow::Result<()> {
    let (system, before) = settled(transport).await?;
    let (database, shop) = (system.database(), system.shop());
    database.connect().await?.batch_execute(DAMAGE).await?;
    ensure!(lists(&shop).await? != before, "the damage is not seen");

    let differing = both_rebuilt(database).await?;
    assert_eq!(differing, DAMAGED.map(|rows| json!(rows)));
    assert_eq!(lists(&shop).await?, before);
    system.audit().await?;
    assert_eq!(both_rebuilt(database).await?, [json!(0), json!(0)]);

    // The process that was running all the time lists what comes next in the tables that were swapped in.
    let next = shop.placed(&order(&[("SKU-1", 1)], Some("tok_ok"))).await?;
    shop.settled(&next).await?;
    system.audit().await?;
    let after = lists(&shop).await?;
    assert_eq!(after[0]["data"][0]["id"], json!(next));
    Ok(())
}

/// A check counts and names what differs and fails; then everything is as it was, and a check of what is right succeeds.
pub async fn checked() -> anyhow::Result<()> {
    let (system, _) = settled(Transport::Log).await?;
    let (database, shop) = (system.database(), system.shop());
    let (succeeded, said) = ended(begun(database, "orders", &["--check"])?).await?;
    ensure!(succeeded && said.contains(", compared only, ") && said.contains("\n0 rows differed\n"), "{said}");

    let client = database.connect().await?;
    client.batch_execute(DAMAGE).await?;
    let damaged = lists(&shop).await?;
    let (succeeded, said) = ended(begun(database, "orders", &["--check"])?).await?;
    ensure!(!succeeded && said.contains("\n4 rows differed: order_line SKU-1/"), "{said}");
    for word in [" missing", " changed", " extra"] {
        ensure!(said.contains(word), "{word} is not told: {said}");
    }
    let (succeeded, said) = ended(begun(database, "inventory", &["--check", "--output", "json"])?).await?;
    let report: Value = serde_json::from_str(&said)?;
    ensure!(!succeeded && report["differing"] == 3 && report["swapped"] == false, "{said}");
    ensure!(report["examples"][0] == json!({"table": "movement", "key": "SKU-1/1", "is": "changed"}), "{said}");

    assert_eq!(lists(&shop).await?, damaged);
    let left = client.query_one("SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%\\_next'", &[]).await?;
    assert_eq!(left.get::<_, i64>(0), 0, "schemas that were left over");
    Ok(())
}

/// While the services are down, a view is rebuilt to where it stands, which is told; when they come back it catches up.
pub async fn behind() -> anyhow::Result<()> {
    let (system, _) = settled(Transport::Log).await?;
    let (database, shop) = (system.database(), system.shop());
    // Its rejection is the last event of its lane.
    let last = shop.placed(&order(&[("SKU-1", 1_000)], None)).await?;
    shop.until_status(&last, "rejected").await?;
    system.audit().await?;
    let before = lists(&shop).await?;
    system.process().kill_9().await?;
    database.connect().await?.batch_execute(&unheard_of(&last)).await?;

    let report = rebuilt(database, "orders").await?;
    ensure!(report["behind"] == 1 && report["differing"] == 0, "{report}");
    let (_, said) = ended(begun(database, "orders", &["--check"])?).await?;
    ensure!(said.contains("\nthe view stops 1 event short of its source"), "{said}");

    system.process().start_again().await?;
    system.audit().await?;
    assert_eq!(lists(&shop).await?, before);
    Ok(())
}

/// Takes the view back by the rejection of `order`, as if its service had died before it heard of that.
fn unheard_of(order: &str) -> String {
    format!(
        "UPDATE orders_view.inbox_lane i SET last_seq = e.seq - 1 FROM orders.event e
         WHERE e.stream_id = '{order}' AND e.kind = 'order.rejected.v1' AND i.lane = e.lane;
         UPDATE orders_view.orders SET status = 'pending', version = 1, updated_at = placed_at, reason = NULL,
            shortages = NULL WHERE id = '{order}'"
    )
}

/// Without an event of the source the view cannot be made: it stays as it is.
pub async fn without_events() -> anyhow::Result<()> {
    let (system, before) = settled(Transport::Log).await?;
    let (database, shop) = (system.database(), system.shop());
    let gone = "DELETE FROM orders.event WHERE kind = 'order.rejected.v1'";
    database.connect().await?.batch_execute(gone).await?;
    let (succeeded, said) = ended(begun(database, "orders", &[])?).await?;
    ensure!(!succeeded && said.starts_with("error: orders_view is as before: event "), "{said}");
    ensure!(said.ends_with(" of orders is missing\n"), "{said}");
    assert_eq!(lists(&shop).await?, before);
    Ok(())
}

/// A database without the view, a folder without data, a view of another version and one of another user.
pub async fn no_view() -> anyhow::Result<()> {
    let empty = TestDatabase::create().await?;
    let (succeeded, said) = ended(begun(&empty, "inventory", &[])?).await?;
    ensure!(!succeeded && said.contains("there is no view inventory_view in this database"), "{said}");

    let folder = Folder::new("nothing")?;
    let mut rebuild = tests::program::Program::start("rebuild", |command| {
        command.args(["orders", "--data"]).arg(folder.path()).env_remove(contract::env::DATABASE_URL)
    })?;
    ensure!(!rebuild.ended(crate::DEADLINE).await?.success(), "there is no data");
    ensure!(rebuild.log().contains(&*folder.path().to_string_lossy()), "{}", rebuild.log());

    let (system, before) = settled(Transport::Log).await?;
    refused(&system, "INSERT INTO orders_view.migration VALUES ('service', 99)", "of another version").await?;
    let foreign = "DELETE FROM orders_view.migration WHERE step = 99; CREATE ROLE test_stranger;
        ALTER TABLE orders_view.orders OWNER TO test_stranger";
    refused(&system, foreign, "belong to the user test_stranger").await?;
    let back = "REASSIGN OWNED BY test_stranger TO CURRENT_USER; DROP ROLE test_stranger";
    system.database().connect().await?.batch_execute(back).await?;
    assert_eq!(lists(&system.shop()).await?, before);
    Ok(())
}

async fn refused(system: &System, sql: &str, reason: &str) -> anyhow::Result<()> {
    system.database().connect().await?.batch_execute(sql).await?;
    let (succeeded, said) = ended(begun(system.database(), "orders", &[])?).await?;
    ensure!(!succeeded && said.contains(reason), "{said}");
    ensure!(system.replica(Service::Order, 0).client()?.get("/orders").await?.status.is_success(), "lists are gone");
    Ok(())
}
