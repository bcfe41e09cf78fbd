//! The load: who places which order when.
//!
//! A worker takes the next order when it is free, so an order is late only when every worker is busy, and then its
//! lateness is part of its latency: times count from the arrival that was intended (no coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::place::Placer;
use super::plan::{Plan, PlannedOrder};
use super::tally::Tally;
use super::target::Target;

/// The most orders whose settling is waited for at once. Each has a connection of its own, so that those that wait do not
/// hold up those that place; 1,000 samples a second at half a second each fit.
const MAX_WAITING: usize = 512;
/// One order in so many is waited for, to measure how long settling takes as its client sees it.
const SAMPLED_ONE_IN: u32 = 8;
/// Orders to sample at least: the 1,000 that a 99.9th percentile needs, and more, as those that are not left alone are
/// passed over. A small run waits for every second order at most.
const MIN_SAMPLES: u32 = 1250;
/// Orders that may fail to be placed before the run gives up: the system is not coming back.
const MAX_UNPLACED: u32 = 100;

/// What a load needs to know.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub plan: Arc<Plan>,
    pub target: Arc<Target>,
    pub connections: u16,
    /// Orders per second; without it, as many as there are.
    pub rate: Option<f64>,
}

/// Which part of the plan is placed, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    /// The number of the first order.
    pub first: u32,
    /// The most orders.
    pub orders: u32,
    /// The longest time.
    pub time: Option<Duration>,
    /// Whether it is measured, or only warms up.
    pub measured: bool,
}

/// How a part went.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The first intended arrival.
    pub begin: Instant,
    /// The number of the order after the last.
    pub next: u32,
    pub tally: Tally,
}

/// The numbers and times of a part's orders, shared by its workers.
struct Schedule {
    part: Part,
    rate: Option<f64>,
    begin: Instant,
    sampled_one_in: u32,
    taken: AtomicU32,
    unplaced: AtomicU32,
    waiting: Arc<Semaphore>,
}

/// One of those who place the orders.
struct Worker {
    load: Load,
    schedule: Arc<Schedule>,
    placer: Placer,
    /// The orders of its that are being waited for.
    waiting: JoinSet<Placer>,
    /// Placers whose wait is over, with their open connections.
    idle: Vec<Placer>,
}

impl Load {
    /// Places one part of the plan.
    pub(super) async fn place(&self, part: Part) -> anyhow::Result<Loaded> {
        let schedule = Arc::new(Schedule::new(part, self.rate));
        let mut workers = JoinSet::new();
        for _ in 0..self.connections {
            workers.spawn(Worker::new(self.clone(), Arc::clone(&schedule)).work());
        }
        let mut tally = Tally::default();
        while let Some(worker) = workers.join_next().await {
            tally.add(worker.context("a worker of the load failed")??);
        }
        Ok(Loaded { begin: schedule.begin, next: part.first + schedule.placed(), tally })
    }

    fn placer(&self, part: Part) -> Placer {
        Placer::new(&self.plan, &self.target, part.measured)
    }
}

impl Worker {
    fn new(load: Load, schedule: Arc<Schedule>) -> Self {
        let placer = load.placer(schedule.part);
        Self { load, schedule, placer, waiting: JoinSet::new(), idle: Vec::new() }
    }

    async fn work(mut self) -> anyhow::Result<Tally> {
        while let Some(number) = self.schedule.take() {
            let intended = self.schedule.arrival(number).await;
            let order = self.load.plan.order(self.schedule.part.first + number);
            let sampled = self.schedule.samples(number) && order.is_left_alone();
            match sampled.then(|| Arc::clone(&self.schedule.waiting).try_acquire_owned()) {
                Some(Ok(permit)) => self.wait_apart(permit, order, intended),
                not_sampled => {
                    self.placer.tally.unsampled += u64::from(not_sampled.is_some());
                    self.place(&order, intended).await;
                }
            }
            while let Some(waited) = self.waiting.try_join_next() {
                self.take_back(waited?);
            }
        }
        while let Some(waited) = self.waiting.join_next().await {
            self.take_back(waited?);
        }
        Ok(self.placer.tally)
    }

