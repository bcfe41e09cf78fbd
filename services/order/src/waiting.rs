//! Requests that wait for their order to be settled (`Prefer: wait`).
//!
//! An order that is settled by this process wakes them at once. For one that another process settles, one task asks the
//! database about all of them together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use journal::ReadError;
use process::metrics::Gauge;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use crate::order::Order;
use crate::store;

/// Requests that may wait at once. Each holds a connection, and the process serves no more than 4,096 of those.
const MAX_WAITING: usize = 4096;

/// How often the database is asked: often enough that nobody notices, and one query each time whoever waits.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Who waits for which order.
#[derive(Debug)]
pub struct Waiters {
    waiting: Mutex<Waiting>,
    first_came: Notify,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By order and then by number, as several may wait for one order.
    senders: BTreeMap<(Uuid, u64), oneshot::Sender<Arc<Order>>>,
    next_number: u64,
}

/// One who waits. Whoever drops it waits no longer.
#[derive(Debug)]
pub struct Waiter {
    waiters: Arc<Waiters>,
    place: (Uuid, u64),
    settled: oneshot::Receiver<Arc<Order>>,
}

/// As many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWait;

impl Waiters {
    /// Nobody waits. `gauge` shows how many do later.
    pub fn new(gauge: Gauge) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), first_came: Notify::new(), gauge })
    }

    /// Begins to wait for `order`. Begin before you look whether it is settled, lest you miss it.
    pub fn wait_for(self: &Arc<Self>, order: Uuid) -> Result<Waiter, TooManyWait> {
        let (sender, settled) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.senders.len() >= MAX_WAITING {
            return Err(TooManyWait);
        }
        let place = (order, waiting.next_number);
        waiting.next_number += 1;
        waiting.senders.insert(place, sender);
        drop(waiting);
        self.gauge.inc();
        self.first_came.notify_one();
        Ok(Waiter { waiters: Arc::clone(self), place, settled })
    }

    /// Wakes whoever waits for one of these orders.
    pub fn settled(&self, orders: impl IntoIterator<Item = Arc<Order>>) {
        let mut waiting = self.lock();
        if waiting.senders.is_empty() {
            return;
        }
        for order in orders {
            for sender in waiting.take(order.shown.id) {
                // Whoever went away meanwhile does not mind.
                let _ = sender.send(Arc::clone(&order));
            }
        }
    }

    /// The orders that are waited for.
    fn orders(&self) -> Vec<Uuid> {
        let mut orders: Vec<Uuid> = self.lock().senders.keys().map(|(order, _)| *order).collect();
        orders.dedup();
        orders
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // What it guards is valid between any two statements, also after a panic elsewhere.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, order: Uuid) -> Vec<oneshot::Sender<Arc<Order>>> {
        let places = self.senders.range((order, 0)..=(order, u64::MAX)).map(|(place, _)| *place);
        let places: Vec<_> = places.collect();
        places.iter().filter_map(|place| self.senders.remove(place)).collect()
    }
}

impl Waiter {
    /// The order as soon as it is settled; nothing if it is not within `limit`.
    pub async fn settled(mut self, limit: Duration) -> Option<Arc<Order>> {
        timeout(limit, &mut self.settled).await.ok()?.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.lock().senders.remove(&self.place);
        self.waiters.gauge.dec();
    }
}

/// Asks the database about the orders that are waited for, until the process stops.
pub(crate) async fn poll(waiters: Arc<Waiters>, reads: Pool, stop: CancellationToken) {
    let poll = async {
        let mut failing = false;
        loop {
            if waiters.orders().is_empty() {
                waiters.first_came.notified().await;
            }
            // Most orders are settled here and within this time, and are never asked about.
            sleep(POLL_INTERVAL).await;
            let asked = ask(&waiters, &reads).await;
            // A database that is away is asked ten times a second; once is enough to say so.
            if let (Err(error), false) = (&asked, failing) {
                warn!(error = error as &dyn std::error::Error, "cannot look for orders that are waited for");
            }
            failing = asked.is_err();
        }
    };
    stop.run_until_cancelled(poll).await;
}

async fn ask(waiters: &Waiters, reads: &Pool) -> Result<(), ReadError> {
    let orders = waiters.orders();
    if !orders.is_empty() {
        let settled = store::settled(reads, &orders).await?;
        waiters.settled(settled.into_iter().map(Arc::new));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::fixtures;

    fn waiters() -> Arc<Waiters> {
        Waiters::new(Gauge::default())
    }

    fn confirmed(id: u128) -> Arc<Order> {
        Arc::new(fixtures::confirmed(Uuid::from_u128(id)))
    }

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn everyone_who_waits_for_an_order_is_told_when_it_is_settled() {
        let waiters = waiters();
        let both = [1, 1].map(|id| waiters.wait_for(Uuid::from_u128(id)).expect("there is room"));
        let order = confirmed(1);
        waiters.settled([Arc::clone(&order)]);
        for waiter in both {
            assert_eq!(waiter.settled(LONG).await, Some(Arc::clone(&order)));
        }
        assert!(waiters.orders().is_empty());
    }

    #[tokio::test]
    async fn another_order_wakes_nobody() {
        let waiters = waiters();
        let waiter = waiters.wait_for(Uuid::from_u128(1)).expect("there is room");
        waiters.settled([confirmed(0), confirmed(2)]);
        assert_eq!(waiters.orders(), [Uuid::from_u128(1)]);
        assert_eq!(waiter.settled(Duration::ZERO).await, None);
    }

    #[tokio::test]
    async fn whoever_goes_away_is_forgotten() {
        let waiters = waiters();
        drop(waiters.wait_for(Uuid::from_u128(1)).expect("there is room"));
        assert!(waiters.orders().is_empty());
        assert_eq!(waiters.gauge.get(), 0);
    }

    #[tokio::test]
    async fn no_more_wait_than_may() {
        let waiters = waiters();
        let wait = || waiters.wait_for(Uuid::from_u128(1));
        let all: Vec<_> = (0..MAX_WAITING).map(|_| wait().expect("there is room")).collect();
        assert_eq!(wait().err(), Some(TooManyWait));
        drop(all);
        assert!(wait().is_ok());
    }
}
