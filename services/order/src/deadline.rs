//! What the clock brings about: orders that nobody paid in time expire. Deadlines are in the database, so none is lost with
//! a process.

use std::time::Duration;

use chrono::Utc;
use futures_util::future::join_all;
use journal::{Journal, ReadError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::order;
use crate::store::{self, Command, Orders};

/// How often overdue orders are looked for, and so how late an order may expire.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Orders that expire together: one batch's worth, so that a thousand deadlines at once leave room for callers.
const SWEPT_AT_ONCE: u16 = 512;

/// Ends overdue orders in the lanes that this process owns, until the process stops.
pub(crate) async fn sweep(journal: Journal<Orders>, stop: CancellationToken) {
    let sweep = async {
        let mut clock = interval(SWEEP_INTERVAL);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            if let Err(error) = expire_overdue(&journal).await {
                warn!(error = &error as &dyn std::error::Error, "cannot look for overdue orders");
            }
        }
    };
    stop.run_until_cancelled(sweep).await;
}

/// Asks for the expiry of every order that is overdue now. What is refused is found again by the next sweep.
async fn expire_overdue(journal: &Journal<Orders>) -> Result<(), ReadError> {
    let owned = journal.owned().borrow().clone();
    if owned.is_empty() {
        return Ok(());
    }
    loop {
        let overdue = store::overdue(journal.reads(), &owned, Utc::now(), SWEPT_AT_ONCE).await?;
        let expiries = overdue.iter().map(|id| {
            let command = Command::Change { order: *id, command: order::Command::Expire };
            journal.submit(journal.lanes().of_order(*id), command, None)
        });
        let answers = join_all(expiries).await;
        if answers.len() < usize::from(SWEPT_AT_ONCE) || answers.iter().any(Result::is_err) {
            return Ok(());
        }
    }
}
