//! Consuming: a consumer on a thread of its own. The group decides who owns a lane; the database decides where it goes
//! on, and fences off who owned it before.

use std::{
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use contract::{Envelope, Lane, Topic, topic};
use process::{Component, Process};
use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
    types::RDKafkaRespErr,
};
use serde_json::Value;
use tokio::sync::{mpsc::error::TrySendError, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    KafkaOutlet, consumer_config,
    silence::{self, Silence},
};
use crate::{
    OwnedLanes,
    faults::{self, CrashPoint},
    settings::KafkaSettings,
    transport::{Body, Control, DELIVERY_RECORDS, Delivery, Incoming, Intake, Positions},
};

/// How long a poll waits for the first record.
const POLL: Duration = Duration::from_millis(100);
/// How long a poll waits while the writer is busy.
const BUSY_POLL: Duration = Duration::from_millis(5);
/// How long the writer may be busy before fetching is paused. Meanwhile the group is answered by librdkafka's own thread,
/// and a rebalance waits this long at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to look whether the writer has room.
const ROOM_POLL: Duration = Duration::from_millis(1);
/// How long a lane that the group gives us may be missing from the writer before it is claimed again.
const RECLAIM_AFTER: Duration = Duration::from_secs(2);
/// How often Kafka is told how far we read. It is for people and tools only.
const OFFSETS_INTERVAL: Duration = Duration::from_secs(1);
/// How long the writer may take to claim lanes before the attempt is repeated, and to let them go before they are gone
/// anyway.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(10);
const RELEASE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the group may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long nothing may come until the brokers are asked whether they are there, and how long they may take.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// What the group gave us, and what has been done about it.
#[derive(Default)]
struct Assignment {
    /// The lanes that are ours to read, once claimed.
    wanted: BTreeSet<Lane>,
    /// The lanes that are claimed.
    claimed: BTreeSet<Lane>,
}

struct Context {
    lead: String,
    intake: Intake,
    assignment: Mutex<Assignment>,
    generation: AtomicU64,
    /// Whether this replica has its share of the lanes.
    health: Component,
}

impl Context {
    fn assignment(&self) -> std::sync::MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the writer for something and waits a bounded time for the answer.
    fn ask<T>(&self, limit: Duration, control: impl FnOnce(oneshot::Sender<T>) -> Control) -> Option<T> {
        let (reply, mut answer) = oneshot::channel();
        let mut control = control(reply);
        let deadline = Instant::now() + limit;
        while let Err(error) = self.intake.controls.try_send(control) {
            control = match error {
                TrySendError::Full(control) if Instant::now() < deadline => control,
                _ => return None,
            };
            thread::sleep(BUSY_POLL);
        }
        loop {
            match answer.try_recv() {
                Ok(value) => return Some(value),
                Err(oneshot::error::TryRecvError::Closed) => return None,
                Err(oneshot::error::TryRecvError::Empty) if Instant::now() >= deadline => {
                    return None;
                }
                Err(oneshot::error::TryRecvError::Empty) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn let_go(&self) {
        let claimed = {
            let mut assignment = self.assignment();
            assignment.wanted.clear();
            std::mem::take(&mut assignment.claimed)
        };
        if !claimed.is_empty() {
            let lanes = claimed.into_iter().collect();
            self.ask(RELEASE_TIMEOUT, |reply| Control::Revoke { lanes, reply });
        }
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "consumer");
    }
}

impl ConsumerContext for Context {
    /// An assignment is only noted here; it is claimed outside the callback, and repeated until the database agrees.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let outcome = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Range gives every topic's lanes alike; the first topic speaks for all.
            let lead = list.elements_for_topic(&self.lead);
            let lanes: BTreeSet<Lane> =
                lead.iter().filter_map(|element| u16::try_from(element.partition()).ok()).map(Lane).collect();
            if lanes.is_empty() {
                // More replicas than lanes: this one stands by.
                self.health.up();
            }
            self.assignment().wanted = lanes;
            consumer.assign(&TopicPartitionList::new())
        } else {
            self.let_go();
            // A pause belongs to the partition, not to the assignment: it would come back silent.
            let resumed = consumer.resume(list);
            consumer.unassign().and(resumed)
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "assignment could not be acknowledged");
        }
    }
}

