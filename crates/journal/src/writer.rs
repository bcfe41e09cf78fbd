//! The writer: one task that settles batch after batch on one connection. Both doors, HTTP and the transport, lead here.

mod attempt;
mod memory;
mod ownership;
mod settle;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use contract::{Lane, Lanes, Record, Topic};
use process::{Component, Process};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep, sleep_until},
};

use crate::{
    Batching, Model, OwnedLanes, Refused,
    batch::{Batch, Item, Letter, Origin, Pace, Taken},
    database::Database,
    faults::{self, CrashPoint},
    holding::Holding,
    metrics::{Consumed, Fate, JournalMetrics},
    outlet::Outlet,
    session::Session,
    transport::{Body, Control, Delivery, Incoming},
};
use memory::Memory;

/// How often positions are stored that moved without anything to settle.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// How often it is looked, while a batch waits for company, whether it is full.
const LOOK: Duration = Duration::from_millis(10);
/// How long callers may still come after the process was told to stop.
const LAST_CALLERS: Duration = Duration::from_secs(15);

/// A command and who waits for its answer.
pub(crate) struct Submission<M: Model> {
    pub lane: Lane,
    pub command: M::Command,
    pub trace: Option<Box<str>>,
    pub answer: oneshot::Sender<Result<M::Answer, Refused>>,
}

/// Where work comes in.
pub(crate) struct Doors<M: Model> {
    pub commands: mpsc::Receiver<Submission<M>>,
    pub deliveries: mpsc::Receiver<Delivery>,
    pub controls: mpsc::Receiver<Control>,
}

/// Why a batch did not become durable.
enum Failure<M: Model> {
    /// Other processes own these lanes now; their records are not ours to apply.
    Lost(Vec<Lane>),
    /// The connection was lost before the commit was sent: nothing happened.
    Away(String),
    /// The connection was lost while the commit was on its way.
    Unsure(Outcome<M>),
    /// PostgreSQL ended the transaction for the sake of another one.
    Again(tokio_postgres::Error),
    /// The database cannot do it now, whatever it is asked to do, and may in a moment.
    Hindered(String),
    /// This batch cannot be settled as it is.
    Broken(String),
}

/// What a settled batch gave.
struct Outcome<M: Model> {
    answers: Vec<M::Answer>,
    rows: Option<M::Rows>,
    appended: Vec<Record>,
    memory: Memory<M::Memory>,
}

type Pending<M> = Batch<<M as Model>::Command, <M as Model>::Answer>;

/// The writer of one journal.
pub(crate) struct Writer<M: Model> {
    model: Arc<M>,
    schema: &'static str,
    sources: &'static [Topic],
    lanes: Lanes,
    member: Arc<str>,
    database: Database,
    session: Option<Session>,
    holding: Holding,
    owned_lanes: watch::Sender<OwnedLanes>,
    generation: u64,
    outlet: Outlet,
    pending: Pending<M>,
    pace: Pace,
    memory: Memory<M::Memory>,
    /// The most items of a batch.
    most_items: usize,
    begun_at: Instant,
    /// Nobody can ask any more.
    closed: bool,
    health: Component,
    metrics: JournalMetrics,
    process: Process,
}

/// What a writer is made of.
pub(crate) struct Parts<M: Model> {
    pub model: Arc<M>,
    pub schema: &'static str,
    pub sources: &'static [Topic],
    pub lanes: Lanes,
    pub batching: Batching,
    pub member: Arc<str>,
    pub database: Database,
    pub owned_lanes: watch::Sender<OwnedLanes>,
    pub outlet: Outlet,
    pub health: Component,
    pub metrics: JournalMetrics,
    pub process: Process,
}

impl<M: Model> Writer<M> {
    pub fn new(parts: Parts<M>) -> Self {
        let now = Instant::now();
        let pace = Pace::new(parts.batching, now);
        let most_items = parts.batching.most_items;
        let Parts {
            model,
            schema,
            sources,
            lanes,
            member,
            database,
            owned_lanes,
            outlet,
            health,
            metrics,
            process,
            ..
        } = parts;
        Self {
            model,
            schema,
            sources,
            lanes,
            member,
            database,
            session: None,
            holding: Holding::default(),
            owned_lanes,
            generation: 0,
            outlet,
            pending: Batch::new(),
            pace,
            memory: Memory::default(),
            most_items,
            begun_at: now,
            closed: false,
            health,
            metrics,
            process,
        }
    }

