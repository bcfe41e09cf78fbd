//! Orders while everything goes wrong that can go wrong: see `tests::faults`. Every fault comes about in this short run;
//! `make faults SECONDS=600` is the long one.

use std::time::Duration;

use anyhow::ensure;
use journal::faults::Safeguard;
use tests::faults::{Ends, Kind, REST, Settings, every_place, run};
use tests::system::Transport;
use tests::{program, turn};

/// What everything follows from, unless `SEED` says otherwise.
const SEED: u64 = 1;

/// How long things go wrong: as long as each hand needs for everything that it can do.
const TIME: Duration = Duration::from_secs(75);

/// How much longer that may take on a slow machine.
const GRACE: Duration = Duration::from_mins(5);

/// Clients that come each second, on a machine that runs other tests.
const PER_SECOND: u32 = 25;

fn seed() -> anyhow::Result<u64> {
    Ok(std::env::var("SEED").ok().map(|seed| seed.parse()).transpose()?.unwrap_or(SEED))
}

fn settings() -> anyhow::Result<Settings> {
    let (seed, only) = (seed()?, &[]);
    Ok(Settings { seed, time: TIME, grace: GRACE, per_second: PER_SECOND, patience: REST, only, left_out: None })
}

#[tokio::test]
async fn nothing_is_lost_invented_or_done_twice_whatever_goes_wrong() -> anyhow::Result<()> {
    let _turn = turn().await?;
    program::keep_quiet();
    let outcome = run(settings()?).await?;
    println!("{outcome}");
    ensure!(outcome.holds(), "the judge says no");
    let missing: Vec<&str> =
        Kind::ALL.into_iter().filter(|kind| !outcome.faults.contains_key(kind)).map(Kind::name).collect();
    ensure!(missing.is_empty(), "these did not come about: {missing:?}");
    Ok(())
}

mod crash_points {
    use super::*;

    #[tokio::test]
    async fn a_process_that_ends_anywhere_over_the_log_leaves_nothing_undone() -> anyhow::Result<()> {
        ends_everywhere(Transport::Log).await
    }

    #[tokio::test]
    async fn a_process_that_ends_anywhere_over_kafka_leaves_nothing_undone() -> anyhow::Result<()> {
        ends_everywhere(Transport::Kafka).await
    }

    async fn ends_everywhere(transport: Transport) -> anyhow::Result<()> {
        let _turn = turn().await?;
        program::keep_quiet();
        let Ends { reached, missed, contradictions } = every_place(transport, seed()?).await?;
        println!("processes ended at {} places", reached.len());
        ensure!(missed.is_empty(), "no process came to {missed:#?}");
        ensure!(contradictions.is_empty(), "{contradictions:#?}");
        Ok(())
    }
}

/// The judge is judged: what every safeguard is there for happens without it, and is found.
mod without {
    use super::*;

    /// Seeds that are tried until the judge finds something; what goes wrong is not the same each time.
    const SEEDS: [u64; 4] = [1, 2, 3, 4];

    /// Clients that come each second when many have to come at once.
    const CROWD: u32 = 60;

    #[tokio::test]
    async fn fencing_a_replica_that_was_stopped_does_again_what_others_did() -> anyhow::Result<()> {
        caught(Safeguard::Fencing, &[Kind::Freeze], PER_SECOND, "set back").await
    }

    #[tokio::test]
    async fn the_duplicate_test_records_are_applied_again() -> anyhow::Result<()> {
        caught(Safeguard::DuplicateTest, &[Kind::SendTwice], PER_SECOND, "set back").await
    }

    #[tokio::test]
    async fn the_gap_test_what_the_broker_lost_is_never_done() -> anyhow::Result<()> {
        caught(Safeguard::GapTest, &[Kind::LoseTail, Kind::Freeze], PER_SECOND, "the books do not balance").await
    }

    #[tokio::test]
    async fn the_lock_order_transactions_wait_in_a_circle() -> anyhow::Result<()> {
        // Who waited for the same lock goes on at the same moment.
        caught(Safeguard::LockOrder, &[Kind::Hold], CROWD, "in a circle").await
    }

    #[tokio::test]
    async fn idempotency_keys_one_request_is_several_orders() -> anyhow::Result<()> {
        caught(Safeguard::IdempotencyKeys, &[Kind::Churn], PER_SECOND, "one request, several orders").await
    }

    /// The judge finds `what` when a safeguard is left out and `only` this goes wrong.
    async fn caught(left_out: Safeguard, only: &'static [Kind], per_second: u32, what: &str) -> anyhow::Result<()> {
        let _turn = turn().await?;
        program::keep_quiet();
        let (time, patience) = (Duration::from_secs(25), Duration::from_secs(30));
        let mut found = Vec::new();
        for seed in SEEDS {
            let (grace, without) = (Duration::ZERO, Some(left_out));
            let settings = Settings { seed, time, grace, per_second, patience, only, left_out: without };
            let outcome = run(settings).await?;
            let named = outcome.contradictions.iter().find(|contradiction| contradiction.contains(what));
            if let Some(contradiction) = named {
                println!("without the {}, caught with seed {seed}: {contradiction}", left_out.name());
                return Ok(());
            }
            found.extend(outcome.contradictions);
        }
        anyhow::bail!("without the {} the judge found no {what:?}, but {found:#?}", left_out.name())
    }
}
