//! Publishing: straight from memory after the commit, in lane order; from the database whenever memory does not have it.
//!
//! The producer keeps its own copy of what is on its way, so a lane here is the numbers of [`Outgoing`].

mod letters;
mod producer;
mod relay;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use contract::{Lane, Lanes, Record, Topic, topic};
use deadpool_postgres::Pool;
use process::{Component, Process};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::silence::{self, Silence};
use crate::{
    faults::{self, CrashPoint},
    hints::Notifier,
    metrics::JournalMetrics,
    outgoing::{Fresh, Outgoing},
    record,
    settings::KafkaSettings,
};
use producer::Producer;
pub use producer::ProducerError;
use relay::{Relay, Reports, opaque};

/// Events read from the database at once when a lane is behind.
const CATCH_UP_EVENTS: i64 = 1000;
/// Headers of a record that has all.
const MOST_HEADERS: usize = 13;
/// How often lanes are looked at without a reason, so that a lost hint costs no more than this.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Pause when the producer's queue is full, or after a delivery failed.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a lane that is given away is waited for.
const DRAIN: Duration = Duration::from_secs(1);
/// How often the brokers are asked whether they are there, and how long they may take.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a journal's events, requests and dead letters leave for Kafka.
pub(crate) struct KafkaOutlet {
    settings: Arc<KafkaSettings>,
    system: Arc<str>,
    /// The topic this journal feeds, and its name; nothing for a view.
    feeds: Option<(Topic, String)>,
    producer: RwLock<Producer>,
    /// The thread of the producer before this one, while that closes.
    closing: Mutex<Option<JoinHandle<()>>>,
    relay: Arc<Relay>,
    read: Mutex<BTreeMap<(Topic, Lane), i64>>,
    letters: AtomicBool,
    others: Option<Notifier>,
    schema: &'static str,
    reads: Pool,
    health: Component,
    metrics: JournalMetrics,
}

/// What an outlet is made of.
pub(crate) struct OutletParts {
    pub settings: Arc<KafkaSettings>,
    pub system: Arc<str>,
    pub feeds: Option<Topic>,
    pub lanes: Lanes,
    pub others: Option<Notifier>,
    pub schema: &'static str,
    pub reads: Pool,
    pub health: Component,
    pub metrics: JournalMetrics,
}

impl KafkaOutlet {
    /// An outlet with a producer of its own.
    pub fn new(parts: OutletParts) -> Result<Arc<Self>, ProducerError> {
        let relay = Arc::new(Relay::new(parts.lanes));
        let producer = Producer::start(&parts.settings, &relay, parts.schema)?;
        Ok(Arc::new(Self {
            feeds: parts.feeds.map(|topic| (topic, topic.name(&parts.system))),
            settings: parts.settings,
            system: parts.system,
            producer: RwLock::new(producer),
            closing: Mutex::default(),
            relay,
            read: Mutex::default(),
            // Letters of an earlier life may be waiting.
            letters: AtomicBool::new(true),
            others: parts.others,
            schema: parts.schema,
            reads: parts.reads,
            health: parts.health,
            metrics: parts.metrics,
        }))
    }