    /// Settles what comes in until the process stops and nobody can ask any more.
    pub async fn run(mut self, mut doors: Doors<M>) {
        let mut flush = interval(FLUSH_INTERVAL);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.process.stop().clone();
        let last_callers = async move {
            stop.cancelled().await;
            sleep(LAST_CALLERS).await;
        };
        tokio::pin!(last_callers);
        self.connect(&mut doors).await;
        loop {
            tokio::select! {
                biased;
                Some(control) = doors.controls.recv() => self.control(control, &mut doors).await,
                open = self.gather(&mut doors.commands, &mut doors.deliveries) => {
                    self.settle_pending(&mut doors).await;
                    if !open {
                        break;
                    }
                }
                _ = flush.tick() => self.flush(&mut doors).await,
                () = &mut last_callers => break,
            }
        }
        let lanes = self.holding.lanes().collect();
        self.release(lanes).await;
    }

    // What comes in.

    /// Gathers a batch: waits for the first item, lets company come, and takes what is there. Nothing is lost when it is
    /// dropped half-way. `false` when nobody can ask any more.
    async fn gather(
        &mut self,
        commands: &mut mpsc::Receiver<Submission<M>>,
        deliveries: &mut mpsc::Receiver<Delivery>,
    ) -> bool {
        if self.pending.items.is_empty() && self.pending.letters.is_empty() {
            tokio::select! {
                biased;
                Some(delivery) = deliveries.recv() => self.take_in(delivery),
                submission = commands.recv(), if !self.closed => match submission {
                    Some(submission) => self.admit(submission),
                    None => self.closed = true,
                },
                () = self.process.stop().cancelled(), if self.closed => return false,
            }
        }
        let enough = self.pace.begin(self.begun_at, Instant::now());
        loop {
            self.take_what_is_there(commands, deliveries);
            let now = Instant::now();
            if now >= enough || self.is_full() {
                return true;
            }
            sleep_until((now + LOOK).min(enough).into()).await;
        }
    }

    fn take_what_is_there(
        &mut self,
        commands: &mut mpsc::Receiver<Submission<M>>,
        deliveries: &mut mpsc::Receiver<Delivery>,
    ) {
        while !self.is_full()
            && let Ok(delivery) = deliveries.try_recv()
        {
            self.take_in(delivery);
        }
        while !self.is_full()
            && let Ok(submission) = commands.try_recv()
        {
            self.admit(submission);
        }
    }

    fn is_full(&self) -> bool {
        self.pending.items.len() >= self.most_items
    }

    fn admit(&mut self, Submission { lane, command, trace, answer }: Submission<M>) {
        self.metrics.queued.dec();
        self.pending.items.push(Item { lane, command, origin: Origin::Caller { answer, trace } });
    }

    fn take_in(&mut self, delivery: Delivery) {
        if delivery.generation != self.generation {
            return;
        }
        let now = Instant::now();
        let first = delivery.records.iter().find_map(|incoming| match &incoming.body {
            Body::Record(record) => Some(record),
            Body::Passed { .. } | Body::Unreadable { .. } => None,
        });
        if let Some(record) = first {
            let lag = (Utc::now() - record.at).to_std().unwrap_or_default();
            self.metrics.lag_seconds.observe(lag.as_secs_f64());
        }
        for incoming in delivery.records {
            let source = incoming.source;
            if let Some(fate) = self.receive(incoming, now) {
                self.metrics.consumed.get_or_create(&Consumed { source: source.as_str(), fate }).inc();
            }
        }
    }

    /// Takes in one record; `None` when its lane is not ours.
    fn receive(&mut self, incoming: Incoming, now: Instant) -> Option<Fate> {
        let (source, lane) = (incoming.source, incoming.lane);
        let (model, schema) = (&self.model, self.schema);
        let taken = self.pending.take_in(incoming, &mut self.holding, now, |source, record| {
            faults::reached(CrashPoint::Received, schema, || [&*record.kind]);
            model.read(source, record)
        });
        Some(match taken? {
            Taken::In => Fate::Applied,
            Taken::Passed => Fate::Passed,
            Taken::Duplicate => Fate::Duplicate,
            Taken::Gap { ask_from, found } => {
                if let Some(expected) = ask_from {
                    tracing::warn!(schema = self.schema, %source, %lane, expected, found, "gap in a lane; asking its source to send again");
                    self.outlet.ask_again(source, lane, expected);
                }
                Fate::Gap
            }
            Taken::Buried => {
                if let Some(Letter { place, kind, reason, .. }) = self.pending.letters.last() {
                    tracing::warn!(schema = self.schema, %source, %lane, place, kind, error = reason, "record put to the dead letters");
                }
                Fate::DeadLetter
            }
        })
    }
}
