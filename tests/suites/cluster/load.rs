//! A steady load from a client that repeats a request once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use tests::cluster::System;
use tests::http::Client;
use tests::shop;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How far apart orders begin: 50 a second.
const PACE: Duration = Duration::from_millis(20);
/// How long the client waits before it repeats a request.
const PAUSE: Duration = Duration::from_millis(500);
/// Units of the one product that everyone orders: more than any load here orders.
const ON_HAND: i64 = 1_000_000;

/// What a load gave.
#[derive(Debug, Default)]
pub struct Placed {
    /// Orders that were acknowledged.
    pub ids: Vec<String>,
    /// Requests that had to be repeated.
    pub repeated: usize,
}

/// Places 50 orders a second until `happens` is done. Every request succeeds, at its first or its second attempt.
pub async fn steady<T>(
    system: &System,
    happens: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(Placed, T)> {
    let inventory = system.client("inventory").await?;
    inventory.put("/inventory/cup").json(&json!({"onHand": ON_HAND})).await?;
    let orders = system.client("order").await?;
    let repeated = AtomicUsize::new(0);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut under_way = FuturesUnordered::new();
    let mut placed = Placed::default();
    let mut happens = std::pin::pin!(happens);
    let outcome = loop {
        tokio::select! {
            outcome = &mut happens => break outcome?,
            _ = pace.tick() => under_way.push(place(&orders, &repeated)),
            Some(id) = under_way.next() => placed.ids.push(id?),
        }
    };
    while let Some(id) = under_way.next().await {
        placed.ids.push(id?);
    }
    placed.repeated = repeated.load(Ordering::Relaxed);
    Ok((placed, outcome))
}

async fn place(orders: &Client, repeated: &AtomicUsize) -> anyhow::Result<String> {
    let key = tests::unique_name();
    let order = shop::order(&[("cup", 1)], Some("tok_ok"));
    let send = || orders.post("/orders").header("Idempotency-Key", &key).json(&order);
    let first = send().await;
    if let Ok(answer) = &first
        && answer.status == 201
    {
        return shop::id(&answer.json()?);
    }
    repeated.fetch_add(1, Ordering::Relaxed);
    sleep(PAUSE).await;
    let second = send().await.with_context(|| format!("the second attempt; the first: {first:?}"))?;
    ensure!(second.status == 201, "the second attempt: {} {}; the first: {first:?}", second.status, second.text());
    shop::id(&second.json()?)
}
