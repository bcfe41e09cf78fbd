//! Idempotency keys: how a journal knows a request again that it has settled before.
//!
//! A key is kept in the transaction of the event that its request brought about; the same request under the same key is
//! answered by that event from then on. Keys are good within a scope, whose requests must all be settled in one lane: the
//! lane's lock puts equal keys one after the other.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::Pool;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::{Row, types::Type};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::faults::{self, CrashPoint, Safeguard};
use crate::{Cells, Query, ReadError, UnreadableRow};

/// Reads keys; one of the [`STATEMENTS`](crate::Model::STATEMENTS) of a model that has any.
pub const LOAD: &str = "
SELECT i.scope, i.key, i.request_hash, i.stream_id, i.version
FROM (SELECT unnest($1::text[]) AS scope, unnest($2::text[]) AS key) AS k
JOIN idempotency i ON i.scope = k.scope AND i.key = k.key";

/// Keeps keys; one of the [`STATEMENTS`](crate::Model::STATEMENTS) of a model that has any.
pub const INSERT: &str = "
INSERT INTO idempotency (scope, key, request_hash, stream_id, version, created_at)
SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::bytea[]), unnest($4::uuid[]), unnest($5::int4[]),
    unnest($6::timestamptz[])";

/// Keys that another process deletes at this moment are left to it.
const PURGE: &str = "
DELETE FROM idempotency WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM idempotency WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// How long a key is kept at least: 72 h, beyond any client's retries.
const KEPT: TimeDelta = TimeDelta::hours(72);
/// How often keys that are too old are looked for. At this pace and in bounded steps it is never much work at a time.
const PURGE_INTERVAL: Duration = Duration::from_mins(1);
/// Keys deleted by one statement: some milliseconds of work, so that it never holds up a batch for long.
const PURGED_AT_ONCE: u32 = 1000;

/// An idempotency key and the request that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it is good for.
    pub scope: Box<str>,
    /// The caller's text.
    pub text: Box<str>,
    /// SHA-256 of the request.
    pub request_hash: [u8; 32],
}

/// A key that was used, and the event that came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The key.
    pub key: Key,
    /// The event's stream.
    pub stream: Uuid,
    /// Its number in the stream.
    pub version: i32,
}

/// The key was used before for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyReused;

/// The keys that a batch's requests have, as far as they were used: before, or in this batch.
#[derive(Debug, Default)]
pub struct Keys(HashMap<Name, Entry>);

type Name = (Box<str>, Box<str>);

#[derive(Debug)]
struct Entry {
    used: Used,
    /// When it was used, if that was in this batch.
    now: Option<DateTime<Utc>>,
}

impl Key {
    /// The key `text` of `scope` for this request, as it was understood: requests that mean the same have the same hash,
    /// however they were written.
    ///
    /// # Panics
    ///
    /// If JSON cannot hold the request, such as a map whose keys are no text.
    pub fn of(scope: impl Into<Box<str>>, text: &str, request: &impl Serialize) -> Self {
        let canonical = serde_json::to_vec(request).expect("a request is what JSON can hold");
        Self { scope: scope.into(), text: text.into(), request_hash: Sha256::digest(canonical).into() }
    }

    fn name(&self) -> Name {
        (self.scope.clone(), self.text.clone())
    }
}

impl Keys {
    /// Which of these keys were used before; nothing to ask when there are none.
    pub fn load<'k>(keys: impl IntoIterator<Item = &'k Key>) -> Option<Query> {
        let (scopes, texts): (Vec<_>, Vec<_>) = keys.into_iter().map(Key::name).unzip();
        (!texts.is_empty()).then(|| Query::new(LOAD).bind(scopes).bind(texts))
    }

    /// The keys that [`Keys::load`] found.
    pub fn read(rows: &[Row]) -> Result<Self, UnreadableRow> {
        rows.iter().map(read_used).collect()
    }

    /// What came of the first request under this key, if it was the same; nothing when this is the first.
    pub fn used(&self, key: &Key) -> Result<Option<&Used>, KeyReused> {
        match self.0.get(&key.name()) {
            None => Ok(None),
            Some(_) if faults::is_left_out(Safeguard::IdempotencyKeys) => Ok(None),
            Some(Entry { used, .. }) if used.key == *key => Ok(Some(used)),
            Some(_) => Err(KeyReused),
        }
    }

    /// Keeps a key that was used at `now`, and the event that came of it.
    pub fn keep(&mut self, key: Key, stream: Uuid, version: i32, now: DateTime<Utc>) {
        self.0.insert(key.name(), Entry { used: Used { key, stream, version }, now: Some(now) });
    }

    /// The keys that were used in this batch, and when; in no order.
    pub fn new_ones(&self) -> impl Iterator<Item = (&Used, DateTime<Utc>)> {
        self.0.values().filter_map(|entry| Some((&entry.used, entry.now?)))
    }

    /// Stores the keys that were used in this batch; nothing to store when there are none.
    pub fn write(&self) -> Option<Query> {
        let new: Vec<(&Used, DateTime<Utc>)> = self.new_ones().collect();
        (!new.is_empty() && !faults::is_left_out(Safeguard::IdempotencyKeys)).then(|| {
            Query::new(INSERT)
                .bind_each(&new, |(used, _)| used.key.scope.clone())
                .bind_each(&new, |(used, _)| used.key.text.clone())
                .bind_each(&new, |(used, _)| used.key.request_hash.to_vec())
                .bind_each(&new, |(used, _)| used.stream)
                .bind_each(&new, |(used, _)| used.version)
                .bind_each(&new, |(_, now)| *now)
        })
    }
}

