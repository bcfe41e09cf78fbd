//! Whether one more order may come. Orders are placed faster than they are settled, so a queue of them would grow in the
//! services that settle them, where nobody sees it; so those that are on their way are counted at the door.
//!
//! The bound follows from what is settled: ten seconds' worth. What is refused costs little, as its body is not read.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use process::Problem;
use process::metrics::Gauge;
use uuid::Uuid;

use crate::order::Order;

/// Orders that may be on their way whatever is settled: so many come in a moment when a shop opens its doors, or wait when
/// a service is away.
const ALWAYS: usize = 10_000;
/// Orders that may be on their way at most: ten seconds' worth on a large machine, and ten megabytes.
const AT_MOST: usize = 100_000;
/// How many seconds' worth of what is settled may be on its way. More than an autoscaler waits for, which adds replicas at
/// five unless it is told otherwise; an order that comes then is settled ten seconds later, and one more would only wait
/// longer.
const SECONDS_WORTH: f64 = 10.0;
/// Orders that may wait to be stored: a batch that is being stored, and the next. More of them would only wait longer.
const ENTERING: usize = 2 * 1024;
/// How fast the measured rate follows the real one.
const SMOOTHING_SECONDS: f64 = 2.0;
/// After this time an order is held up by something else than a queue (a service or the provider is away), or by now it is
/// settled by another replica. It is not counted any longer, so that it holds up no others. It has to be longer than
/// [`SECONDS_WORTH`], or a queue would be forgotten instead of bounded.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);

/// The door for new orders.
#[derive(Debug)]
pub struct Admission {
    crowd: Mutex<Crowd>,
    gauge: Gauge,
}

/// The door was open.
#[derive(Debug)]
pub struct Admitted;

/// An order that came in. It is counted until this is dropped, and longer if it stays.
#[derive(Debug)]
pub struct Entering {
    admission: Arc<Admission>,
    order: Uuid,
    stays: bool,
}

/// The orders that are on their way.
#[derive(Debug)]
struct Crowd {
    /// Those that wait to be stored, for stock, or for the payment that they came with.
    waiting: HashSet<Uuid>,
    /// The same in the order of their coming, and some that do not wait any longer.
    came: VecDeque<(Instant, Uuid)>,
    /// How many have come in that are not stored yet.
    entering: usize,
    settled_per_second: f64,
    measured_at: Instant,
}

impl Admission {
    /// A door before which nobody is. `gauge` shows later how many orders are on their way.
    pub fn new(gauge: Gauge) -> Arc<Self> {
        Arc::new(Self { crowd: Mutex::new(Crowd::new(Instant::now())), gauge })
    }

    /// Whether one more order may come in.
    pub fn admit(&self) -> Result<Admitted, Problem> {
        let mut crowd = self.lock();
        crowd.forget(Instant::now());
        if crowd.has_room() { Ok(Admitted) } else { Err(Problem::overloaded()) }
    }

    /// Counts an order from before it is stored.
    pub fn enter(self: &Arc<Self>, _: Admitted, order: Uuid) -> Entering {
        let mut crowd = self.lock();
        crowd.entering += 1;
        crowd.wait(order, Instant::now());
        drop(crowd);
        Entering { admission: Arc::clone(self), order, stays: false }
    }

