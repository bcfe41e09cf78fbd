//! Finds the attempts that nobody asks the provider about: those that are due, and all that are open on a lane that just
//! came here.

use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::Lane;
use journal::{Journal, OwnedLanes};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Calls;
use crate::store::{self, Accounts, ReadError};

/// How often due attempts are looked for, and so how late one may be asked about.
const INTERVAL: Duration = Duration::from_secs(1);
/// The most attempts that one look finds: twice what is asked at once, so that nobody idles until the next look.
const SWEPT_AT_ONCE: usize = 2048;

/// Hands what is due in the lanes that this process owns to `calls`, until `stop`.
pub(crate) async fn sweep(journal: Journal<Accounts>, calls: Calls, stop: CancellationToken) {
    let mut owned = journal.owned();
    let mut lanes = OwnedLanes::from([]);
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let before = std::mem::replace(&mut lanes, owned.borrow_and_update().clone());
        let claimed: Vec<Lane> = lanes.iter().copied().filter(|lane| !before.contains(lane)).collect();
        // Whoever asked about what is open on a claimed lane is gone, so nothing there is too early.
        for (lanes, by) in [(&claimed[..], None), (&lanes, Some(Utc::now()))] {
            if let Err(error) = offer(&journal, lanes, by, &calls).await {
                warn!(error = &error as &dyn Error, "cannot look for open payments; trying again in a second");
            }
        }
    }
}

async fn offer(
    journal: &Journal<Accounts>,
    lanes: &[Lane],
    by: Option<DateTime<Utc>>,
    calls: &Calls,
) -> Result<(), ReadError> {
    let room = calls.room().min(SWEPT_AT_ONCE);
    if lanes.is_empty() || room == 0 {
        return Ok(());
    }
    let limit = i64::try_from(room).unwrap_or(i64::MAX);
    for call in store::open(journal.reads(), lanes, by, limit).await? {
        calls.offer(call);
    }
    Ok(())
}
