//! The loads: two lines an order, ten thousand products, arrivals at a rate whether or not the system keeps up.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join;
use ordersystem::bench::{self, BenchSettings, Mix, Moment, Output, Warmup};
use tests::kafka::Kafka;
use tests::system::{Service, System};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::Settings;
use crate::meter::{Cost, Meter};

/// Lines of an order.
const LINES: u8 = 2;
/// Products that are ordered.
const PRODUCTS: u32 = 10_000;
/// The rate of the warm-up, in orders a second.
const WARM_UP_RATE: u32 = 1000;
/// More orders than the fastest system settles in a second.
const FLAT_OUT_RATE: u32 = 8000;
/// Orders a second while the broker goes away and comes back.
const AWAY_RATE: u32 = 1000;
/// Orders that are placed at a time until as many are stored as wanted: the generator remembers each until it is settled.
const FILL: u32 = 200_000;
/// How long after the last order every order may take to be settled.
const SETTLE_TIMEOUT: Duration = Duration::from_mins(2);
/// How long the audit of a million orders may take.
const AUDIT_DEADLINE: Duration = Duration::from_mins(10);

/// How many orders arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// So many a second.
    Rate(u32),
    /// As many as the connections allow.
    FlatOut,
    /// As many as the connections allow, the same product in every order.
    Hot,
    /// [`AWAY_RATE`], for twice as long as any other load; for the half in the middle there is no broker.
    Away,
    /// As many as the connections allow, on a database of its own, in the same minutes as [`Self::Stored`].
    New,
    /// As many as the connections allow, on top of orders that are stored already.
    Stored,
}

/// What a load showed.
#[derive(Debug)]
pub struct Measured {
    pub load: Load,
    pub report: bench::Report,
    pub cost: Cost,
    /// The largest resident set that a service had meanwhile, in bytes.
    pub peak_memory: u64,
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(rate) if rate > 0 => Ok(Self::Rate(rate)),
            _ if text == "flat-out" => Ok(Self::FlatOut),
            _ if text == "hot" => Ok(Self::Hot),
            _ if text == "away" => Ok(Self::Away),
            _ => Err("orders a second, flat-out, hot or away".to_owned()),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(f, "{rate}/s"),
            Self::FlatOut => write!(f, "flat out"),
            Self::Hot => write!(f, "hot product"),
            Self::Away => write!(f, "broker away"),
            Self::New => write!(f, "new store"),
            Self::Stored => write!(f, "full store"),
        }
    }
}

/// Lets the broker, the database and the services come to speed.
pub async fn warm_up(settings: &Settings, system: &System, seconds: u32) -> anyhow::Result<()> {
    if seconds == 0 {
        return Ok(());
    }
    eprintln!("warming up for {seconds} s …");
    let load = Load::Rate(WARM_UP_RATE);
    let report = bench::run(asked(settings, load, seconds, system)?).await?;
    ensure!(report.passed(), "{report}");
    Ok(())
}

/// Has so many orders stored, placed and settled like any others.
pub async fn fill(settings: &Settings, system: &System) -> anyhow::Result<()> {
    let mut stored = 0;
    while stored < settings.stored {
        eprintln!("{stored} of {} orders stored …", settings.stored);
        let mut asked = asked(settings, Load::FlatOut, settings.seconds, system)?;
        (asked.orders, asked.time) = ((settings.stored - stored).min(FILL), None);
        stored += asked.orders;
        let report = bench::run(asked).await?;
        ensure!(report.passed(), "{report}");
    }
    Ok(())
}

/// Places the load, waits until all of it is settled, and lets the audit judge.
pub async fn run(settings: &Settings, load: Load, system: &System, meter: &Meter<'_>) -> anyhow::Result<Measured> {
    let measured = place(settings, load, system, meter).await?;
    audit(system).await?;
    Ok(measured)
}

/// Lets the audit judge.
pub async fn audit(system: &System) -> anyhow::Result<()> {
    system.audit_within(AUDIT_DEADLINE).await
}

/// Places the load, and waits until all of it is settled.
pub async fn place(settings: &Settings, load: Load, system: &System, meter: &Meter<'_>) -> anyhow::Result<Measured> {
    let seconds = if load == Load::Away { 2 * settings.seconds } else { settings.seconds };
    eprintln!("{load} for {seconds} s …");
    let (mut begin, mut cost) = (None, None);
    let placing = Notify::new();
    let observe = async |moment| {
        let reading = meter.read().await?;
        match moment {
            Moment::Begin => {
                meter.forget_peak_memory().await?;
                begin = Some(reading);
                placing.notify_one();
            }
            Moment::Settled => cost = begin.as_ref().map(|begin| reading.since(begin)),
        }
        Ok(())
    };
    let placed = bench::observed(asked(settings, load, seconds, system)?, observe);
    let report = match meter.kafka {
        Some(kafka) if load == Load::Away => try_join(placed, outage(kafka, &placing, settings)).await?.0,
        _ => placed.await?,
    };
    ensure!(report.passed(), "{report}");
    let peak_memory = meter.peak_memory().await?;
    let measured = Measured { load, report, cost: cost.context("nothing was measured")?, peak_memory };
    eprintln!("{measured}");
    Ok(measured)
}

/// The broker, killed for the middle of the time that [`Load::Away`] takes, once `placing` tells that orders are placed.
async fn outage(kafka: &Kafka, placing: &Notify, settings: &Settings) -> anyhow::Result<()> {
    let time = Duration::from_secs(settings.seconds.into());
    placing.notified().await;
    sleep(time / 2).await;
    kafka.kill().await?;
    sleep(time).await;
    kafka.start_again().await
}

/// Orders that the system knows.
pub async fn orders(system: &System) -> anyhow::Result<f64> {
    let client = system.database().connect().await?;
    Ok(client.query_one("SELECT count(*)::float8 FROM orders.orders", &[]).await?.get(0))
}

fn asked(settings: &Settings, load: Load, seconds: u32, system: &System) -> anyhow::Result<BenchSettings> {
    let address = |service| anyhow::Ok(system.replica(service, 0).client()?.base().parse()?);
    let (rate, orders) = match load {
        Load::Rate(rate) => (Some(f64::from(rate)), rate * seconds),
        Load::Away => (Some(f64::from(AWAY_RATE)), AWAY_RATE * seconds),
        Load::FlatOut | Load::Hot | Load::New | Load::Stored => (None, FLAT_OUT_RATE * seconds),
    };
    Ok(BenchSettings {
        target: address(Service::Order)?,
        inventory: Some(address(Service::Inventory)?),
        orders,
        time: Some(Duration::from_secs(seconds.into())),
        rate,
        connections: settings.connections,
        products: PRODUCTS,
        lines: Some(LINES),
        hot: load == Load::Hot,
        mix: Mix::PLAIN,
        seed: 1,
        warmup: Warmup::Orders(0),
        settle_timeout: SETTLE_TIMEOUT,
        output: Output::Text,
    })
}
