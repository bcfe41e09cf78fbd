//! Idempotency keys are deleted when nobody can need them any more.

use std::error::Error;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use journal::Pool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::store::{self, KEYS_PURGED_AT_ONCE, ReadError};

/// How long a key is kept: a client that has not heard of its answer for three days does not ask again.
const KEPT: TimeDelta = TimeDelta::hours(72);
/// How often old keys are looked for. They are in nobody's way, so it need not be soon.
const INTERVAL: Duration = Duration::from_mins(1);

/// Deletes old keys until `stop`.
pub(crate) async fn purge(reads: Pool, stop: CancellationToken) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = purge_old(&reads).await {
            let error = &error as &dyn Error;
            warn!(error, "old idempotency keys of payment cannot be deleted; trying again in a minute");
        }
    }
}

async fn purge_old(reads: &Pool) -> Result<(), ReadError> {
    while store::purge_keys(reads, Utc::now() - KEPT).await? == KEYS_PURGED_AT_ONCE.unsigned_abs() {}
    Ok(())
}
