//! Three times as many orders as the system settles: it refuses what it cannot do at once, and goes on as before with the
//! rest.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::{join_all, try_join};
use serde_json::Value;
use tests::books::balanced;
use tests::http::{Answer, Client};
use tests::shop::{self, Shop};
use tests::system::{Service, System, Transport};
use tests::turn;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use uuid::Uuid;

/// Products that are ordered.
const PRODUCTS: usize = 20;
/// Units of each on hand: more than is ordered.
const ON_HAND: i64 = 1_000_000_000;
/// Clients that find out what the system settles at best: each has one order on its way.
const CLIENTS: usize = 1_000;
/// How long the system warms up under these clients, and how long its rate is measured then.
const WARM_UP: Duration = Duration::from_secs(6);
const MEASURED: Duration = Duration::from_secs(8);
/// How often as many orders are offered.
const OVERLOAD: f64 = 3.0;
/// How long they are offered, and for how long of that time at first nothing is measured.
const OFFERED: Duration = Duration::from_secs(30);
const ONSET: Duration = Duration::from_secs(6);
/// The most orders that are offered: a machine that settles more is not overloaded by this test.
const MOST_ORDERS: f64 = 500_000.0;
/// Orders that the generator has on their way at most; what is due beyond is not offered. So many that wait for an answer
/// are more than a system has that answers at once.
const MOST_AT_ONCE: usize = 3_500;
/// How often orders are offered.
const TICK: Duration = Duration::from_millis(10);
/// How much of its best rate the system keeps, the generator on the same machine and three times as busy.
const KEPT: f64 = 0.5;
/// Of so many that are accepted at least one more is refused: ten seconds' worth is accepted beyond what is settled, and
/// what the generator cannot offer is not refused.
const REFUSED: usize = 20;
/// The most memory that a service takes, in bytes, in a debug build.
const MAX_RESIDENT: u64 = 192 << 20;
/// By how much it may grow in the second half of the overload, in bytes.
const MAX_GROWTH: u64 = 24 << 20;
/// How long the system may take until nothing is on its way, in seconds.
const REST_SECONDS: u64 = 60;

/// What became of the orders that were offered.
#[derive(Default)]
struct Tally {
    accepted: Vec<(Duration, Uuid)>,
    refused: Vec<Duration>,
    withheld: usize,
}

impl Tally {
    fn take(&mut self, (answer, took): (Answer, Duration)) -> anyhow::Result<()> {
        match answer.status.as_u16() {
            201 => self.accepted.push((took, shop::id(&answer.json()?)?.parse()?)),
            503 => {
                answer.problem(503, "overloaded")?;
                ensure!(answer.header("retry-after").is_some(), "a refusal does not say when to come back");
                self.refused.push(took);
            }
            _ => anyhow::bail!("{} {}", answer.status, answer.text()),
        }
        Ok(())
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn order(number: usize) -> Value {
    shop::order(&[(&format!("product-{}", number % PRODUCTS), 1)], Some("tok_ok"))
}

async fn offer(client: Client, number: usize) -> anyhow::Result<(Answer, Duration)> {
    let began = Instant::now();
    let answer = client.post("/orders").json(&order(number)).await?;
    Ok((answer, began.elapsed()))
}

/// Orders that are settled.
async fn settled(system: &System) -> anyhow::Result<f64> {
    let client = system.database().connect().await?;
    let row = client.query_one("SELECT count(*)::float8 FROM orders.orders WHERE NOT open", &[]).await?;
    Ok(row.get(0))
}

/// Orders settled in a second, from `from` after now until `until`.
async fn rate(system: &System, from: Duration, until: Duration) -> anyhow::Result<f64> {
    let begin = tokio::time::Instant::now();
    sleep_until(begin + from).await;
    let (before, since) = (settled(system).await?, Instant::now());
    sleep_until(begin + until).await;
    Ok((settled(system).await? - before) / since.elapsed().as_secs_f64())
}

/// What the system settles at best: with so many clients, each of which waits for its order to be settled.
async fn best_rate(system: &System, shop: &Shop) -> anyhow::Result<f64> {
    let end = Instant::now() + WARM_UP + MEASURED;
    let client = shop.to(Service::Order)?;
    let clients = join_all((0..CLIENTS).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            while Instant::now() < end {
                client.post("/orders").header("Prefer", "wait=10").json(&order(number)).await?.expect(201)?;
            }
            anyhow::Ok(())
        })
    }));
    let clients = async { clients.await.into_iter().try_for_each(|client| client?) };
    let (rate, ()) = try_join(rate(system, WARM_UP, WARM_UP + MEASURED), clients).await?;
    Ok(rate)
}