/// The consumer of one journal.
pub(crate) struct Inlet {
    pub settings: Arc<KafkaSettings>,
    pub system: Arc<str>,
    pub schema: &'static str,
    pub sources: &'static [Topic],
    /// Kinds that mean nothing to the journal.
    pub passes: &'static [&'static str],
    /// How far apart its journal's batches may be.
    pub longest_gap: Duration,
    /// What this journal feeds; requests to send again are about it.
    pub feeds: Option<Topic>,
    pub intake: Intake,
    pub outlet: Arc<KafkaOutlet>,
    /// The lanes that the writer holds.
    pub owned: watch::Receiver<OwnedLanes>,
    pub health: Component,
}

impl Inlet {
    /// Starts the thread.
    pub fn start(self, process: &Process) -> Result<(), KafkaError> {
        let resend = self.feeds.map(|_| topic::resend(&self.system));
        let names: Vec<String> = self.sources.iter().map(|topic| topic.name(&self.system)).chain(resend).collect();
        let consumer = self.consumer(&names, 0)?;
        let stop = process.stop().clone();
        let (ended, finished) = oneshot::channel();
        let thread = thread::Builder::new().name(format!("{}-in", self.schema));
        let spawned = thread.spawn(move || {
            let consumer = Poller::new(self, names).run(consumer, &stop);
            let _ = ended.send(());
            // Closing can hang when brokers are away; nobody waits for it then.
            drop(consumer);
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "consumer thread could not be started");
        }
        process.spawn("kafka consumer", async move {
            finished.await.map_err(|_| "the consumer thread ended before its time")
        });
        Ok(())
    }

    /// A consumer that subscribes. `generation` is that of the last assignment that was claimed.
    fn consumer(&self, names: &[String], generation: u64) -> Result<BaseConsumer<Context>, KafkaError> {
        let group = format!("{}-{}", self.system, self.schema);
        let context = Context {
            lead: names.first().cloned().unwrap_or_default(),
            intake: self.intake.clone(),
            assignment: Mutex::default(),
            generation: AtomicU64::new(generation),
            health: self.health.clone(),
        };
        let config = consumer_config(&self.settings, &group, self.longest_gap);
        let consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        consumer.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(consumer)
    }
}

/// What the thread keeps between two polls.
struct Poller {
    inlet: Inlet,
    /// Names of the sources' topics in their order, then of the topic of requests.
    names: Vec<String>,
    /// Records that the writer had no room for.
    stalled: Option<Delivery>,
    told_at: Instant,
    /// Since when the writer does not hold a lane that was claimed for it.
    missing_since: Option<Instant>,
    /// How long the brokers have not been heard of, and when they were last asked.
    silence: Silence,
    asked_at: Instant,
    /// The consumer before this one, while it closes.
    closing: Option<thread::JoinHandle<()>>,
}

impl Poller {
    fn new(inlet: Inlet, names: Vec<String>) -> Self {
        Self {
            inlet,
            names,
            stalled: None,
            told_at: Instant::now(),
            missing_since: None,
            silence: Silence::new(),
            asked_at: Instant::now(),
            closing: None,
        }
    }

    /// Polls until the process stops, and hands the consumer back, which has left its group.
    fn run(mut self, mut consumer: BaseConsumer<Context>, stop: &CancellationToken) -> BaseConsumer<Context> {
        while !stop.is_cancelled() {
            consumer = self.heard(consumer);
            self.miss(&consumer);
            self.claim(&consumer);
            self.tell_offsets(&consumer);
            if self.stalled.is_some() {
                self.retry(&consumer);
                continue;
            }
            if let Some(delivery) = self.collect(&consumer, POLL) {
                self.silence.ends();
                self.hand_over(delivery, &consumer);
            }
        }
        self.leave(&consumer);
        consumer
    }

    /// Asks the brokers whether they are there when nothing has come from them for a while. A consumer that is not answered
    /// for long is replaced: it may have forgotten where the brokers are.
    fn heard(&mut self, consumer: BaseConsumer<Context>) -> BaseConsumer<Context> {
        if self.silence.lasts().min(self.asked_at.elapsed()) < CHECK_INTERVAL {
            return consumer;
        }
        self.asked_at = Instant::now();
        if silence::ask(consumer.client(), &consumer.context().lead, CHECK_TIMEOUT).is_ok() {
            self.silence.ends();
        }
        // One at a time: each has threads of its own.
        let is_free = self.closing.as_ref().is_none_or(thread::JoinHandle::is_finished);
        if !self.silence.is_lasting() || !is_free {
            return consumer;
        }
        self.silence = Silence::new();
        self.renewed(consumer)
    }

