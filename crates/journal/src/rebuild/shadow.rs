//! The schema beside the live one, and the one connection on which it is filled, compared and swapped in.

use std::{collections::HashMap, time::Duration};

use contract::{Lane, Topic};
use tokio::time::timeout;
use tokio_postgres::{Client, Statement, error::SqlState};

use super::{
    RebuildError,
    progress::{Positions, Progress},
};
use crate::{
    Database, Model, Opening,
    database::{Migration, migrate},
};

/// How long to wait for another rebuild of the same view, in milliseconds: the connection of one that was killed takes a
/// moment to end.
const LOCK_MILLISECONDS: u32 = 1_000;
/// What the connection is called where the database shows its sessions.
const NAME: &str = "ordersystem rebuild";
/// That there was no transaction to end is no news to anybody.
const SETTINGS: &str = "SET client_min_messages = error";
/// How long removing what is not needed any more may take. What stays is dropped by the next rebuild.
const REMOVAL: Duration = Duration::from_secs(10);

/// The migration steps that are done in the live view.
const STEPS: &str = "SELECT count(*) FROM {live}.migration WHERE part = 'service'";
/// Who owns live tables, if it is not us.
const FOREIGN_OWNER: &str =
    "SELECT tableowner::text FROM pg_tables WHERE schemaname = $1 AND tableowner <> current_user LIMIT 1";
/// The tables that the view's own migrations made, each with the columns of its primary key; all columns if it has none.
const TABLES: &str = "
SELECT quote_ident(t.relname), array_agg(quote_ident(a.attname) ORDER BY array_position(i.indkey::int2[], a.attnum))
FROM pg_class t LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisprimary
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND (i.indrelid IS NULL OR a.attnum = ANY(i.indkey))
WHERE t.relnamespace = $1::text::regnamespace AND t.relkind = 'r' AND t.relname <> 'migration' AND NOT a.attisdropped
GROUP BY t.relname ORDER BY t.relname";
/// How far the live view is in each lane of a source, and the source itself.
const POSITIONS: &str = "
SELECT h.lane, h.last_seq, i.last_seq FROM {source}.lane_head h
LEFT JOIN {live}.inbox_lane i ON i.source = $1 AND i.lane = h.lane ORDER BY h.lane";

/// The tables beside the live ones.
pub(super) struct Shadow<'m, M> {
    pub opening: Opening,
    pub model: &'m M,
    /// Its schema.
    pub next: String,
    pub client: Client,
    pub statements: HashMap<&'static str, Statement>,
    pub tables: Vec<Table>,
    pub progress: Progress,
}

/// One of the view's own tables. Names are quoted where they have to be.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub name: String,
    /// The columns that tell one row from another, at least one.
    pub key: Vec<String>,
}

/// How far the live view is.
pub(super) struct Live {
    pub applied: Positions,
    /// Events that it has not applied yet.
    pub behind: u64,
}

impl<'m, M: Model> Shadow<'m, M> {
    /// Makes the tables, empty, in place of what a rebuild that was killed may have left. Nobody else can until the
    /// connection ends.
    pub async fn make(database: &Database, opening: Opening, model: &'m M) -> Result<Self, RebuildError> {
        let next = format!("{}_next", opening.schema);
        let client = database.connect_writer(&next).await.map_err(RebuildError::Connect)?;
        lock(&client, opening.schema).await?;
        check_version(&client, opening).await?;
        check_owner(&client, opening.schema).await?;
        // The swap's commit, which waits for the disk, makes everything before it durable too.
        let begin = format!("SET synchronous_commit = off; DROP SCHEMA IF EXISTS {next} CASCADE");
        client.batch_execute(&begin).await.map_err(RebuildError::Make)?;
        let migrations = [Migration { part: "service", steps: opening.migrations }];
        migrate(database, &next, &migrations).await.map_err(RebuildError::Make)?;
        let tables = client.query(TABLES, &[&next]).await.map_err(RebuildError::Make)?;
        let tables = tables.iter().map(|row| Table { name: row.get(0), key: row.get(1) }).collect();
        let (statements, progress) = (HashMap::new(), Progress::default());
        Ok(Self { opening, model, next, client, statements, tables, progress })
    }

    /// How far the live view is at this moment.
    pub async fn live(&self) -> Result<Live, RebuildError> {
        let mut live = Live { applied: Positions::new(), behind: 0 };
        for topic in self.opening.consumes {
            self.add_positions(*topic, &mut live).await?;
        }
        Ok(live)
    }

    async fn add_positions(&self, topic: Topic, live: &mut Live) -> Result<(), RebuildError> {
        let schema = self.opening.schema;
        let sql = POSITIONS.replace("{source}", topic.as_str()).replace("{live}", schema);
        for row in self.client.query(&sql, &[&topic.code()]).await.map_err(RebuildError::Positions)? {
            let (lane, head): (i16, i64) = (row.get(0), row.get(1));
            let lane = Lane(lane.unsigned_abs());
            let applied: i64 = row.get::<_, Option<_>>(2).ok_or(RebuildError::NoPosition { schema, topic, lane })?;
            live.applied.insert((topic, lane), applied);
            live.behind += (head - applied).max(0).unsigned_abs();
        }
        Ok(())
    }

    /// Whether the live tables are still what our migrations make.
    pub async fn check_version(&self) -> Result<(), RebuildError> {
        check_version(&self.client, self.opening).await
    }

    /// Drops the tables, and ends whatever was begun.
    pub async fn remove(self) {
        let drop = async {
            self.client.batch_execute("ROLLBACK").await?;
            self.client.batch_execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.next)).await
        };
        match timeout(REMOVAL, drop).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(schema = self.next, %error, "left for the next rebuild to drop"),
            Err(_) => tracing::warn!(schema = self.next, "left for the next rebuild to drop"),
        }
    }
}

/// Takes the place of the one who rebuilds the view, until the connection ends.
async fn lock(client: &Client, view: &'static str) -> Result<(), RebuildError> {
    let settings = format!("{SETTINGS}; SET application_name = '{NAME}'; SET lock_timeout = {LOCK_MILLISECONDS}");
    client.batch_execute(&settings).await.map_err(RebuildError::Connect)?;
    let lock = "SELECT pg_advisory_lock(hashtext($1), hashtext($2))";
    match client.query(lock, &[&NAME, &view]).await {
        Ok(_) => client.batch_execute("RESET lock_timeout").await.map_err(RebuildError::Connect),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Err(RebuildError::UnderWay(view)),
        Err(error) => Err(RebuildError::Connect(error)),
    }
}

async fn check_version(client: &Client, opening: Opening) -> Result<(), RebuildError> {
    let schema = opening.schema;
    let found = match client.query_one(&STEPS.replace("{live}", schema), &[]).await {
        Ok(row) => row.get(0),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Err(RebuildError::NoView(schema)),
        Err(error) => return Err(RebuildError::Make(error)),
    };
    let wanted = i64::try_from(opening.migrations.len()).unwrap_or(i64::MAX);
    if found == wanted { Ok(()) } else { Err(RebuildError::OtherVersion { schema, found, wanted }) }
}

async fn check_owner(client: &Client, schema: &'static str) -> Result<(), RebuildError> {
    match client.query_opt(FOREIGN_OWNER, &[&schema]).await.map_err(RebuildError::Make)? {
        Some(row) => Err(RebuildError::ForeignOwner { schema, owner: row.get(0) }),
        None => Ok(()),
    }
}