    /// Starts the tasks that keep lanes, letters and the brokers in sight.
    pub fn start(self: &Arc<Self>, process: &Process) {
        let (outlet, stop) = (Arc::clone(self), process.stop().clone());
        process.spawn("kafka check", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = outlet.check() => {}
            }
        });
        let (outlet, stop) = (Arc::clone(self), process.stop().clone());
        process.spawn("kafka relay", async move {
            let relay = async {
                loop {
                    let _ = timeout(LOOK_INTERVAL, outlet.relay.work.notified()).await;
                    outlet.tend().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = relay => {}
            }
        });
    }

    /// Publishes what a batch appended, as far as its lanes are ours and nothing before it is missing.
    pub fn committed(&self, appended: &[Record]) {
        // The headers are most of the work. Made beforehand, they let the whole batch be handed over while the producer
        // lingers: flat out, the broker gets a sixth fewer requests.
        let headers: Vec<_> = appended.iter().map(|record| self.headers(record)).collect();
        let mut foreign = false;
        for (record, headers) in appended.iter().zip(headers) {
            let mut lanes = self.relay.lanes();
            let Some(state) = lanes.get_mut(record.lane.index()) else {
                continue;
            };
            match state.written(record.seq) {
                Fresh::Foreign => foreign = true,
                Fresh::Known => {}
                Fresh::Next if self.send(record, headers) => state.sent = record.seq,
                // Another process appended in between, or the queue is full: the database has it.
                Fresh::Next | Fresh::Beyond => {
                    state.behind = true;
                    self.relay.work.notify_one();
                }
            }
        }
        if let (true, Some(others)) = (foreign, &self.others) {
            others.appended();
        }
    }

    fn headers(&self, record: &Record) -> OwnedHeaders {
        let mut headers = OwnedHeaders::new_with_capacity(MOST_HEADERS);
        if let Some((topic, _)) = &self.feeds {
            record.headers(*topic, |key, value| {
                let sofar = std::mem::take(&mut headers);
                headers = sofar.insert(Header { key, value: Some(value) });
            });
        }
        headers
    }

    /// Hands a record to the producer; `false` when its queue is full.
    fn send(&self, record: &Record, headers: OwnedHeaders) -> bool {
        let Some((_, name)) = &self.feeds else {
            return true;
        };
        let key = record.key();
        let message = BaseRecord::with_opaque_to(name, opaque(record.lane, record.seq))
            .partition(record.lane.as_i32())
            .key(key.as_bytes())
            .payload(&record.data[..])
            .headers(headers);
        self.producer().send(message).is_ok()
    }

    fn producer(&self) -> Arc<BaseProducer<Reports>> {
        self.producer.read().unwrap_or_else(PoisonError::into_inner).client()
    }

    /// A lane is ours.
    pub fn own(&self, lane: Lane, published: i64, last: i64) {
        if let Some(state) = self.relay.lanes().get_mut(lane.index()) {
            *state = Outgoing::ours(published, last);
        }
        self.relay.work.notify_one();
    }

    /// A lane is not ours any more.
    pub fn disown(&self, lane: Lane) {
        if let Some(state) = self.relay.lanes().get_mut(lane.index()) {
            state.disown();
        }
    }

    /// The last sequence of a lane that the broker acknowledged.
    pub fn published(&self, lane: Lane) -> i64 {
        self.relay.lanes().get(lane.index()).filter(|state| state.owned).map_or(0, |state| state.acked)
    }

    /// Waits a little until the brokers have what was sent.
    pub async fn drain(&self) {
        let drained = async {
            while self.relay.lanes().iter().any(|state| state.owned && state.acked < state.sent) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = timeout(DRAIN, drained).await;
    }

    /// Someone misses records of a lane from `seq` on.
    pub fn send_again(&self, lane: Lane, seq: i64) {
        let mut lanes = self.relay.lanes();
        if !lanes.get_mut(lane.index()).is_some_and(|state| state.send_again(seq, Instant::now())) {
            return;
        }
        drop(lanes);
        faults::reached(CrashPoint::WentBack, self.schema, || [""]);
        tracing::warn!(schema = self.schema, %lane, seq, "a consumer misses records; the lane is published again");
        self.metrics.republished.inc();
        self.relay.work.notify_one();
    }

    /// Something may have been appended by another process.
    pub fn look(&self) {
        self.relay.work.notify_one();
    }

    /// Asks the owner of a source's lane to send again.
    pub fn ask_again(&self, source: Topic, lane: Lane, seq: i64) {
        let name = topic::resend(&self.system);
        let payload = format!(r#"{{"source":"{source}","lane":{lane},"from":{seq}}}"#);
        let message =
            BaseRecord::with_opaque_to(&name, 0).partition(lane.as_i32()).key(source.as_str()).payload(&payload);
        // Asked again in a second if this one is lost.
        let _ = self.producer().send(message);
    }

    /// A consumed lane is durable up to before `offset`.
    pub fn read_up_to(&self, source: Topic, lane: Lane, offset: i64) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert((source, lane), offset);
    }

    /// The offsets to tell Kafka since the last call.
    pub fn take_read(&self) -> BTreeMap<(Topic, Lane), i64> {
        std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Dead letters were stored.
    pub fn letters_waiting(&self) {
        self.letters.store(true, Ordering::Release);
        self.relay.work.notify_one();
    }

    // The relay task.

    async fn tend(&self) {
        if self.relay.broken.swap(false, Ordering::AcqRel) {
            self.renew();
        }
        if self.feeds.is_some()
            && let Err(error) = self.keep_up().await
        {
            tracing::debug!(schema = self.schema, error, "lanes could not be caught up");
            sleep(PAUSE).await;
            self.relay.work.notify_one();
        }
        if self.letters.swap(false, Ordering::AcqRel)
            && let Err(error) = self.publish_letters().await
        {
            tracing::debug!(schema = self.schema, error, "dead letters wait");
            self.letters.store(true, Ordering::Release);
        }
    }

    /// A producer that met an error it cannot recover from, or whom nobody answers, is replaced; what it had not delivered
    /// is sent again. If that is not possible now, the next look tries again.
    fn renew(&self) {
        let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        if closing.as_ref().is_some_and(|closing| !closing.is_finished()) {
            // One at a time: each has threads of its own.
            self.relay.broken.store(true, Ordering::Release);
            return;
        }
        match Producer::start(&self.settings, &self.relay, self.schema) {
            Ok(renewed) => {
                tracing::debug!(schema = self.schema, "producer renewed");
                let mut producer = self.producer.write().unwrap_or_else(PoisonError::into_inner);
                *closing = Some(std::mem::replace(&mut *producer, renewed).close());
                drop(producer);
                for state in self.relay.lanes().iter_mut().filter(|state| state.owned) {
                    state.start_over();
                }
            }
            Err(error) => {
                tracing::error!(schema = self.schema, %error, "producer cannot be made");
                self.relay.broken.store(true, Ordering::Release);
            }
        }
    }

    async fn keep_up(&self) -> Result<(), String> {
        self.catch_up().await?;
        self.repeat_tails().await
    }

    /// Publishes from the database what memory does not have, until every owned lane is at its end.
    async fn catch_up(&self) -> Result<(), String> {
        let client = self.reads.get().await.map_err(|error| error.to_string())?;
        let ends = "SELECT lane, last_seq FROM lane_head";
        for row in client.query(ends, &[]).await.map_err(|error| error.to_string())? {
            let lane = usize::from(row.get::<_, i16>(0).unsigned_abs());
            if let Some(state) = self.relay.lanes().get_mut(lane) {
                state.ends_at(row.get(1));
            }
        }
        loop {
            let behind = self.behind();
            if behind.is_empty() {
                return Ok(());
            }
            let records = record::after(&client, &*record::after_in(self.schema), &behind, CATCH_UP_EVENTS)
                .await
                .map_err(|error| error.to_string())?;
            if !self.resume(&records) {
                // A queue that nobody empties needs no looking at, and the same rows no reading, twenty times a second.
                let away = self.relay.away.load(Ordering::Acquire);
                sleep(if away { LOOK_INTERVAL } else { PAUSE }).await;
            }
        }
    }

    /// The lanes to read from the database, and from where.
    fn behind(&self) -> Vec<(Lane, i64)> {
        let mut behind = Vec::new();
        for (lane, state) in (0..).map(Lane).zip(self.relay.lanes().iter_mut()) {
            if state.lags() {
                behind.push((lane, state.sent));
            }
        }
        behind
    }

    /// Sends what was read; `false` when the producer cannot take more now.
    fn resume(&self, records: &[Record]) -> bool {
        for record in records {
            let mut lanes = self.relay.lanes();
            let Some(state) = lanes.get_mut(record.lane.index()) else {
                continue;
            };
            // What the lane does not go on with is seen to by the next round.
            if !state.continues_with(record.seq) {
                continue;
            }
            if !self.send(record, self.headers(record)) {
                return false;
            }
            state.sent = record.seq;
        }
        !records.is_empty()
    }

    /// Sends the last event of lanes that rest once more.
    async fn repeat_tails(&self) -> Result<(), String> {
        let now = Instant::now();
        let mut before = Vec::new();
        for (lane, state) in (0..).map(Lane).zip(self.relay.lanes().iter_mut()) {
            if state.repeats(now) {
                before.push((lane, state.sent - 1));
            }
        }
        if before.is_empty() {
            return Ok(());
        }
        let client = self.reads.get().await.map_err(|error| error.to_string())?;
        for record in record::after(&client, &*record::after_in(self.schema), &before, 1)
            .await
            .map_err(|error| error.to_string())?
        {
            // If the queue is full, the next repeat will do.
            self.send(&record, self.headers(&record));
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), String> {
        let producer = self.producer();
        let flushed = spawn_blocking(move || producer.flush(DRAIN)).await;
        flushed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Asks the brokers now and then whether they are there. The first message makes the producer connect and learn where
    /// the lanes are; so it is sent before anyone waits for it.
    ///
    /// One unanswered question is a slow broker; two in a row, or one while the client sees no broker at all, is none.
    async fn check(&self) {
        let mut missed = false;
        let mut silence = Silence::new();
        let topic = topic::resend(&self.system);
        let warm = BaseRecord::<(), (), usize>::with_opaque_to(&topic, 0).partition(0);
        let _ = self.producer().send(warm);
        loop {
            let producer = self.producer();
            let topic = topic.clone();
            let asked = spawn_blocking(move || silence::ask(producer.client(), &topic, CHECK_TIMEOUT));
            match asked.await {
                Ok(Ok(())) => {
                    missed = false;
                    silence.ends();
                    self.relay.away.store(false, Ordering::Release);
                    self.health.up();
                }
                _ if missed || self.relay.away.load(Ordering::Acquire) => self.health.down("no broker answers"),
                _ => missed = true,
            }
            if silence.is_lasting() {
                silence = Silence::new();
                self.relay.breaks();
            }
            sleep(CHECK_INTERVAL).await;
        }
    }
}
