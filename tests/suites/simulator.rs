//! Twenty thousand worlds in which everything goes wrong: see [`tests::simulator`].

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{bail, ensure};
use tests::simulator::{Outcome, Rule, run};

/// How many worlds there are, unless `SEEDS` says otherwise.
const SEEDS: u64 = 20_000;
/// Within how many worlds it must be noticed that a rule is gone.
const NOTICED_WITHIN: u64 = 1_000;

#[test]
fn every_world_settles_and_nothing_forbidden_happens() -> anyhow::Result<()> {
    if let Some(seed) = number("SEED") {
        let outcome = run(seed, None);
        println!("seed {seed}: trace {:016x}, {:?}", outcome.trace, outcome.counts);
        ensure!(outcome.violations.is_empty(), "{}", told(seed, &outcome));
        return Ok(());
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let counts = Mutex::new(BTreeMap::<&str, u64>::new());
    let failed = search(seeds, None, |outcome| {
        let mut counts = counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (what, count) in &outcome.counts {
            *counts.entry(what).or_default() += count;
        }
    });
    println!("{seeds} worlds: {:?}", counts.lock());
    match failed {
        None => Ok(()),
        Some((seed, outcome)) => bail!("{}", told(seed, &outcome)),
    }
}

#[test]
fn a_seed_is_the_whole_story() {
    for seed in 0..20 {
        assert_eq!(run(seed, None), run(seed, None), "seed {seed}");
    }
}

#[test]
fn a_rule_that_is_gone_is_noticed() -> anyhow::Result<()> {
    for rule in Rule::ALL {
        let Some((seed, outcome)) = search(NOTICED_WITHIN, Some(rule), |_| {}) else {
            bail!("nothing was found in {NOTICED_WITHIN} worlds without {rule:?}");
        };
        println!("without {rule:?}: seed {seed}: {}", outcome.violations[0]);
    }
    Ok(())
}

/// Runs the worlds of seeds below `seeds` on every core, until one is wrong: the lowest such seed of those that were run.
fn search(seeds: u64, missing: Option<Rule>, look: impl Fn(&Outcome) + Sync) -> Option<(u64, Outcome)> {
    let (next, failed) = (AtomicU64::new(0), Mutex::new(None::<(u64, Outcome)>));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let outcome = run(seed, missing);
            look(&outcome);
            if !outcome.violations.is_empty() {
                next.store(seeds, Ordering::Relaxed);
                let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                    *failed = Some((seed, outcome));
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn told(seed: u64, outcome: &Outcome) -> String {
    let violations = outcome.violations.join("\n  ");
    format!(
        "seed {seed}:\n  {violations}\nrepeat it: SEED={seed} cargo test --locked -p tests --test simulator every_world -- --nocapture"
    )
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