    fn renewed(&mut self, consumer: BaseConsumer<Context>) -> BaseConsumer<Context> {
        let schema = self.inlet.schema;
        let generation = consumer.context().generation.load(Ordering::Acquire);
        let renewed = match self.inlet.consumer(&self.names, generation) {
            Ok(renewed) => renewed,
            Err(error) => {
                tracing::error!(schema, %error, "consumer cannot be made");
                return consumer;
            }
        };
        tracing::debug!(schema, "consumer renewed");
        consumer.context().let_go();
        self.stalled = None;
        // Closing can hang when brokers are away.
        let closing = thread::Builder::new().name(format!("{schema}-close")).spawn(move || drop(consumer));
        self.closing = closing.inspect_err(|error| tracing::warn!(schema, %error, "no thread to close with")).ok();
        renewed
    }

    /// A process that was cut off from the group may claim a lane once more before it learns so, and fence us off. As long
    /// as the group says that the lane is ours, it is claimed again.
    fn miss(&mut self, consumer: &BaseConsumer<Context>) {
        let mut assignment = consumer.context().assignment();
        let held = self.inlet.owned.borrow();
        if assignment.claimed.iter().all(|lane| held.contains(lane)) {
            self.missing_since = None;
        } else if self.missing_since.get_or_insert_with(Instant::now).elapsed() >= RECLAIM_AFTER {
            tracing::warn!(schema = self.inlet.schema, "lanes were taken away outside the group; claiming them again");
            self.missing_since = None;
            assignment.claimed.clear();
        }
    }

    /// Claims what the group gave us and begins to read where the database says.
    fn claim(&self, consumer: &BaseConsumer<Context>) {
        let context = consumer.context();
        let wanted: Vec<Lane> = {
            let assignment = context.assignment();
            if assignment.wanted.is_empty() || assignment.wanted == assignment.claimed {
                return;
            }
            assignment.wanted.iter().copied().collect()
        };
        let generation = context.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let positions = context.ask(CLAIM_TIMEOUT, |reply| Control::Assign {
            lanes: wanted.clone(),
            generation,
            unless_owned_by: None,
            reply,
        });
        let Some(positions) = positions.filter(|positions| !positions.is_empty()) else {
            tracing::warn!(schema = self.inlet.schema, "lanes are not claimed yet; trying again");
            return;
        };
        context.assignment().claimed = wanted.iter().copied().collect();
        if let Err(error) = self.begin(consumer, &wanted, &positions) {
            tracing::warn!(schema = self.inlet.schema, %error, "reading cannot begin; trying again");
            context.assignment().claimed.clear();
            return;
        }
        context.health.up();
    }

