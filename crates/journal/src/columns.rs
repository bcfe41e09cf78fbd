//! What a batch writes, turned into the columns that `unnest` takes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contract::{Lane, Record, Topic};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{
    batch::{Letter, Reach},
    outlet::Outlet,
};

/// The appended events as columns.
#[derive(Default)]
pub(crate) struct EventColumns<'r> {
    seqs: Vec<i64>,
    lanes: Vec<i16>,
    versions: Vec<i32>,
    streams: Vec<Uuid>,
    ids: Vec<Uuid>,
    times: Vec<DateTime<Utc>>,
    kinds: Vec<&'r str>,
    data: Vec<&'r [u8]>,
    causes: Vec<Option<Uuid>>,
    subjects: Vec<Option<&'r str>>,
    traces: Vec<Option<&'r str>>,
}

impl<'r> EventColumns<'r> {
    pub fn of(records: &'r [Record]) -> Self {
        let mut columns = Self::default();
        for record in records {
            columns.seqs.push(record.seq);
            columns.lanes.push(record.lane.as_i16());
            columns.versions.push(record.version);
            columns.streams.push(record.stream);
            columns.ids.push(record.id);
            columns.times.push(record.at);
            columns.kinds.push(&record.kind);
            columns.data.push(&record.data);
            columns.causes.push(record.cause);
            columns.subjects.push(record.subject.as_deref());
            columns.traces.push(record.trace.as_deref());
        }
        columns
    }

    pub fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.seqs,
            &self.lanes,
            &self.versions,
            &self.streams,
            &self.ids,
            &self.times,
            &self.kinds,
            &self.data,
            &self.causes,
            &self.subjects,
            &self.traces,
        ]
    }
}

/// The lanes' new ends as columns.
pub(crate) struct LaneColumns {
    pub lanes: Vec<i16>,
    pub last: Vec<i64>,
    pub published: Vec<i64>,
}

impl LaneColumns {
    /// `ends` are the lanes' last sequences, those of the batch included.
    pub fn of(ends: &BTreeMap<Lane, i64>, outlet: &Outlet) -> Self {
        Self {
            lanes: ends.keys().map(|lane| lane.as_i16()).collect(),
            last: ends.values().copied().collect(),
            published: ends.keys().map(|lane| outlet.published(*lane)).collect(),
        }
    }
}

/// The inboxes' moves as columns.
#[derive(Default)]
pub(crate) struct InboxColumns {
    sources: Vec<i16>,
    lanes: Vec<i16>,
    was: Vec<i64>,
    now: Vec<i64>,
    next: Vec<i64>,
}

impl InboxColumns {
    /// `stored` tells the sequence that an inbox stood at before.
    pub fn of(reach: &Reach, stored: impl Fn(Topic, Lane) -> i64) -> Self {
        let mut columns = Self::default();
        for ((source, lane), position) in reach {
            columns.sources.push(source.code());
            columns.lanes.push(lane.as_i16());
            columns.was.push(stored(*source, *lane));
            columns.now.push(position.seq);
            columns.next.push(position.offset);
        }
        columns
    }

    pub fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![&self.sources, &self.lanes, &self.was, &self.now, &self.next]
    }
}

/// The dead letters as columns.
#[derive(Default)]
pub(crate) struct LetterColumns<'l> {
    ids: Vec<Uuid>,
    sources: Vec<i16>,
    lanes: Vec<i16>,
    places: Vec<i64>,
    reasons: Vec<&'l str>,
    kinds: Vec<Option<&'l str>>,
    keys: Vec<Option<&'l [u8]>>,
    payloads: Vec<Option<&'l [u8]>>,
    times: Vec<DateTime<Utc>>,
}

impl<'l> LetterColumns<'l> {
    pub fn of(letters: &'l [Letter]) -> Self {
        let mut columns = Self::default();
        for letter in letters {
            columns.ids.push(letter.id);
            columns.sources.push(letter.source.code());
            columns.lanes.push(letter.lane.as_i16());
            columns.places.push(letter.place);
            columns.reasons.push(&letter.reason);
            columns.kinds.push(letter.kind.as_deref());
            columns.keys.push(letter.key.as_deref());
            columns.payloads.push(letter.payload.as_deref());
            columns.times.push(letter.at);
        }
        columns
    }

    pub fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.ids,
            &self.sources,
            &self.lanes,
            &self.places,
            &self.reasons,
            &self.kinds,
            &self.keys,
            &self.payloads,
            &self.times,
        ]
    }
}
