//! Asking the provider: what a batch leaves to be asked is asked at once, what brought nothing is asked again when it is
//! due, and what another process left behind is found when its lanes come here.
//!
//! Nothing here decides. An answer goes back to the order's account as a command, and whether it still matters is settled
//! there.

mod caller;
mod provider;
mod sweep;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::payment::{Call, Step};

pub(crate) use caller::Caller;
pub(crate) use sweep::sweep;

/// How long an open attempt is left alone. It is twice as long as a request may take, so that the sweep finds only those
/// whose request was lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that may wait for their turn: some seconds' work at thousands of orders a second, and a few megabytes. What
/// finds no room is left to the sweep.
const MAX_WAITING: usize = 16_384;

/// Where requests to the provider are handed in. Cheap to clone.
#[derive(Clone)]
pub struct Calls {
    waiting: mpsc::Sender<Ticket>,
    under_way: UnderWay,
    overflowed: Arc<AtomicBool>,
}

/// The requests that wait or are being made, so that none is made twice at once from this process.
type UnderWay = Arc<Mutex<HashSet<(Uuid, Step)>>>;

/// A request on its way to the provider, until it is dropped.
pub struct Ticket {
    call: Call,
    trace: Option<Box<str>>,
    under_way: UnderWay,
}

impl Calls {
    /// A place to hand requests in, and the other end, where they come out.
    pub fn new() -> (Self, mpsc::Receiver<Ticket>) {
        let (waiting, tickets) = mpsc::channel(MAX_WAITING);
        (Self { waiting, under_way: UnderWay::default(), overflowed: Arc::default() }, tickets)
    }

    /// Hands in a request, unless it is under way already or there is no room. Then it is left to the sweep. `trace` is the
    /// W3C trace context of what asks for it, when that is known.
    pub fn offer(&self, call: Call, trace: Option<Box<str>>) {
        let Ok(room) = self.waiting.try_reserve() else {
            self.overflowed.store(true, Ordering::Relaxed);
            return;
        };
        if lock(&self.under_way).insert((call.key, call.step)) {
            room.send(Ticket { call, trace, under_way: Arc::clone(&self.under_way) });
        }
    }

    /// How many requests can be handed in at the moment.
    fn room(&self) -> usize {
        self.waiting.capacity()
    }

    /// How many requests wait or are being made.
    fn under_way(&self) -> usize {
        lock(&self.under_way).len()
    }

    /// Whether a request found no room since this was last asked.
    fn overflowed(&self) -> bool {
        self.overflowed.swap(false, Ordering::Relaxed)
    }
}

impl Ticket {
    /// The request.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The trace context of what asks for it, when that is known.
    pub fn trace(&self) -> Option<&str> {
        self.trace.as_deref()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&(self.call.key, self.call.step));
    }
}

/// Locks, also after a panic elsewhere: the set is valid between any two statements.
fn lock(under_way: &Mutex<HashSet<(Uuid, Step)>>) -> MutexGuard<'_, HashSet<(Uuid, Step)>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Currency;

    fn call(key: u128, step: Step) -> Call {
        let currency = Currency::try_from("EUR").expect("is a currency");
        let (key, order) = (Uuid::from_u128(key), Uuid::from_u128(1));
        Call { step, key, order, amount: 5, currency, token: "tok_ok".to_owned(), wanted: true }
    }

    #[test]
    fn a_request_that_is_under_way_is_not_made_again() {
        let (calls, mut tickets) = Calls::new();
        calls.offer(call(1, Step::Authorize), None);
        calls.offer(call(1, Step::Authorize), None);
        let ticket = tickets.try_recv().expect("the first");
        assert!(tickets.try_recv().is_err());
        calls.offer(call(1, Step::Authorize), None);
        assert!(tickets.try_recv().is_err());
        drop(ticket);
        calls.offer(call(1, Step::Authorize), None);
        assert!(tickets.try_recv().is_ok());
    }

    #[test]
    fn what_follows_from_an_answer_may_be_asked_before_the_answered_request_is_put_away() {
        let (calls, mut tickets) = Calls::new();
        calls.offer(call(1, Step::Authorize), None);
        let answered = tickets.try_recv().expect("the first");
        calls.offer(call(1, Step::Inquire), None);
        assert!(tickets.try_recv().is_ok());
        drop(answered);
    }

    #[test]
    fn what_finds_no_room_is_left_and_may_be_offered_again() {
        let (calls, mut tickets) = Calls::new();
        for key in 0..=MAX_WAITING as u128 {
            calls.offer(call(key, Step::Capture), None);
        }
        assert_eq!((calls.room(), calls.overflowed(), calls.overflowed()), (0, true, false));
        drop(tickets.try_recv().expect("the first"));
        calls.offer(call(MAX_WAITING as u128, Step::Capture), None);
        assert_eq!(calls.room(), 0);
    }
}
