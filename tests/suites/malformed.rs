//! A hundred thousand requests and records that nobody should send, against a running system: it says what is wrong with
//! each, and is as well afterwards as before.

#[path = "malformed/batch.rs"]
mod batch;
#[path = "malformed/raw.rs"]
mod raw;
#[path = "malformed/records.rs"]
mod records;
#[path = "malformed/requests.rs"]
mod requests;

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use tests::random::Random;
use tests::shop::{Shop, order};
use tests::system::{Setup, System, Transport};

/// What everything is drawn from, unless `SEED` says otherwise.
const SEED: u64 = 20_261_123;
/// Requests that are HTTP, whatever they ask for.
const REQUESTS: u64 = 55_000;
/// What is sent to the same port and mostly is not even HTTP.
const RAW_REQUESTS: u64 = 20_000;
/// Records.
const RECORDS: u64 = 25_000;
/// Rounds in which all of it is sent.
const ROUNDS: u64 = 10;
/// The round after which what a system keeps for good is there, so that its memory is compared from then on.
const WARM_UP: usize = 4;
/// By how much the memory may grow from then on, in bytes. What allocators and librdkafka keep comes and goes with the
/// largest bodies; a kilobyte lost with each request and record would be 60 MB.
const MAX_GROWTH: u64 = 40 << 20;
/// How long records may take to be read, every one of them.
const READ_DEADLINE: Duration = Duration::from_secs(90);

#[tokio::test]
async fn nothing_that_is_sent_harms_the_system() -> anyhow::Result<()> {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    println!("seed {seed}");
    let system = System::up(Setup::from(Transport::Kafka).payment_timeout("2s")).await?;
    let shop = system.shop();
    let known = stocked(&shop).await?;
    let mut random = Random::of(seed);

    let client = system.process().client()?;
    let mut torment = async |share: u64| -> anyhow::Result<()> {
        requests::send(&client, &known, REQUESTS / share, &mut random).await?;
        raw::send(client.base(), &known, RAW_REQUESTS / share, &mut random).await?;
        records::send(&system, RECORDS / share, &mut random).await
    };
    let mut memory = Vec::new();
    for _ in 0..ROUNDS {
        torment(ROUNDS).await?;
        memory.push(resident(&system).await?);
    }

    println!("resident bytes after each round: {memory:?}");
    let log = system.process().log().await;
    let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
    ensure!(panics.is_empty(), "{panics:#?}");
    let (before, after) = (memory[WARM_UP], memory[memory.len() - 1]);
    ensure!(after < before + MAX_GROWTH, "the memory grew from {before} to {after} bytes");
    works(&shop).await?;
    system.audit().await
}

#[tokio::test]
async fn a_message_with_a_header_whose_name_is_not_text_is_buried() -> anyhow::Result<()> {
    let system = System::up(Setup::from(Transport::Kafka)).await?;
    for reasons in records::send_named(&system, b"\xff").await? {
        let expected = "a header has a name that is not text";
        ensure!(!reasons.is_empty() && reasons.iter().all(|reason| reason == expected), "{reasons:?}");
    }
    works(&system.shop()).await?;
    system.audit().await
}

/// What requests may be about: orders in different states.
async fn stocked(shop: &Shop) -> anyhow::Result<Vec<String>> {
    shop.put_stock("cup", 1_000_000).await?;
    shop.put_stock("jug", 3).await?;
    let orders =
        [order(&[("cup", 2)], Some("tok_ok")), order(&[("cup", 1)], None), order(&[("jug", 4)], Some("tok_ok"))];
    let mut known = Vec::new();
    for order in &orders {
        known.push(shop.placed(order).await?);
    }
    Ok(known)
}

/// An order goes its way as if nothing had been.
async fn works(shop: &Shop) -> anyhow::Result<()> {
    shop.put_stock("plate", 5).await?;
    let id = shop.placed(&order(&[("plate", 2)], Some("tok_ok"))).await?;
    shop.until_payment(&id, "captured").await?;
    shop.until_counts("plate", [3, 0, 2]).await
}

/// Bytes of memory that the system's process has.
async fn resident(system: &System) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", system.process().process_id().await))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("there is no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}
