//! A short run of `make bench`: it works over both transports, every order is settled, the books balance. No time is
//! judged; machines are shared.

use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::{Folder, profile_dir};

#[test]
fn a_short_run_settles_every_order_and_tells_what_it_cost() -> anyhow::Result<()> {
    // given
    let folder = Folder::new("bench")?;
    let file = folder.path().join("figures.json");
    let program = profile_dir()?.join("examples/bench");
    // when
    let arguments = "--seconds 3 --warmup 1 --loads 20,flat-out,hot,away --stored 2000 --connections 32";
    let output = Command::new(&program).args(arguments.split(' ')).arg("--json").arg(&file).output();
    // then
    let output = output.with_context(|| format!("{} cannot be run", program.display()))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    ensure!(said(&output.stdout).contains("times the floor"), "no ratio: {}", said(&output.stdout));
    let figures: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    for name in ["settledPerSecond", "cpuMicrosPerOrder", "floorRatio", "hotProductShare", "fullStoreShare"] {
        ensure!(figures[name].as_f64().is_some_and(|value| value > 0.0), "{name} in {figures:#}");
    }
    for transport in figures["transports"].as_array().context("there are transports")? {
        for load in transport["loads"].as_array().context("there are loads")? {
            let (accepted, settled) = (&load["run"]["accepted"]["orders"], &load["run"]["settled"]["orders"]);
            ensure!(accepted.as_u64().is_some_and(|orders| orders >= 60) && accepted == settled, "{load:#}");
        }
    }
    Ok(())
}
