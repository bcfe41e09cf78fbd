//! Opening a journal: bring its schema up to date, start its writer, connect it to the transport.

use std::{sync::Arc, time::Duration};

use contract::{Lanes, Topic};
use process::{Component, Process};
use rdkafka::error::KafkaError;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::{
    Database, DatabaseSettingsError, Journal, JournalSettings, KafkaSettings, LogHub, Model, OwnedLanes, Pool,
    Transport,
    database::{Migration, migrate},
    hints::{self, Notifier},
    idempotency,
    metrics::JournalMetrics,
    outlet::Outlet,
    schema,
    transport::{
        Intake, WAITING_DELIVERIES,
        kafka::{Inlet, KafkaOutlet, OutletParts, ProducerError, TopicsError, ensure_topics},
        log::{Cursors, LogReader},
        membership::Membership,
    },
    writer::{Doors, Parts, Writer},
};

/// Commands that may wait for a batch. At thousands a second it is about a second's work; beyond it callers are told at
/// once that there is too much to do.
const WAITING_COMMANDS: usize = 4096;
/// Requests to the writer about ownership that may wait.
const WAITING_CONTROLS: usize = 4;

/// The part of health that is up once a replica has its share of the lanes.
const LANES: &str = "lanes";

/// What a journal is.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Its schema in the database.
    pub schema: &'static str,
    /// The topic that it feeds; nothing for a view.
    pub publishes: Option<Topic>,
    /// The topics that it consumes, at least one.
    pub consumes: &'static [Topic],
    /// The kinds of event in these topics that mean nothing to it. It passes over them unread: they are a third of what
    /// an order has the services consume.
    pub passes: &'static [&'static str],
    /// The steps that make the service's own tables, oldest first.
    pub migrations: &'static [&'static str],
    /// How it makes batches: [`PROMPT`] or [`FOLLOWING`] where someone waits for what comes of them, [`GATHERING`] where
    /// nobody does.
    pub batching: Batching,
}

/// How much a journal lets come together before it settles it.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// The longest pause between the beginnings of two batches. With next to nothing to do there is none; it grows with
    /// the rate at which work arrives.
    pub longest_gap: Duration,
    /// The longest time for which the first of a batch waits for company. What comes from another journal comes in bursts, and
    /// the rest of one is a moment behind its first. It grows with the rate like the gap.
    pub company: Duration,
    /// The rate from which on gap and company are the longest, in commands and records a second.
    pub busy: f64,
    /// The most commands and records in one batch.
    pub most_items: usize,
}

/// A commit costs most of a millisecond of a core whatever is in it, and the gap keeps that share small: 9 ms at 1,000 orders a
/// second, of which each takes four items, and twenty when both cores are nearly busy. Beyond 512 items a batch gets no
/// cheaper, below 128 it gets clearly dearer.
pub const PROMPT: Batching =
    Batching { longest_gap: Duration::from_millis(20), company: COMPANY, busy: 9000.0, most_items: 1024 };
/// Where work comes from a [`PROMPT`] journal, it comes in that one's batches. Whoever takes each as it comes makes
/// no order wait twice, and has hardly more of them; one that hears from others too, as of a provider, has half as many again.
/// At 1,000 orders a second that alone took the median from 96 to 62 ms.
pub const FOLLOWING: Batching = Batching { longest_gap: Duration::from_millis(5), busy: 2000.0, ..PROMPT };
/// Nobody waits for a view or a notice. What happens to an order while records gather is written once, so they gather for
/// longer when orders take longer to settle: 200 ms at 500 orders a second, a second at most. A batch that has all its items
/// ends before; with half as many, an order flat out costs 2 % more, and the order service's peak back from an outage is some
/// 10 MiB lower: 83 instead of 95.
pub const GATHERING: Batching =
    Batching { longest_gap: Duration::from_secs(1), company: COMPANY, busy: 10_000.0, most_items: 8192 };
