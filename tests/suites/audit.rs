//! `ordersystem audit`: books that balance hold, and whatever someone does to them by hand is named.

#[path = "audit/breaks.rs"]
mod breaks;
#[path = "audit/orders.rs"]
mod orders;

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::Folder;
use tests::http::Client;
use tests::postgres::TestDatabase;
use tests::program::Program;
use tests::shop::order;
use tests::system::{System, Transport};

use breaks::Break;
use orders::Expectation::{NothingStuck, Rest, RestSoon};
use orders::{Orders, audit, stock};

/// How long an audit of a small shop may take, in a debug build on a busy machine.
const AUDIT_DEADLINE: Duration = Duration::from_mins(1);

/// How long a system may take to be ready when it makes a PostgreSQL of its own first.
const READY_DEADLINE: Duration = Duration::from_mins(1);

/// Orders placed while the books are audited: enough for several audits.
const FLOWING_ORDERS: u64 = 300;

#[tokio::test]
async fn books_that_nobody_touched_balance() -> anyhow::Result<()> {
    let copy = Orders::get().await?.copy().await?;
    let report = audit(&copy, Rest).await?;
    ensure!(report.holds && report.in_flight.is_nothing(), "{report}");
    assert_eq!(report.orders, Orders::COUNT);
    assert_eq!(report.dead_letters, 0);
    for judged in &report.invariants {
        ensure!(judged.checked.values().all(|count| *count > 0), "nothing was checked: {judged}");
    }
    Ok(())
}

/// Tries every break of one invariant, each on books of its own.
async fn is_named(invariant: usize) -> anyhow::Result<()> {
    let orders = Orders::get().await?;
    let breaks: Vec<Break> = breaks::all(orders).into_iter().filter(|one| one.invariant == invariant).collect();
    ensure!(!breaks.is_empty(), "nothing breaks invariant {invariant}");
    for Break { what, sql, .. } in breaks {
        let copy = orders.copy().await?;
        copy.connect().await?.batch_execute(&sql).await.with_context(|| format!("{what}: {sql}"))?;
        let report = audit(&copy, Rest).await?;
        ensure!(report.broken().contains(&invariant) && !report.holds, "{what} is not seen: {sql}\n{report}");
        let judged = &report.invariants[invariant - 1];
        ensure!(judged.broken > 0 && !judged.examples.is_empty(), "{what} is not told: {judged}");
    }
    Ok(())
}

macro_rules! named {
    ($($name:ident: $invariant:literal,)*) => {
        $(
            #[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                is_named($invariant).await
            }
        )*
    };
}

named! {
    a_unit_sold_twice_is_named: 1,
    units_from_nowhere_are_named: 2,
    holds_that_do_not_match_are_named: 3,
    a_hold_with_other_lines_is_named: 4,
    money_taken_twice_or_kept_is_named: 5,
    a_ledger_that_does_not_balance_is_named: 6,
    a_gap_in_a_journal_is_named: 7,
    rows_that_no_event_made_are_named: 8,
    an_order_that_hangs_is_named: 9,
    what_is_told_twice_or_not_at_all_is_named: 10,
}

/// An event that no consumer has applied yet: the cancellation of a confirmed order, committed `age` ago.
fn unheard_cancellation(order: &str, age: &str) -> String {
    format!(
        "WITH dead AS (
            UPDATE orders.orders SET status = 'cancelled', reason = 'unheard', version = version + 1,
                updated_at = now() - interval '{age}' WHERE id = '{order}' RETURNING *),
         head AS (
            UPDATE orders.lane_head h SET last_seq = last_seq + 1 FROM dead WHERE h.lane = dead.lane RETURNING h.last_seq)
         INSERT INTO orders.event (seq, lane, version, stream_id, event_id, at, kind, data)
         SELECT last_seq, lane, version, id, gen_random_uuid(), updated_at, 'order.cancelled.v1',
            convert_to(json_build_object('reason', 'unheard', 'customerId', customer_id)::text, 'UTF8') FROM dead, head"
    )
}

#[tokio::test]
async fn what_is_on_its_way_is_no_break_until_it_is_stuck() -> anyhow::Result<()> {
    let orders = Orders::get().await?;
    // given a cancellation that its four readers have not heard of
    let fresh = orders.copy().await?;
    fresh.connect().await?.batch_execute(&unheard_cancellation(&orders.confirmed, "1 second")).await?;
    // then a running system is on its way to apply it
    let report = audit(&fresh, NothingStuck).await?;
    ensure!(report.holds, "{report}");
    assert_eq!(report.in_flight.messages, 4, "{report}");
    // and a settled one should have
    assert_eq!(audit(&fresh, Rest).await?.broken(), [7]);

    // given one that they have not heard of for two minutes
    let stuck = orders.copy().await?;
    stuck.connect().await?.batch_execute(&unheard_cancellation(&orders.confirmed, "2 minutes")).await?;
    // then they never will
    assert_eq!(audit(&stuck, NothingStuck).await?.broken(), [7]);
    Ok(())
}