impl FromIterator<Used> for Keys {
    /// Keys that were used before.
    fn from_iter<I: IntoIterator<Item = Used>>(used: I) -> Self {
        Self(used.into_iter().map(|used| (used.key.name(), Entry { used, now: None })).collect())
    }
}

fn read_used(row: &Row) -> Result<Used, UnreadableRow> {
    let mut cells = Cells::of("idempotency", row);
    let (scope, text) = (cells.take()?, cells.take()?);
    let hash: &[u8] = cells.take()?;
    let request_hash = hash.try_into().map_err(|error| cells.unreadable(error))?;
    Ok(Used { key: Key { scope, text, request_hash }, stream: cells.take()?, version: cells.take()? })
}

/// Deletes the keys that are too old from the schema that `reads` are bound to, until the process stops.
pub(crate) async fn purge(reads: Pool, schema: &'static str, stop: CancellationToken) {
    let mut clock = interval(PURGE_INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(clock.tick()).await.is_some() {
        if let Some(Err(error)) = stop.run_until_cancelled(purge_old(&reads, schema)).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(schema, error, "old idempotency keys cannot be deleted; trying again in a minute");
        }
    }
}

async fn purge_old(reads: &Pool, schema: &str) -> Result<(), ReadError> {
    let (before, limit) = (Utc::now() - KEPT, i64::from(PURGED_AT_ONCE));
    let parameters = [(&before as _, Type::TIMESTAMPTZ), (&limit as _, Type::INT8)];
    loop {
        let purged = reads.get().await?.execute_typed(PURGE, &parameters).await?;
        faults::reached(CrashPoint::KeysPurged, schema, || [""]);
        if purged < u64::from(PURGED_AT_ONCE) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Uuid = Uuid::from_u128(7);

    fn key(text: &str, request: &str) -> Key {
        Key::of("tests", text, &request)
    }

    fn used(text: &str, request: &str) -> Used {
        Used { key: key(text, request), stream: STREAM, version: 3 }
    }

    #[test]
    fn a_key_is_known_again_by_its_request() {
        let keys = Keys::from_iter([used("k", "a")]);
        assert_eq!(keys.used(&key("k", "a")), Ok(Some(&used("k", "a"))));
        assert_eq!(keys.used(&key("k", "b")), Err(KeyReused));
        assert_eq!(keys.used(&key("l", "a")), Ok(None));
    }

    #[test]
    fn the_same_text_in_another_scope_is_another_key() {
        let keys = Keys::from_iter([used("k", "a")]);
        assert_eq!(keys.used(&Key::of("others", "k", &"a")), Ok(None));
    }

    #[test]
    fn a_key_that_a_batch_uses_is_known_at_once_and_stored() {
        let mut keys = Keys::default();
        assert!(keys.write().is_none());
        keys.keep(key("k", "a"), STREAM, 3, DateTime::UNIX_EPOCH);
        assert_eq!(keys.used(&key("k", "a")), Ok(Some(&used("k", "a"))));
        assert_eq!(keys.write().map(|query| (query.sql, query.parameters.len())), Some((INSERT, 6)));
    }

    #[test]
    fn keys_that_were_used_before_are_not_stored_again() {
        assert!(Keys::from_iter([used("k", "a")]).write().is_none());
    }

    #[test]
    fn keys_are_loaded_if_there_are_any() {
        assert!(Keys::load([]).is_none());
        assert_eq!(Keys::load([&key("k", "a")]).map(|query| (query.sql, query.parameters.len())), Some((LOAD, 2)));
    }
}