/// A burst of records is handed over within about a millisecond.
const COMPANY: Duration = Duration::from_millis(1);

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database's settings cannot be used.
    #[error(transparent)]
    Settings(#[from] DatabaseSettingsError),
    /// The schema cannot be brought up to date.
    #[error("schema {schema} cannot be prepared: {source}")]
    Schema {
        /// The schema.
        schema: &'static str,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// The schema was made for another number of lanes.
    #[error("schema {schema} was created with {found} lanes, not {wanted}: the number of lanes cannot change")]
    Lanes {
        /// The schema.
        schema: &'static str,
        /// The lanes it has.
        found: i16,
        /// The lanes that the settings ask for.
        wanted: u16,
    },
    /// The topics are not as they have to be.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// A client of Kafka cannot be made from the settings.
    #[error("Kafka client cannot be made: {0}")]
    Kafka(#[from] KafkaError),
    /// Nor can one that sends.
    #[error("Kafka producer cannot be made: {0}")]
    Producer(#[from] ProducerError),
}

impl<M: Model> Journal<M> {
    /// Opens a journal and starts its tasks. It settles commands as soon as its database is there.
    pub async fn open(
        opening: Opening,
        model: Arc<M>,
        settings: &JournalSettings,
        transport: &Transport,
        process: &Process,
    ) -> Result<Self, OpenError> {
        let database = Database::new(&settings.database)?;
        prepare(&database, opening, settings).await?;
        let reads = database.pool(opening.schema)?;
        let metrics = JournalMetrics::register(process.metrics(), opening.schema);
        let member: Arc<str> = format!("{}-{}", opening.schema, Uuid::now_v7()).into();
        let health = process.health().component("db");
        let mut needs = vec![health.clone()];

        let (commands, commands_in) = mpsc::channel(WAITING_COMMANDS);
        let (controls, controls_in) = mpsc::channel(WAITING_CONTROLS);
        let (deliveries, deliveries_in) = mpsc::channel(WAITING_DELIVERIES);
        let (owned_lanes, owned) = watch::channel(OwnedLanes::from([]));
        let intake = Intake { controls, deliveries };

        let connecting = Connecting { opening, settings, database: &database, process, intake, metrics: &metrics };
        let outlet = match transport {
            Transport::Log(hub) => connecting.over_log(hub, &member, owned.clone()),
            Transport::Kafka(kafka) => {
                let brokers = process.health().component("kafka");
                needs.push(brokers.clone());
                connecting.over_kafka(kafka, brokers, reads.clone(), owned.clone()).await?
            }
        };

        let writer = Writer::new(Parts {
            model,
            schema: opening.schema,
            sources: opening.consumes,
            lanes: settings.lanes,
            batching: opening.batching,
            member,
            database,
            owned_lanes,
            outlet,
            health,
            metrics: metrics.clone(),
            process: process.clone(),
        });
        let doors = Doors { commands: commands_in, deliveries: deliveries_in, controls: controls_in };
        process.spawn("writer", writer.run(doors));
        // Nobody asks a view for anything.
        if opening.publishes.is_some() {
            let purge = idempotency::purge(reads.clone(), opening.schema, process.stop().clone());
            process.spawn("idempotency keys", purge);
        }
        Ok(Self { commands, lanes: settings.lanes, owned, reads, schema: opening.schema, needs: needs.into(), metrics })
    }
}

/// What connecting a journal to its transport takes.
struct Connecting<'o> {
    opening: Opening,
    settings: &'o JournalSettings,
    database: &'o Database,
    process: &'o Process,
    intake: Intake,
    metrics: &'o JournalMetrics,
}

impl Connecting<'_> {
    fn over_log(self, hub: &Arc<LogHub>, member: &Arc<str>, owned: watch::Receiver<OwnedLanes>) -> Outlet {
        let Opening { schema, publishes, consumes, passes, .. } = self.opening;
        let (cursors, read_from) = watch::channel(Arc::new(Cursors::default()));
        for source in consumes {
            let reader = LogReader {
                hub: Arc::clone(hub),
                source: *source,
                passes,
                database: self.database.clone(),
                cursors: read_from.clone(),
                deliveries: self.intake.deliveries.clone(),
            };
            reader.start(self.process);
        }
        let membership = Membership {
            member: Arc::clone(member),
            schema,
            lanes: self.settings.lanes,
            database: self.database.clone(),
            intake: self.intake,
            owned,
            cursors,
            health: self.process.health().component(LANES),
        };
        membership.start(self.process);
        let others = publishes.filter(|_| !hub.alone);
        let others = others.map(|topic| Notifier::start(self.database, topic, self.process));
        Outlet::Log { hub: Arc::clone(hub), feeds: publishes, others }
    }

    async fn over_kafka(
        self,
        kafka: &Arc<KafkaSettings>,
        health: Component,
        reads: Pool,
        owned: watch::Receiver<OwnedLanes>,
    ) -> Result<Outlet, OpenError> {
        let Opening { schema, publishes, consumes, passes, batching, .. } = self.opening;
        let system: Arc<str> = self.settings.name.as_str().into();
        ensure_topics(kafka, &system, self.settings.lanes).await?;
        let outlet = KafkaOutlet::new(OutletParts {
            settings: Arc::clone(kafka),
            system: Arc::clone(&system),
            feeds: publishes,
            lanes: self.settings.lanes,
            others: publishes.map(|topic| Notifier::start(self.database, topic, self.process)),
            schema,
            reads,
            health,
            metrics: self.metrics.clone(),
        })?;
        outlet.start(self.process);
        if let Some(topic) = publishes {
            let outlet = Arc::clone(&outlet);
            hints::listen(self.database, &[topic], self.process, move |_| {
                outlet.look();
            });
        }
        let inlet = Inlet {
            settings: Arc::clone(kafka),
            system,
            schema,
            sources: consumes,
            passes,
            longest_gap: batching.longest_gap,
            feeds: publishes,
            intake: self.intake,
            outlet: Arc::clone(&outlet),
            owned,
            health: self.process.health().component(LANES),
        };
        inlet.start(self.process)?;
        Ok(Outlet::Kafka(outlet))
    }
}

async fn prepare(database: &Database, opening: Opening, settings: &JournalSettings) -> Result<(), OpenError> {
    let schema = opening.schema;
    let failed = |source| OpenError::Schema { schema, source };
    let migrations =
        [Migration { part: "journal", steps: schema::STEPS }, Migration { part: "service", steps: opening.migrations }];
    migrate(database, schema, &migrations).await.map_err(failed)?;
    let client = database.connect_to(schema).await.map_err(failed)?;
    if opening.publishes.is_some() {
        database.warn_if_exposed(&client, schema).await.map_err(failed)?;
    }
    let found = lay_lanes(&client, opening.consumes, settings.lanes, &settings.name).await.map_err(failed)?;
    if found == i16::try_from(settings.lanes.count()).unwrap_or(i16::MAX) {
        Ok(())
    } else {
        Err(OpenError::Lanes { schema, found, wanted: settings.lanes.count() })
    }
}

/// Makes a row for every lane and inbox that has none yet, the first time; tells how many lanes the schema has.
async fn lay_lanes(
    client: &tokio_postgres::Client,
    sources: &[Topic],
    lanes: Lanes,
    name: &str,
) -> Result<i16, tokio_postgres::Error> {
    let count = i16::try_from(lanes.count()).unwrap_or(i16::MAX);
    let laid = "INSERT INTO system (lanes, name) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM system)";
    client.batch_execute("BEGIN; LOCK TABLE system IN EXCLUSIVE MODE").await?;
    client.execute(laid, &[&count, &name]).await?;
    let found: i16 = client.query_one("SELECT lanes FROM system", &[]).await?.get(0);
    let heads = "INSERT INTO lane_head (lane) SELECT generate_series(0, $1::int4 - 1) ON CONFLICT DO NOTHING";
    client.execute(heads, &[&i32::from(found)]).await?;
    let codes: Vec<i16> = sources.iter().map(|topic| topic.code()).collect();
    let inboxes = "INSERT INTO inbox_lane (source, lane)
                   SELECT s.source, h.lane FROM unnest($1::int2[]) AS s (source), lane_head h ON CONFLICT DO NOTHING";
    client.execute(inboxes, &[&codes]).await?;
    client.batch_execute("COMMIT").await?;
    Ok(found)
}
