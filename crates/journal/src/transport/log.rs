//! The `log` transport: a consumer reads the source's event table by lane and sequence. Within one process the records
//! are handed over in memory, as far as a short window holds them; the table is read for the rest.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use contract::{Lane, Lanes, Record, Topic};
use process::Process;
use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};
use tokio_postgres::{Client, Statement};

use super::{Body, DELIVERY_RECORDS, Delivery, Incoming, Positions};
use crate::{database::Database, hints, record};

/// Records of a lane that are kept for readers in this process. A reader that falls further behind reads the table.
const WINDOW_RECORDS: usize = 1024;
/// How often a reader looks into the table without having been woken.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Pause before a lost read connection is made anew.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// The table has no offsets. An inbox that was filled from it begins at the beginning when the system moves to Kafka, and
/// passes over what it has applied.
const NO_OFFSET: i64 = -1;

/// What the services of one process share under the `log` transport.
pub struct LogHub {
    topics: BTreeMap<Topic, TopicLog>,
    /// Every service of the system runs in this process.
    pub(crate) alone: bool,
}

struct TopicLog {
    lanes: Vec<Mutex<VecDeque<Arc<Record>>>>,
    readers: Mutex<Vec<Arc<Notify>>>,
}

impl LogHub {
    /// A hub for a system of `lanes`. `alone` says that every service of the system runs in this process.
    pub fn new(lanes: Lanes, alone: bool) -> Arc<Self> {
        let topic = |topic| {
            let lanes = lanes.all().map(|_| Mutex::default()).collect();
            (topic, TopicLog { lanes, readers: Mutex::default() })
        };
        Arc::new(Self { topics: Topic::ALL.into_iter().map(topic).collect(), alone })
    }

    /// Hands records over and wakes the readers of their topic.
    pub(crate) fn appended(&self, topic: Topic, records: Vec<Record>) {
        let Some(log) = self.topics.get(&topic) else {
            return;
        };
        for record in records {
            let Some(lane) = log.lanes.get(record.lane.index()) else {
                continue;
            };
            let mut window = lane.lock().unwrap_or_else(PoisonError::into_inner);
            // Another process may have appended in between; the table has it.
            if window.back().is_some_and(|last| last.seq + 1 != record.seq) {
                window.clear();
            }
            if window.len() == WINDOW_RECORDS {
                window.pop_front();
            }
            window.push_back(Arc::new(record));
        }
        self.wake(topic);
    }

    /// Wakes the readers of a topic.
    pub(crate) fn wake(&self, topic: Topic) {
        if let Some(log) = self.topics.get(&topic) {
            log.readers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|reader| reader.notify_one());
        }
    }

    fn join(&self, topic: Topic) -> Arc<Notify> {
        let woken = Arc::new(Notify::new());
        if let Some(log) = self.topics.get(&topic) {
            log.readers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&woken));
        }
        woken
    }

    /// Up to `limit` records behind `seq` that are in memory; nothing when the window does not reach back that far.
    fn after(&self, topic: Topic, lane: Lane, seq: i64, limit: usize) -> Option<Vec<Arc<Record>>> {
        let window = self.topics.get(&topic)?.lanes.get(lane.index())?;
        let window = window.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = window.front() else {
            return Some(Vec::new());
        };
        let from = usize::try_from(seq + 1 - first.seq).ok()?;
        Some(window.iter().skip(from).take(limit).cloned().collect())
    }
}

/// Which lanes to read, and from where; set by the one who watches over ownership.
#[derive(Default)]
pub(crate) struct Cursors {
    pub generation: u64,
    pub positions: Positions,
}

/// Reads one source for one journal until the process stops.
pub(crate) struct LogReader {
    pub hub: Arc<LogHub>,
    pub source: Topic,
    /// Kinds that mean nothing to the journal.
    pub passes: &'static [&'static str],
    pub database: Database,
    pub cursors: tokio::sync::watch::Receiver<Arc<Cursors>>,
    pub deliveries: mpsc::Sender<Delivery>,
}

