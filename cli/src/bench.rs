//! `ordersystem bench`: a load of orders over HTTP, timed, and judged by whether every one of them is settled as it must.

mod books;
mod client;
#[cfg(test)]
mod fake;
mod latency;
mod load;
mod mix;
mod place;
mod plan;
mod report;
mod settle;
mod stock;
mod tally;
mod target;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use tracing::info;

pub use books::EndCount;
pub use latency::Percentiles;
pub use mix::{InvalidMix, Mix};
pub use report::{AnswerCount, Failures, LatencyReport, LoadReport, Report, Throughput, UnexpectedCount};
pub use tally::Specials;
pub use target::{InvalidTarget, Target};

use books::Books;
use load::{Load, Loaded, Part};
use plan::Plan;
use report::Run;
use settle::Settling;

/// The most orders of a run: each is remembered until the end, in about 200 bytes.
const MAX_ORDERS: u32 = 5_000_000;
/// The most orders on their way at once: a process may have 1,024 open files on many machines; those that wait take 512
/// of them, and an order that is sent twice takes two.
const MAX_CONNECTIONS: i64 = 240;
/// The most products: each is put on hand before the load begins.
const MAX_PRODUCTS: i64 = 100_000;
/// The most lines of an order: an order may have a thousand, but nobody's basket has.
const MAX_FIXED_LINES: i64 = 100;
/// The highest rate, in orders a second: far more than one generator can place.
const MAX_RATE: f64 = 1_000_000.0;
/// The longest time that can be asked for: a day.
const MAX_TIME: Duration = Duration::from_hours(24);

/// Settings of `ordersystem bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchSettings {
    /// Where the order system answers
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub target: Target,
    /// Where inventory answers, if not there as well
    #[arg(long)]
    pub inventory: Option<Target>,
    /// Orders to place
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u32).range(1..=i64::from(MAX_ORDERS)))]
    pub orders: u32,
    /// The longest time to place them in, such as 60s
    #[arg(long, value_parser = time)]
    pub time: Option<Duration>,
    /// Orders to place per second, whether or not the system keeps up; without it, as many as the connections allow
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Orders on their way at once, without those whose settling is waited for
    #[arg(long, default_value_t = 128, value_parser = value_parser!(u16).range(1..=MAX_CONNECTIONS))]
    pub connections: u16,
    /// Products to order; they are put on hand first
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u32).range(1..=MAX_PRODUCTS))]
    pub products: u32,
    /// Lines of every order; without it, one to four
    #[arg(long, value_parser = value_parser!(u8).range(1..=MAX_FIXED_LINES))]
    pub lines: Option<u8>,
    /// Have the same product in every order
    #[arg(long)]
    pub hot: bool,
    /// `plain`, `real`, or percentages such as out-of-stock=5,declined=5,cancelled=5,amended=5,duplicated=5
    #[arg(long, default_value = "real")]
    pub mix: Mix,
    /// Number that the orders follow from: the same seed gives the same orders
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Orders, or a time such as 10s, before measuring begins
    #[arg(long, default_value = "0")]
    pub warmup: Warmup,
    /// How long after the last order every order may take to be settled
    #[arg(long, default_value = "60s", value_parser = time)]
    pub settle_timeout: Duration,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// What comes before the measured orders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Warmup {
    /// So many orders.
    Orders(u32),
    /// Orders for so long.
    Time(Duration),
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person to read
    Text,
    /// A JSON object
    Json,
}

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Stock is there and the warm-up is over: the measured orders begin.
    Begin,
    /// The last order is settled. What follows is book-keeping.
    Settled,
}

/// Puts stock on hand, places the orders, waits until they are settled, and says how it went. An error means that there
/// was nothing to measure; whatever the system did wrong is in the report.
pub async fn run(settings: BenchSettings) -> anyhow::Result<Report> {
    observed(settings, async |_| Ok(())).await
}

/// Like [`run`]; `observe` is called at each [`Moment`], and its error ends the run.
pub async fn observed(
    settings: BenchSettings,
    mut observe: impl AsyncFnMut(Moment) -> anyhow::Result<()>,
) -> anyhow::Result<Report> {
    let target = Arc::new(settings.target.clone());
    let shelf = settings.inventory.clone().map_or_else(|| Arc::clone(&target), Arc::new);
    stock::put(&shelf, settings.products, settings.connections).await?;
    let load =
        Load { plan: Arc::new(Plan::new(&settings)), target, connections: settings.connections, rate: settings.rate };
    let warmup = warm_up(&settings, &load).await?;
    info!(orders = settings.orders, target = %settings.target, "placing orders");
    observe(Moment::Begin).await?;
    let part = Part { first: warmup.next, orders: settings.orders, time: settings.time, measured: true };
    let measured = load.place(part).await?;
    finish(&settings, &load, warmup, measured, async || observe(Moment::Settled).await).await
}

async fn warm_up(settings: &BenchSettings, load: &Load) -> anyhow::Result<Loaded> {
    let (orders, time) = match settings.warmup {
        Warmup::Orders(orders) => (orders, None),
        Warmup::Time(time) => (MAX_ORDERS, Some(time)),
    };
    load.place(Part { first: 0, orders, time, measured: false }).await
}

async fn finish(
    settings: &BenchSettings,
    load: &Load,
    warmup: Loaded,
    measured: Loaded,
    settled: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Report> {
    let accepting = measured.tally.last_accepted.map(|last| last - measured.begin);
    let last = measured.tally.placed.iter().max_by_key(|placed| placed.at).map(|placed| placed.id);
    let (warmup_orders, taken) = (warmup.next, measured.next);
    let mut tally = warmup.tally.without_times();
    tally.add(measured.tally);
    info!(orders = tally.placed.len(), "waiting until every order is settled");
    let mut books = Books::open(&tally.placed, load.plan.customer_prefix());
    let mut settling = Settling::new(&load.target, &mut books, &mut tally, settings.settle_timeout);
    if let Some(last) = last {
        settling.wait_for(last).await;
    }
    settled().await?;
    settling.see_all().await;
    let run = Run {
        warmup_orders,
        accepting: accepting.unwrap_or_default(),
        // With a limited time, what was taken up in it is all there was to place.
        wanted: usize::try_from(settings.time.map_or(warmup_orders + settings.orders, |_| taken)).unwrap_or(usize::MAX),
        tally,
        judgement: books.judge(),
    };
    Ok(Report::of(settings, run))
}

impl FromStr for Warmup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u32>() {
            Ok(orders) if orders <= MAX_ORDERS => Ok(Self::Orders(orders)),
            Ok(_) => Err(format!("at most {MAX_ORDERS} orders")),
            Err(_) => time(text).map(Self::Time),
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate > 0.0 && rate <= MAX_RATE { Ok(rate) } else { Err(format!("more than 0 and at most {MAX_RATE}")) }
}

/// A time such as `500ms`, `30s` or `2m`.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        _ => return Err("not a time such as 500ms, 30s or 2m".to_owned()),
    };
    let count: u32 = digits.parse().map_err(|_| "not a time such as 500ms, 30s or 2m".to_owned())?;
    unit.checked_mul(count).filter(|time| *time <= MAX_TIME).ok_or_else(|| "at most a day".to_owned())
}
