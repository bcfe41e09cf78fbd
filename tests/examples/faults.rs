//! `make faults`: orders while everything goes wrong that can go wrong, and the judge of what came of it.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use tests::faults::{REST, Settings, run};
use tests::program;

/// Orders while everything goes wrong that can go wrong
#[derive(Parser)]
struct Arguments {
    /// How long things go wrong
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// What everything follows from; any number if none is given
    #[arg(long)]
    seed: Option<u64>,
    /// Clients that come each second
    #[arg(long, default_value_t = 60)]
    rate: u32,
    /// Seconds that the system may take to come to rest afterwards
    #[arg(long, default_value_t = REST.as_secs())]
    patience: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { seconds, seed, rate, patience } = Arguments::parse();
    let any = || SystemTime::UNIX_EPOCH.elapsed().map_or(1, |elapsed| elapsed.as_secs());
    let seed = seed.unwrap_or_else(any);
    eprintln!("seed {seed}");
    program::keep_quiet();
    let (time, grace, patience) = (Duration::from_secs(seconds), Duration::ZERO, Duration::from_secs(patience));
    let settings = Settings { seed, time, grace, per_second: rate, patience, only: &[], left_out: None };
    let outcome = run(settings).await?;
    print!("{outcome}");
    Ok(if outcome.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