/// Offers so many orders a second, whatever becomes of them.
async fn overload(shop: &Shop, per_second: f64) -> anyhow::Result<Tally> {
    let client = shop.to(Service::Order)?;
    let most = (per_second * OFFERED.as_secs_f64()).min(MOST_ORDERS);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut orders, mut offered, began) = (JoinSet::new(), 0_u32, Instant::now());
    let mut tally = Tally::default();
    while f64::from(offered) < most {
        ticks.tick().await;
        let due = (began.elapsed().as_secs_f64() * per_second).min(most);
        while f64::from(offered) < due {
            if orders.len() < MOST_AT_ONCE {
                orders.spawn(offer(client.clone(), offered as usize));
            } else {
                tally.withheld += 1;
            }
            offered += 1;
        }
        while let Some(done) = orders.try_join_next() {
            tally.take(done??)?;
        }
    }
    println!("offered {offered} in {:?}, {} on their way in the end", began.elapsed(), orders.len());
    while let Some(done) = orders.join_next().await {
        tally.take(done??)?;
    }
    Ok(tally)
}

/// Bytes of memory that each service has, second by second.
async fn memory(system: &System) -> anyhow::Result<Vec<[u64; 4]>> {
    let mut seconds = interval(Duration::from_secs(1));
    let mut seen = Vec::new();
    while seen.len() < usize::try_from(OFFERED.as_secs())? {
        seconds.tick().await;
        let mut now = [0; 4];
        for service in Service::ALL {
            now[service as usize] = resident(system.replica(service, 0).process_id().await)?;
        }
        seen.push(now);
    }
    Ok(seen)
}

fn resident(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("there is no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

/// Every order that was acknowledged is there.
async fn kept(system: &System, acknowledged: &[Uuid]) -> anyhow::Result<()> {
    let sql = "SELECT count(*) FROM orders.orders WHERE id = ANY($1)";
    let kept: i64 = system.database().connect().await?.query_one(sql, &[&acknowledged]).await?.get(0);
    ensure!(
        usize::try_from(kept)? == acknowledged.len(),
        "{kept} of {} acknowledged orders are there",
        acknowledged.len()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_at_once_and_the_rest_settles_as_before() -> anyhow::Result<()> {
    let _turn = turn().await?;
    let system = Arc::new(System::services(Transport::Kafka, 1).await?);
    let shop = system.shop();
    for number in 0..PRODUCTS {
        shop.put_stock(&format!("product-{number}"), ON_HAND).await?;
    }
    let best = best_rate(&system, &shop).await?;
    println!("settles {best:.0} orders a second at best");

    let load = overload(&shop, best * OVERLOAD);
    let (tally, (rate, memory)) = try_join(load, try_join(rate(&system, ONSET, OFFERED), memory(&system))).await?;
    let Tally { accepted, refused, withheld } = tally;
    println!("{withheld} were withheld, too many being on their way");
    let acknowledged: Vec<Uuid> = accepted.iter().map(|(_, id)| *id).collect();
    println!("overloaded: settles {rate:.0} a second, {} accepted, {} refused", accepted.len(), refused.len());
    let acceptance = median(accepted.into_iter().map(|(took, _)| took).collect());
    let refusal = median(refused.clone());
    println!("median acceptance {acceptance:?}, refusal {refusal:?}");
    println!("MiB: {:?}", memory.iter().map(|now| now.map(|bytes| bytes >> 20)).collect::<Vec<_>>());

    let ended = Instant::now();
    balanced(system.database(), REST_SECONDS).await?;
    println!("at rest after {:?}", ended.elapsed());
    kept(&system, &acknowledged).await?;
    let after = shop.placed(&order(0)).await?;
    shop.until_payment(&after, "captured").await?;

    ensure!(rate > best * KEPT, "settles only {rate:.0} a second when overloaded, {best:.0} before");
    ensure!(refused.len() > acknowledged.len() / REFUSED, "{} of {} are refused", refused.len(), acknowledged.len());
    ensure!(refusal < acceptance / 2, "a refusal takes {refusal:?}, an acceptance {acceptance:?}");
    for service in Service::ALL {
        let of = |second: usize| memory.get(second).map_or(0, |now| now[service as usize]);
        let (middle, end) = (of(memory.len() / 2), of(memory.len() - 1));
        ensure!(end < MAX_RESIDENT, "{} has {} MiB", service.name(), end >> 20);
        ensure!(end < middle + MAX_GROWTH, "{} grows from {} to {} MiB", service.name(), middle >> 20, end >> 20);
    }
    Ok(())
}
