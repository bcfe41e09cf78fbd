//! Real input: orders by the thousand, as `ordersystem bench` makes them.

use std::time::Duration;

use anyhow::ensure;
use ordersystem::bench::{self, BenchSettings, Output, Warmup};
use tests::system::{Setup, System, Transport};

use crate::books::balanced;

/// Orders to place.
const ORDERS: u32 = 20_000;

/// Products that they name.
const PRODUCTS: u32 = 500;

/// How long after the last order every order may take to be settled, in a debug build beside other tests.
const SETTLE_TIMEOUT: Duration = Duration::from_mins(2);

/// A few among twenty thousand are short of stock, declined, cancelled, amended or sent twice; every one is settled as it
/// has to be, and the books balance.
pub async fn twenty_thousand(transport: Transport) -> anyhow::Result<()> {
    let system = System::up(Setup::from(transport)).await?;
    let report = bench::run(BenchSettings {
        target: system.process().client()?.base().parse()?,
        inventory: None,
        orders: ORDERS,
        time: None,
        rate: None,
        connections: 64,
        products: PRODUCTS,
        lines: None,
        hot: false,
        mix: "real".parse()?,
        seed: 1,
        warmup: Warmup::Orders(0),
        settle_timeout: SETTLE_TIMEOUT,
        output: Output::Text,
    });
    let report = report.await?;
    println!("{report}");
    ensure!(report.passed(), "{report}");
    assert_eq!(report.accepted.orders, ORDERS as usize, "orders that were accepted");
    balanced(system.database()).await
}
