//! The writer's connection: everything is prepared on it, and what is sent together is answered together.

use std::{collections::HashMap, time::Duration};

use contract::{Lane, Record};
use futures_util::future::try_join_all;
use process::Process;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use crate::{Model, batch::Reach, database::Database, holding::Holding, schema};

/// How long one round trip may take before the connection counts as lost. Longer than a statement may run.
pub(crate) const ROUND_TRIP: Duration = Duration::from_secs(25);
/// Pauses between attempts to reach the database: the first, and the longest.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// A connection with everything prepared.
pub(crate) struct Session {
    pub client: Client,
    statements: HashMap<&'static str, Statement>,
}

/// A connection with everything prepared, as soon as there is one; nothing when the process ends first.
pub(crate) async fn reconnected<M: Model>(database: &Database, schema: &str, process: &Process) -> Option<Session> {
    let (mut pause, longest) = RECONNECT;
    loop {
        match prepared::<M>(database, schema).await {
            Ok(session) => return Some(session),
            Err(error) => tracing::warn!(schema, %error, "database cannot be reached"),
        }
        tokio::select! {
            () = process.stop().cancelled() => return None,
            () = sleep(pause) => pause = (pause * 2).min(longest),
        }
    }
}

async fn prepared<M: Model>(database: &Database, schema: &str) -> Result<Session, tokio_postgres::Error> {
    let client = database.connect_writer(schema).await?;
    let mut statements = HashMap::new();
    for sql in schema::statements().iter().chain(M::STATEMENTS).chain(&[BEGIN, COMMIT]) {
        statements.insert(*sql, client.prepare(sql).await?);
    }
    Ok(Session { client, statements })
}

pub(crate) const BEGIN: &str = "BEGIN";
pub(crate) const COMMIT: &str = "COMMIT";

/// Statements that are sent together and answered together: one round trip.
pub(crate) struct Trip<'s> {
    session: &'s Session,
    calls: Vec<(&'s Statement, Vec<&'s (dyn ToSql + Sync)>)>,
    unprepared: Option<&'static str>,
}

/// Why a round trip failed.
pub(crate) enum TripError {
    /// PostgreSQL refused, or the connection ended.
    Postgres(tokio_postgres::Error),
    /// No answer came in time.
    Timeout,
    /// The model uses a statement that it does not declare.
    Unprepared(&'static str),
}

impl TripError {
    /// Whether the connection is gone, so that nobody knows what became of the last statement.
    pub fn lost_connection(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Unprepared(_) => false,
            // Class 57 is the server being shut down or the connection being ended by an operator.
            Self::Postgres(error) => error.code().is_none_or(|code| {
                code.code().starts_with("57P") || code.code().starts_with("25P03") || code.code().starts_with("08")
            }),
        }
    }
}

/// The driver sends each statement when its future is first polled. Up to this many futures are polled in their order.
const TRIP_STATEMENTS: usize = 30;

impl<'s> Trip<'s> {
    pub fn new(session: &'s Session) -> Self {
        Self { session, calls: Vec::with_capacity(8), unprepared: None }
    }

    pub fn add(&mut self, sql: &'static str, parameters: Vec<&'s (dyn ToSql + Sync)>) {
        match self.session.statements.get(sql) {
            Some(statement) => self.calls.push((statement, parameters)),
            None => self.unprepared = Some(sql),
        }
    }

    pub async fn send(self) -> Result<Vec<Vec<Row>>, TripError> {
        if let Some(sql) = self.unprepared {
            return Err(TripError::Unprepared(sql));
        }
        assert!(self.calls.len() <= TRIP_STATEMENTS, "a round trip has {} statements", self.calls.len());
        let client = &self.session.client;
        let answers = self.calls.iter().map(|(statement, parameters)| client.query(*statement, parameters));
        timeout(ROUND_TRIP, try_join_all(answers)).await.map_err(|_| TripError::Timeout)?.map_err(TripError::Postgres)
    }
}

pub(crate) fn references(parameters: &[Box<dyn ToSql + Sync + Send>]) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync)).collect()
}

pub(crate) fn described(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |error| format!("{}: {}", error.code().code(), error.message()))
}

/// Whether the batch that appended these events and moved these inboxes is there. One that only moved inboxes of lanes
/// that others own by now is not missed: its records are theirs.
pub(crate) async fn witnessed(
    client: &Client,
    holding: &Holding,
    lanes: &[Lane],
    reach: &Reach,
    appended: &[Record],
) -> Result<bool, tokio_postgres::Error> {
    let numbers: Vec<i16> = lanes.iter().map(|lane| lane.as_i16()).collect();
    client.batch_execute(BEGIN).await?;
    let heads = client.query(schema::LOCK_LANES, &[&numbers]).await?;
    let epochs = heads.iter().map(|row| (Lane(row.get::<_, i16>(0).unsigned_abs()), row.get(1)));
    let row = match (appended.first(), holding.witness(reach, epochs)) {
        (Some(event), _) => {
            let sql = "SELECT 1 FROM event WHERE lane = $1 AND seq = $2 AND event_id = $3";
            client.query_opt(sql, &[&event.lane.as_i16(), &event.seq, &event.id]).await?
        }
        (None, Some((topic, lane, position))) => {
            let sql = "SELECT 1 FROM inbox_lane WHERE source = $1 AND lane = $2 AND last_seq = $3 AND next_offset = $4";
            client.query_opt(sql, &[&topic.code(), &lane.as_i16(), &position.seq, &position.offset]).await?
        }
        (None, None) => None,
    };
    client.batch_execute("ROLLBACK").await?;
    Ok(row.is_some())
}