    async fn place(&mut self, order: &PlannedOrder, intended: Instant) {
        let before = self.placer.tally.placed.len();
        self.placer.place(order, intended).await;
        if self.placer.tally.placed.len() == before {
            self.schedule.unplaced.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wait_apart(&mut self, permit: OwnedSemaphorePermit, order: PlannedOrder, intended: Instant) {
        let mut placer = self.idle.pop().unwrap_or_else(|| self.load.placer(self.schedule.part));
        self.waiting.spawn(async move {
            placer.place_and_wait(&order, intended).await;
            drop(permit);
            placer
        });
    }

    fn take_back(&mut self, mut placer: Placer) {
        self.placer.tally.add(std::mem::take(&mut placer.tally));
        self.idle.push(placer);
    }
}

impl Schedule {
    fn new(part: Part, rate: Option<f64>) -> Self {
        Self {
            part,
            rate,
            begin: Instant::now(),
            sampled_one_in: sampled_one_in(part.orders),
            taken: AtomicU32::new(0),
            unplaced: AtomicU32::new(0),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// The number within the part of the next order, if there is one.
    fn take(&self) -> Option<u32> {
        if self.unplaced.load(Ordering::Relaxed) >= MAX_UNPLACED {
            return None;
        }
        let next = |number| (number < self.part.orders && self.is_in_time(number)).then_some(number + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()
    }

    fn is_in_time(&self, number: u32) -> bool {
        let after = || self.offset(number).unwrap_or_else(|| self.begin.elapsed());
        self.part.time.is_none_or(|time| after() < time)
    }

    /// When order `number` is to arrive, from the beginning; without a rate, when it is taken.
    fn offset(&self, number: u32) -> Option<Duration> {
        self.rate.map(|rate| Duration::from_secs_f64(f64::from(number) / rate))
    }

    /// How many orders were taken.
    fn placed(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Waits until order `number` is to arrive, and says when that is.
    async fn arrival(&self, number: u32) -> Instant {
        let Some(offset) = self.offset(number) else {
            return Instant::now();
        };
        let intended = self.begin + offset;
        sleep_until(intended).await;
        intended
    }

    fn samples(&self, number: u32) -> bool {
        self.part.measured && number % self.sampled_one_in == self.sampled_one_in - 1
    }
}

/// One order in how many is waited for.
fn sampled_one_in(orders: u32) -> u32 {
    (orders / MIN_SAMPLES).clamp(2, SAMPLED_ONE_IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Part = Part { first: 0, orders: 4, time: None, measured: true };

    #[test]
    fn a_small_run_waits_for_more_of_its_orders() {
        let samples = [1, 2000, 3000, 8000, 20_000].map(sampled_one_in);
        assert_eq!(samples, [2, 2, 2, 6, 8]);
    }

    #[test]
    fn only_what_is_measured_is_sampled() {
        let measured = Schedule::new(PART, None);
        assert_eq!([0, 1, 2, 3].map(|number| measured.samples(number)), [false, true, false, true]);
        let warmup = Schedule::new(Part { measured: false, ..PART }, None);
        assert!((0..4).all(|number| !warmup.samples(number)));
    }

    #[test]
    fn a_part_ends_with_its_orders_its_time_or_its_hope() {
        let by_orders = Schedule::new(PART, None);
        let taken: Vec<_> = std::iter::from_fn(|| by_orders.take()).collect();
        assert_eq!(taken, [0, 1, 2, 3]);
        assert_eq!(by_orders.placed(), 4);

        let by_time = Schedule::new(Part { time: Some(Duration::ZERO), ..PART }, None);
        assert_eq!(by_time.take(), None);

        let by_rate = Schedule::new(Part { time: Some(Duration::from_secs(1)), ..PART }, Some(3.0));
        assert_eq!(std::iter::from_fn(|| by_rate.take()).count(), 3);

        let hopeless = Schedule::new(PART, None);
        hopeless.unplaced.store(MAX_UNPLACED, Ordering::Relaxed);
        assert_eq!(hopeless.take(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_open_loop_arrivals_keep_their_times_however_late_they_are_taken() {
        // given 10 orders a second, of which the fourth is taken a second late
        let schedule = Schedule::new(PART, Some(10.0));
        assert_eq!(schedule.arrival(1).await - schedule.begin, Duration::from_millis(100));
        tokio::time::advance(Duration::from_secs(1)).await;
        // when it is taken, then it was to arrive when it was planned
        assert_eq!(schedule.arrival(3).await - schedule.begin, Duration::from_millis(300));
    }
}
