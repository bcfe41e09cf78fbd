//! `ordersystem rebuild`: a view is made anew from the events beside the live one, while orders flow or nothing runs, and
//! whoever stands in its way, kills it or calls it twice finds everything as before.

#[path = "flow/books.rs"]
mod books;
#[path = "rebuild/damage.rs"]
mod damage;
#[path = "rebuild/flow.rs"]
mod flow;
#[path = "rebuild/held.rs"]
mod held;
#[path = "flow/load.rs"]
#[expect(dead_code, reason = "another suite asks more of a load")]
mod load;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::postgres::TestDatabase;
use tests::program::Program;
use tests::shop::{Shop, order};
use tests::system::{Service, System, Transport};
use tests::{over_both_transports, turn};

/// The views, as `rebuild` is told them.
const VIEWS: [&str; 2] = ["orders", "inventory"];

/// How long a rebuild of a small view may take, its waits for whoever is in its way included.
const DEADLINE: Duration = Duration::from_mins(1);

over_both_transports! {
    damaged_lists_are_right_again: damage::repaired,
    orders_flow_while_their_lists_are_rebuilt: flow::rebuilt,
}

macro_rules! over_the_log {
    ($($name:ident: $test:path,)*) => {
        $(
            #[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                let _turn = turn().await?;
                $test().await
            }
        )*
    };
}

over_the_log! {
    a_check_tells_and_changes_nothing: damage::checked,
    a_view_whose_service_is_down_is_rebuilt_to_where_it_stands: damage::behind,
    events_that_are_missing_are_told_and_nothing_changes: damage::without_events,
    what_is_no_view_cannot_be_rebuilt: damage::no_view,
    a_rebuild_that_is_killed_leaves_the_view_as_it_was: held::killed,
    two_rebuilds_at_once_are_one_too_many: held::two,
    a_rebuild_gives_way_to_an_audit: held::audited,
}

/// A rebuild of `view` that has begun, with more `arguments`.
fn begun(database: &TestDatabase, view: &str, arguments: &[&str]) -> anyhow::Result<Program> {
    Program::start("rebuild", |command: &mut Command| {
        command.arg(view).args(["--database", database.url()]).args(arguments).env("RUST_LOG", "warn")
    })
}

/// What a rebuild said that has ended, and whether it succeeded.
async fn ended(mut rebuild: Program) -> anyhow::Result<(bool, String)> {
    let status = rebuild.ended(DEADLINE).await?;
    Ok((status.success(), rebuild.log()))
}

/// The report of a rebuild of `view` that succeeds.
async fn rebuilt(database: &TestDatabase, view: &str) -> anyhow::Result<Value> {
    let (succeeded, said) = ended(begun(database, view, &["--output", "json"])?).await?;
    let report: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    ensure!(succeeded && report["swapped"] == true, "{said}");
    Ok(report)
}

/// How many rows a rebuild of each view found to differ, in the order of [`VIEWS`].
async fn both_rebuilt(database: &TestDatabase) -> anyhow::Result<[Value; 2]> {
    Ok([rebuilt(database, VIEWS[0]).await?["differing"].take(), rebuilt(database, VIEWS[1]).await?["differing"].take()])
}

/// Orders that are confirmed, and one that is short of stock: enough for lists.
async fn some_orders(shop: &Shop) -> anyhow::Result<Vec<String>> {
    shop.put_stock("SKU-1", 100).await?;
    shop.put_stock("SKU-2", 100).await?;
    let mut orders = Vec::new();
    for quantity in [1, 2, 3, 1_000] {
        orders.push(shop.placed(&order(&[("SKU-1", quantity), ("SKU-2", 1)], Some("tok_ok"))).await?);
    }
    for order in &orders {
        shop.settled(order).await?;
    }
    Ok(orders)
}

/// What is listed: orders, newest first, and the movements of a product.
async fn lists(shop: &Shop) -> anyhow::Result<Vec<Value>> {
    let orders = shop.to(Service::Order)?.get("/orders?limit=200").await?.expect(200)?;
    let of_product = shop.to(Service::Order)?.get("/orders?productId=SKU-1&limit=200").await?.expect(200)?;
    let movements = shop.to(Service::Inventory)?.get("/inventory/SKU-1/movements?limit=200").await?.expect(200)?;
    [orders, of_product, movements].iter().map(tests::http::Answer::json).collect()
}

/// A system that has settled some orders and is at rest; what is listed.
async fn settled(transport: Transport) -> anyhow::Result<(System, Vec<Value>)> {
    let system = System::up(transport).await?;
    some_orders(&system.shop()).await?;
    system.audit().await?;
    let lists = lists(&system.shop()).await?;
    ensure!(lists.iter().all(|list| list["data"].as_array().is_some_and(|data| data.len() >= 4)), "{lists:?}");
    Ok((system, lists))
}