#[tokio::test]
async fn an_order_may_be_late_for_a_minute_but_not_for_ever() -> anyhow::Result<()> {
    let orders = Orders::get().await?;
    for (deadline, broken) in [("30 seconds", false), ("2 minutes", true)] {
        // given an order whose deadline passed so long ago
        let copy = orders.copy().await?;
        let hangs = format!(
            "DELETE FROM orders.event WHERE stream_id = '{0}' AND kind = 'order.expired.v1';
             UPDATE orders.event SET data = convert_to(jsonb_set(convert_from(data, 'UTF8')::jsonb, '{{expiresAt}}',
                to_jsonb(to_char(now() AT TIME ZONE 'UTC' - interval '{deadline}', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')))::text,
                'UTF8') WHERE stream_id = '{0}' AND version = 1",
            orders.expired
        );
        copy.connect().await?.batch_execute(&hangs).await?;
        // then
        let report = audit(&copy, NothingStuck).await?;
        assert_eq!(report.broken().contains(&9), broken, "{deadline}: {report}");
        assert_eq!(report.in_flight.orders, 1);
    }
    Ok(())
}

#[tokio::test]
async fn the_books_balance_while_orders_flow() -> anyhow::Result<()> {
    let system = System::up(Transport::Log).await?;
    let shop = system.shop();
    stock(&shop).await?;
    let flow = async {
        for number in 0..FLOWING_ORDERS {
            let token = if number % 7 == 0 { "tok_declined" } else { "tok_ok" };
            shop.placed(&order(&[("SKU-1", 1), ("SKU-2", 1)], Some(token))).await?;
        }
        anyhow::Ok(())
    };
    let audits = async {
        let mut seen = 0;
        while seen < FLOWING_ORDERS {
            let report = audit(system.database(), NothingStuck).await?;
            ensure!(report.holds, "{report}");
            seen = report.orders;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(flow, audits)?;
    let report = audit(system.database(), RestSoon).await?;
    ensure!(report.holds && report.in_flight.is_nothing(), "{report}");
    Ok(())
}

/// Runs `ordersystem audit` with `arguments`; hands on whether it succeeded, and what it wrote.
async fn program(arguments: &[&str]) -> anyhow::Result<(bool, String)> {
    let mut audit = Program::start("audit", |command| command.args(arguments))?;
    let status = audit.ended(AUDIT_DEADLINE).await?;
    Ok((status.success(), audit.log()))
}

#[tokio::test]
async fn the_program_says_what_it_found_and_fails_when_the_books_do_not_balance() -> anyhow::Result<()> {
    let orders = Orders::get().await?;
    let copy = orders.copy().await?;
    let (succeeded, text) = program(&["--database", copy.url(), "--settled"]).await?;
    ensure!(succeeded && text.contains("ok      1 ") && text.ends_with("the books balance\n"), "{text}");

    let unit =
        "UPDATE inventory.stock SET reserved = reserved + 1, available = available - 1 WHERE product_id = 'SKU-1'";
    copy.connect().await?.batch_execute(unit).await?;
    let (succeeded, text) = program(&["--database", copy.url()]).await?;
    ensure!(!succeeded && text.contains("BROKEN  3 ") && text.contains("product SKU-1: 1 reserved"), "{text}");
    ensure!(text.contains("ok      2 "), "{text}");

    let (succeeded, json) = program(&["--database", copy.url(), "--output", "json"]).await?;
    let report: Value = serde_json::from_str(&json)?;
    ensure!(!succeeded && report["holds"] == false && report["invariants"][2]["holds"] == false, "{json}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_order_system_cannot_be_audited() -> anyhow::Result<()> {
    let empty = TestDatabase::create().await?;
    let (succeeded, text) = program(&["--database", empty.url()]).await?;
    ensure!(!succeeded && text.starts_with("error: ") && text.contains("orders"), "{text}");

    let folder = Folder::new("nothing")?;
    let data = folder.path().to_string_lossy();
    let (succeeded, text) = program(&["--data", &data]).await?;
    ensure!(!succeeded && text.starts_with("error: ") && text.contains(&*data), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_data_of_an_up_is_audited_whether_it_runs_or_not() -> anyhow::Result<()> {
    let folder = Folder::new("data")?;
    let data = folder.path().to_string_lossy();
    let mut up = Program::start("up", |command| command.args(["--listen", "127.0.0.1:0", "--data", &data]))?;
    let line = up.says("ordersystem is ready: ", READY_DEADLINE).await?;
    let address = line.split_whitespace().find(|word| word.starts_with("http://")).context("it names its address")?;
    Client::new(address).post("/orders").json(&order(&[("SKU-1", 1)], None)).await?.expect(201)?;

    let (succeeded, text) = program(&["--data", &data, "--wait", "60"]).await?;
    ensure!(succeeded && text.contains("1 order and "), "{text}");
    ensure!(up.terminate().await?.success(), "it did not stop in good order");
    let (succeeded, text) = program(&["--data", &data, "--settled"]).await?;
    ensure!(succeeded && text.contains("1 order and "), "{text}");
    Ok(())
}