impl LogReader {
    /// Starts reading.
    pub fn start(mut self, process: &Process) {
        if !self.hub.alone {
            let hub = Arc::clone(&self.hub);
            hints::listen(&self.database, &[self.source], process, move |topic| {
                hub.wake(topic);
            });
        }
        let stop = process.stop().clone();
        process.spawn("log reader", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.run() => {}
            }
        });
    }

    async fn run(&mut self) {
        let woken = self.hub.join(self.source);
        let mut generation = 0;
        let mut lanes = BTreeMap::new();
        let mut table = Some(self.first_connection().await);
        let mut look = true;
        loop {
            let cursors = self.cursors.borrow_and_update().clone();
            if cursors.generation == generation {
                lanes.retain(|lane, _| cursors.positions.iter().any(|(_, owned, _)| owned == lane));
            } else {
                generation = cursors.generation;
                lanes = self.of_source(&cursors.positions);
                look = true;
            }
            let records = self.next(&mut lanes, &mut table, look).await;
            if records.is_empty() {
                look = self.wait(&woken).await;
            } else {
                let delivery = Delivery { generation, records };
                if self.deliveries.send(delivery).await.is_err() {
                    return;
                }
            }
        }
    }

    /// A connection, as soon as there is an event table to read: at a system's first start readers may come before their
    /// sources.
    async fn first_connection(&self) -> EventTable {
        loop {
            match self.connection_to_table().await {
                Ok(table) => return table,
                Err(error) => tracing::debug!(source = %self.source, %error, "event table cannot be looked for"),
            }
            sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn connection_to_table(&self) -> Result<EventTable, tokio_postgres::Error> {
        let schema = self.source.as_str();
        let client = self.database.connect_reader(schema).await?;
        let table = format!("{schema}.event");
        while !client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.get::<_, bool>(0) {
            sleep(LOOK_INTERVAL).await;
        }
        let after = client.prepare(&record::after_in(schema)).await?;
        Ok(EventTable { client, after })
    }

    fn of_source(&self, positions: &Positions) -> BTreeMap<Lane, i64> {
        let ours = positions.iter().filter(|(topic, ..)| *topic == self.source);
        ours.map(|(_, lane, position)| (*lane, position.seq)).collect()
    }

    /// Waits for a wake-up; tells whether the table should be looked into.
    async fn wait(&mut self, woken: &Notify) -> bool {
        tokio::select! {
            waited = timeout(LOOK_INTERVAL, woken.notified()) => waited.is_err() || !self.hub.alone,
            _ = self.cursors.changed() => true,
        }
    }

    /// The next records of every lane: from memory where it reaches, else from the table.
    async fn next(&self, lanes: &mut BTreeMap<Lane, i64>, table: &mut Option<EventTable>, look: bool) -> Vec<Incoming> {
        let limit = (DELIVERY_RECORDS / lanes.len().max(1)).max(1);
        let mut records = Vec::new();
        let mut missing = Vec::new();
        for (lane, seq) in lanes.iter_mut() {
            match self.hub.after(self.source, *lane, *seq, limit) {
                Some(found) if !found.is_empty() => {
                    *seq = found.last().map_or(*seq, |record| record.seq);
                    records.extend(found.iter().map(|record| self.incoming(Cow::Borrowed(record))));
                }
                Some(_) if !look => {}
                _ => missing.push((*lane, *seq)),
            }
        }
        if records.is_empty() && !missing.is_empty() {
            for record in self.read_table(&missing, limit, table).await {
                lanes.insert(record.lane, record.seq);
                records.push(self.incoming(Cow::Owned(record)));
            }
        }
        records
    }

    /// A record that is passed over need not be copied.
    fn incoming(&self, record: Cow<'_, Record>) -> Incoming {
        let (lane, seq) = (record.lane, record.seq);
        let is_passed = self.passes.contains(&&*record.kind);
        let body = if is_passed { Body::Passed { seq } } else { Body::Record(Box::new(record.into_owned())) };
        Incoming { source: self.source, lane, offset: NO_OFFSET, body }
    }

    async fn read_table(&self, missing: &[(Lane, i64)], limit: usize, table: &mut Option<EventTable>) -> Vec<Record> {
        match self.read(missing, i64::try_from(limit).unwrap_or(1), table).await {
            Ok(records) => records,
            Err(error) => {
                tracing::debug!(source = %self.source, %error, "event table could not be read");
                *table = None;
                sleep(RECONNECT_PAUSE).await;
                Vec::new()
            }
        }
    }

    async fn read(
        &self,
        missing: &[(Lane, i64)],
        limit: i64,
        table: &mut Option<EventTable>,
    ) -> Result<Vec<Record>, tokio_postgres::Error> {
        let EventTable { client, after } = match table {
            Some(table) if !table.client.is_closed() => table,
            lost => lost.insert(self.connection_to_table().await?),
        };
        record::after(client, after, missing, limit).await
    }
}

/// A connection to the event table, and the statement that reads it.
struct EventTable {
    client: Client,
    after: Statement,
}