    /// Takes note of orders as they are now.
    pub fn observe<'o>(&self, orders: impl Iterator<Item = &'o Order>) {
        let mut crowd = self.lock();
        let now = Instant::now();
        let gone = orders.filter(|order| crowd.note(order, now)).count();
        crowd.measure(gone, now);
        self.gauge.set(i64::try_from(crowd.waiting.len()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Crowd> {
        // What it guards is valid between any two statements, also after a panic elsewhere.
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entering {
    /// It is stored: it is counted until it is seen to wait no longer.
    pub fn stay(mut self) {
        self.stays = true;
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        let mut crowd = self.admission.lock();
        crowd.entering -= 1;
        if !self.stays {
            crowd.waiting.remove(&self.order);
        }
    }
}

impl Crowd {
    fn new(now: Instant) -> Self {
        let (waiting, came) = (HashSet::new(), VecDeque::new());
        Self { waiting, came, entering: 0, settled_per_second: 0.0, measured_at: now }
    }

    fn has_room(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "it is far below 2⁵²")]
        let on_their_way = self.waiting.len() as f64;
        self.entering < ENTERING && on_their_way < self.bound()
    }

    #[expect(clippy::cast_precision_loss, reason = "both are far below 2⁵²")]
    fn bound(&self) -> f64 {
        (self.settled_per_second * SECONDS_WORTH).clamp(ALWAYS as f64, AT_MOST as f64)
    }

    /// Takes note of an order; whether it waits no longer.
    fn note(&mut self, order: &Order, now: Instant) -> bool {
        let id = order.shown.id;
        if !order.waits_for_us() {
            return self.waiting.remove(&id);
        }
        self.wait(id, now);
        false
    }

    fn wait(&mut self, order: Uuid, now: Instant) {
        if self.waiting.insert(order) {
            self.came.push_back((now, order));
        }
    }

    fn measure(&mut self, gone: usize, now: Instant) {
        let seconds = (now - self.measured_at).as_secs_f64().max(1e-3);
        self.measured_at = now;
        let weight = 1.0 - (-seconds / SMOOTHING_SECONDS).exp();
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most a thousand orders")]
        let rate = gone as f64 / seconds;
        self.settled_per_second += weight * (rate - self.settled_per_second);
    }

    /// Forgets who came long ago, and who is at the front of the line and waits no longer.
    fn forget(&mut self, now: Instant) {
        while let Some((came, id)) = self.came.front()
            && (now - *came > FORGOTTEN_AFTER || !self.waiting.contains(id))
        {
            self.waiting.remove(id);
            self.came.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::fixtures;

    fn pending(id: usize) -> Order {
        fixtures::pending(Uuid::from_u128(id as u128))
    }

    fn confirmed(id: usize) -> Order {
        fixtures::confirmed(Uuid::from_u128(id as u128))
    }

    /// Orders that came at `start`.
    fn crowd(orders: usize, start: Instant) -> Crowd {
        let mut crowd = Crowd::new(start);
        for id in 0..orders {
            crowd.note(&pending(id), start);
        }
        crowd
    }

    #[test]
    fn so_many_may_be_on_their_way_and_no_more() {
        let start = Instant::now();
        let mut crowd = crowd(ALWAYS - 1, start);
        assert!(crowd.has_room());
        // Told again of the same orders, it counts them once.
        crowd.note(&pending(0), start);
        assert!(crowd.has_room());
        crowd.note(&pending(ALWAYS), start);
        assert!(!crowd.has_room());
    }

    #[test]
    fn an_order_is_counted_from_the_door_on_unless_it_is_not_stored() {
        let admission = Admission::new(Gauge::default());
        let waiting = || admission.lock().waiting.len();
        let enter = |id| admission.enter(admission.admit().expect("there is room"), Uuid::from_u128(id));
        let (stored, refused) = (enter(1), enter(2));
        assert_eq!(waiting(), 2);
        drop(refused);
        stored.stay();
        assert_eq!(waiting(), 1);
        admission.observe([&confirmed(1)].into_iter());
        assert_eq!(waiting(), 0);
    }

    #[test]
    fn so_many_may_wait_to_be_stored_and_no_more() {
        let admission = Admission::new(Gauge::default());
        let enter = |id| Ok::<_, Problem>(admission.enter(admission.admit()?, Uuid::from_u128(id)));
        let mut entering: Vec<_> = (0..ENTERING as u128).map(|id| enter(id).expect("there is room")).collect();
        assert!(enter(1 << 64).is_err());
        entering.pop().expect("one is there").stay();
        assert!(enter(1 << 64).is_ok());
    }

    #[test]
    fn whoever_is_settled_makes_room() {
        let start = Instant::now();
        let mut crowd = crowd(ALWAYS, start);
        assert!(!crowd.has_room());
        assert!(crowd.note(&confirmed(7), start));
        assert!(!crowd.note(&confirmed(7), start), "it is settled once");
        assert!(crowd.has_room());
    }

    #[test]
    fn the_more_is_settled_the_more_may_be_on_its_way() {
        let start = Instant::now();
        let mut crowd = crowd(ALWAYS, start);
        for second in 1..=20 {
            crowd.measure(6_000, start + Duration::from_secs(second));
        }
        assert!((59_000.0..=60_000.0).contains(&crowd.bound()), "{}", crowd.bound());
        assert!(crowd.has_room());
        for second in 21..=60 {
            crowd.measure(0, start + Duration::from_secs(second));
        }
        assert!(!crowd.has_room());
    }

    #[test]
    fn orders_that_are_held_up_for_long_hold_up_no_others() {
        let start = Instant::now();
        let mut crowd = crowd(ALWAYS, start);
        crowd.forget(start + FORGOTTEN_AFTER);
        assert!(!crowd.has_room());
        crowd.forget(start + FORGOTTEN_AFTER + Duration::from_millis(1));
        assert!(crowd.has_room());
        assert!(crowd.waiting.is_empty() && crowd.came.is_empty());
    }

    #[test]
    fn the_line_does_not_grow_with_those_that_are_gone() {
        let start = Instant::now();
        let mut crowd = crowd(0, start);
        for id in 0..10 * ALWAYS {
            crowd.note(&pending(id), start);
            crowd.note(&confirmed(id), start);
            crowd.forget(start);
        }
        assert!(crowd.came.is_empty());
    }

    #[test]
    fn who_is_to_pay_first_keeps_nobody_out() {
        let mut order = fixtures::confirmed(Uuid::from_u128(1));
        order.shown.status = crate::order::Status::Reserved;
        order.payment = None;
        assert!(!order.waits_for_us());
    }
}
