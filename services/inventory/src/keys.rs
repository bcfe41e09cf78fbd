//! What the clock brings about: idempotency keys are forgotten when nobody can need them any more.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use journal::Journal;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::store::{self, Inventory, KEYS_PURGED_AT_ONCE, ReadError};

/// How long an idempotency key is kept at least: 72 h, beyond any client's retries.
const KEYS_KEPT: TimeDelta = TimeDelta::hours(72);

/// How often keys that are too old are looked for. At this pace and in bounded steps it is never much work at a time.
const PURGE_INTERVAL: Duration = Duration::from_mins(1);

/// Forgets idempotency keys that are too old, until the process stops.
pub(crate) async fn purge(journal: Journal<Inventory>, stop: CancellationToken) {
    let purge = async {
        let mut clock = interval(PURGE_INTERVAL);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            if let Err(error) = forget_keys(&journal).await {
                warn!(error = &error as &dyn std::error::Error, "cannot forget old idempotency keys");
            }
        }
    };
    stop.run_until_cancelled(purge).await;
}

async fn forget_keys(journal: &Journal<Inventory>) -> Result<(), ReadError> {
    while store::purge_keys(journal.reads(), Utc::now() - KEYS_KEPT).await? >= u64::from(KEYS_PURGED_AT_ONCE) {}
    Ok(())
}
