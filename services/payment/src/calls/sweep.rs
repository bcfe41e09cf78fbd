//! Finds the attempts that nobody asks the provider about: those that are due, all that are open on a lane that just came
//! here, and all that are open when requests found no room.

use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::Lane;
use journal::{Journal, OwnedLanes, ReadError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Calls;
use crate::store::{self, Accounts};

/// How often due attempts are looked for, and so how late one may be asked about.
const INTERVAL: Duration = Duration::from_secs(1);

/// Hands what is due in the lanes that this process owns to `calls`, until `stop`.
pub(crate) async fn sweep(journal: Journal<Accounts>, calls: Calls, stop: CancellationToken) {
    let mut owned = journal.owned();
    let mut lanes = OwnedLanes::from([]);
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let before = std::mem::replace(&mut lanes, owned.borrow_and_update().clone());
        // Whoever asked about what is open on a claimed lane is gone, so nothing there is too early.
        let claimed: Vec<Lane> = lanes.iter().copied().filter(|lane| !before.contains(lane)).collect();
        let by = if calls.overflowed() { None } else { Some(Utc::now()) };
        for (lanes, by) in [(&claimed[..], None), (&lanes, by)] {
            if let Err(error) = offer(&journal, lanes, by, &calls).await {
                warn!(error = &error as &dyn Error, "cannot look for open payments; trying again in a second");
            }
        }
    }
}

/// Offers the requests that open attempts of `lanes` wait for; with `by`, only those due by then.
async fn offer(
    journal: &Journal<Accounts>,
    lanes: &[Lane],
    by: Option<DateTime<Utc>>,
    calls: &Calls,
) -> Result<(), ReadError> {
    let room = calls.room();
    if lanes.is_empty() || room == 0 {
        return Ok(());
    }
    // Those under way are found too, and come first as they are due first.
    let limit = i64::try_from(room + calls.under_way()).unwrap_or(i64::MAX);
    for call in store::open(journal.reads(), lanes, by, limit).await? {
        calls.offer(call, None);
    }
    Ok(())
}
