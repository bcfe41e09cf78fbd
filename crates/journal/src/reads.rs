//! Reading outside of batches.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use contract::{envelope::TYPE_PREFIX, event::UnreadableData};
use deadpool_postgres::{Pool, PoolError};
use process::Problem;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio_postgres::{Row, types::Type};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Cells, UnreadableRow};

/// What is shown in place of a secret.
const CONCEALED: &str = "***";

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No connection to the database could be had.
    #[error("cannot connect to the database")]
    Connect(#[from] PoolError),
    /// The database did not answer.
    #[error("cannot query the database")]
    Query(#[from] tokio_postgres::Error),
    /// A row is not what this service writes.
    #[error(transparent)]
    Row(#[from] UnreadableRow),
    /// An event is not what this service writes.
    #[error(transparent)]
    Event(#[from] UnreadableData),
}

impl ReadError {
    /// The problem that a caller over HTTP is told.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Connect(_) | Self::Query(_) => Problem::unavailable(),
            Self::Row(_) | Self::Event(_) => Problem::internal(),
        }
    }
}

/// One event of a stream, as clients see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct StoredEvent {
    /// Its number in its stream, from 1.
    pub version: i32,
    /// What it means, as in its CloudEvents type.
    #[serde(rename = "type", serialize_with = "as_cloud_events_type")]
    #[schema(example = "ordersystem.order.placed.v1")]
    pub kind: String,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The event that caused it; null when none did.
    #[serde(rename = "causationId")]
    #[schema(required)]
    pub cause: Option<Uuid>,
    /// Its data, by its type.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

/// A kind is kept without what the types of all our events begin with.
fn as_cloud_events_type<S: Serializer>(kind: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{TYPE_PREFIX}{kind}"))
}

impl StoredEvent {
    /// Without what its data says at `pointer` (RFC 6901), as far as it says something there: a secret that its readers need,
    /// and clients do not.
    #[must_use]
    pub fn conceal(self, pointer: &str) -> Self {
        let data: Result<Value, _> = serde_json::from_str(self.data.get());
        let concealed = data.ok().and_then(|mut data| {
            *data.pointer_mut(pointer)? = CONCEALED.into();
            to_raw_value(&data).ok()
        });
        Self { data: concealed.unwrap_or(self.data), ..self }
    }

    /// Its data, to be decoded.
    pub fn bytes(&self) -> &[u8] {
        self.data.get().as_bytes()
    }
}

const EVENTS: &str = "
SELECT version, kind, at, cause, data FROM event WHERE stream_id = $1 AND version BETWEEN $2 AND $3 ORDER BY version";

/// The events of a stream with these numbers, the first of which is 1; oldest first.
///
/// The statement is typed rather than prepared: it costs one round trip, and the planner sees the table as it is now.
pub async fn events(reads: &Pool, stream: Uuid, versions: RangeInclusive<i32>) -> Result<Vec<StoredEvent>, ReadError> {
    let (first, last) = versions.into_inner();
    let parameters = [(&stream as _, Type::UUID), (&first as _, Type::INT4), (&last as _, Type::INT4)];
    let rows = reads.get().await?.query_typed(EVENTS, &parameters).await?;
    Ok(rows.iter().map(read_event).collect::<Result<_, _>>()?)
}

fn read_event(row: &Row) -> Result<StoredEvent, UnreadableRow> {
    let mut cells = Cells::of("event", row);
    Ok(StoredEvent {
        version: cells.take()?,
        kind: cells.take()?,
        at: cells.take()?,
        cause: cells.take()?,
        data: cells.take_raw()?,
    })
}