    fn begin(
        &self,
        consumer: &BaseConsumer<Context>,
        wanted: &[Lane],
        positions: &Positions,
    ) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (source, lane, position) in positions.iter().filter(|(_, lane, _)| wanted.contains(lane)) {
            let offset = if position.offset == 0 { Offset::Beginning } else { Offset::Offset(position.offset) };
            list.add_partition_offset(&source.name(&self.inlet.system), lane.as_i32(), offset)?;
        }
        if self.inlet.feeds.is_some() {
            for lane in wanted {
                list.add_partition_offset(&topic::resend(&self.inlet.system), lane.as_i32(), Offset::End)?;
            }
        }
        consumer.assign(&list)
    }

    /// Polls until nothing more is there or a delivery is full.
    fn collect(&self, consumer: &BaseConsumer<Context>, wait: Duration) -> Option<Delivery> {
        let generation = consumer.context().generation.load(Ordering::Acquire);
        let mut records = Vec::new();
        let mut wait = wait;
        while records.len() < DELIVERY_RECORDS {
            match consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => records.extend(self.incoming(&message)),
                Some(Err(error)) => {
                    tracing::debug!(schema = self.inlet.schema, %error, "consumer");
                    break;
                }
            }
            wait = Duration::ZERO;
        }
        (!records.is_empty()).then_some(Delivery { generation, records })
    }

    fn incoming(&self, message: &BorrowedMessage<'_>) -> Option<Incoming> {
        let lane = Lane(u16::try_from(message.partition()).ok()?);
        let index = self.names.iter().position(|name| name == message.topic())?;
        let Some(source) = self.inlet.sources.get(index).copied() else {
            self.requested(lane, message.payload());
            return None;
        };
        let body = read(message, lane, self.inlet.passes).unwrap_or_else(|reason| Body::Unreadable {
            reason,
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
        });
        Some(Incoming { source, lane, offset: message.offset(), body })
    }

    /// A consumer of ours misses something. What is not such a request is nobody's loss.
    fn requested(&self, lane: Lane, payload: Option<&[u8]>) {
        let Some(request) = payload.and_then(|payload| serde_json::from_slice::<Value>(payload).ok()) else {
            return;
        };
        let about_us = self.inlet.feeds.is_some_and(|topic| request["source"] == topic.as_str());
        if let (true, Some(from)) = (about_us, request["from"].as_i64()) {
            self.inlet.outlet.send_again(lane, from);
        }
    }

    /// Gives a delivery to the writer, which mostly has room within milliseconds. Only when it stays busy is fetching
    /// paused: that throws away what was fetched ahead.
    fn hand_over(&mut self, mut delivery: Delivery, consumer: &BaseConsumer<Context>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            delivery = match self.inlet.intake.deliveries.try_send(delivery) {
                Ok(()) | Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(delivery)) => delivery,
            };
            if Instant::now() >= deadline {
                break;
            }
            thread::sleep(ROOM_POLL);
        }
        self.stalled = Some(delivery);
        self.paused(consumer, true);
    }

    /// While the writer is busy nothing is fetched, but the group is still answered.
    fn retry(&mut self, consumer: &BaseConsumer<Context>) {
        if let Some(delivery) = self.stalled.take() {
            match self.inlet.intake.deliveries.try_send(delivery) {
                Ok(()) | Err(TrySendError::Closed(_)) => self.paused(consumer, false),
                Err(TrySendError::Full(mut delivery)) => {
                    if let Some(more) = self.collect(consumer, BUSY_POLL) {
                        // What still came was on its way, or a new assignment has begun: pause that too.
                        self.paused(consumer, true);
                        if more.generation == delivery.generation {
                            delivery.records.extend(more.records);
                        } else {
                            delivery = more;
                        }
                    }
                    self.stalled = Some(delivery);
                }
            }
        }
    }

    fn paused(&self, consumer: &BaseConsumer<Context>, paused: bool) {
        let changed =
            consumer.assignment().and_then(|list| if paused { consumer.pause(&list) } else { consumer.resume(&list) });
        if let Err(error) = changed {
            tracing::debug!(schema = self.inlet.schema, %error, paused, "consumer could not be paused or resumed");
        }
    }

    fn tell_offsets(&mut self, consumer: &BaseConsumer<Context>) {
        if self.told_at.elapsed() < OFFSETS_INTERVAL {
            return;
        }
        self.told_at = Instant::now();
        self.commit(consumer, CommitMode::Async);
    }

    fn commit(&self, consumer: &BaseConsumer<Context>, mode: CommitMode) {
        let mut list = TopicPartitionList::new();
        for ((source, lane), offset) in self.inlet.outlet.take_read() {
            let name = source.name(&self.inlet.system);
            if let Err(error) = list.add_partition_offset(&name, lane.as_i32(), Offset::Offset(offset)) {
                tracing::debug!(%error, "offset could not be told");
            }
        }
        if list.count() > 0 {
            faults::reached(CrashPoint::OffsetsTold, self.inlet.schema, || [""]);
        }
        if list.count() > 0
            && let Err(error) = consumer.commit(&list, mode)
        {
            tracing::debug!(schema = self.inlet.schema, %error, "offsets were not told");
        }
    }

    /// Leaves the group, so that others take the lanes at once.
    fn leave(&self, consumer: &BaseConsumer<Context>) {
        consumer.context().let_go();
        self.commit(consumer, CommitMode::Async);
        consumer.unsubscribe();
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while Instant::now() < deadline && consumer.assignment().is_ok_and(|list| list.count() > 0) {
            let _ = consumer.poll(BUSY_POLL);
        }
    }
}

/// What a message in `lane` is to a reader that passes over these kinds, or why nobody can read it.
fn read(message: &BorrowedMessage<'_>, lane: Lane, passes: &[&str]) -> Result<Body, String> {
    let read = || {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        let envelope = Envelope::of(headers.filter_map(|header| Some((header.key, header.value?))));
        Body::of(&envelope, message.payload(), lane, passes)
    };
    // rdkafka panics over a header whose name is not text, and a message with one would be read again and again.
    match panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("a header has a name that is not text".to_owned()),
    }
}
