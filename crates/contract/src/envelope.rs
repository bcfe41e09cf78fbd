//! The envelope: CloudEvents 1.0 in Kafka's binary content mode, with the lane and its sequence as extensions.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use crate::{Lane, Topic};

/// What every kind is prefixed with in `ce_type`.
pub const TYPE_PREFIX: &str = "ordersystem.";

/// One event with its place in its lane: what a journal keeps, the relay publishes and a consumer applies.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The lane.
    pub lane: Lane,
    /// Its number in the lane: 1, 2, 3 … without a gap, in the order of the commits.
    pub seq: i64,
    /// The stream, such as the order.
    pub stream: Uuid,
    /// Its number in the stream: 1, 2, 3 … without a gap.
    pub version: i32,
    /// The event's own id.
    pub id: Uuid,
    /// Its kind, such as `order.placed.v1`.
    pub kind: Cow<'static, str>,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// What it is about when that is not the stream's id, such as a product.
    pub subject: Option<Box<str>>,
    /// The event that caused it.
    pub cause: Option<Uuid>,
    /// W3C trace context of the request that began it all.
    pub trace: Option<Box<str>>,
    /// Its data, JSON.
    pub data: Bytes,
}

/// Why a record's envelope cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableEnvelope {
    /// A header that every record of ours has is missing.
    #[error("header {0} is missing")]
    Missing(&'static str),
    /// A header is there but says nothing that can be understood.
    #[error("header {0} cannot be read")]
    Invalid(&'static str),
    /// The value is missing.
    #[error("the record has no value")]
    NoValue,
}

/// The header that says how the value is encoded.
pub const CONTENT_TYPE: (&str, &str) = ("content-type", "application/json");
const SPEC_VERSION: &str = "ce_specversion";
const ID: &str = "ce_id";
/// The header of the kind.
pub const TYPE: &str = "ce_type";
const SOURCE: &str = "ce_source";
const SUBJECT: &str = "ce_subject";
const TIME: &str = "ce_time";
const SEQUENCE: &str = "ce_sequence";
const LANE: &str = "ce_lane";
const LANE_SEQ: &str = "ce_laneseq";
const CORRELATION: &str = "ce_correlationid";
const CAUSATION: &str = "ce_causationid";
const TRACE: &str = "traceparent";

impl Record {
    /// What the record is about, and its key in Kafka: the order's id or the product's.
    pub fn key(&self) -> Cow<'_, str> {
        match &self.subject {
            Some(subject) => Cow::Borrowed(subject),
            None => Cow::Owned(self.stream.to_string()),
        }
    }

    /// Calls `header` with each header's name and value.
    pub fn headers(&self, topic: Topic, mut header: impl FnMut(&str, &[u8])) {
        let mut buffer = Uuid::encode_buffer();
        header(CONTENT_TYPE.0, CONTENT_TYPE.1.as_bytes());
        header(SPEC_VERSION, b"1.0");
        header(ID, self.id.hyphenated().encode_lower(&mut buffer).as_bytes());
        header(TYPE, format!("{TYPE_PREFIX}{}", self.kind).as_bytes());
        header(SOURCE, source(topic).as_bytes());
        let stream = self.stream.hyphenated().encode_lower(&mut buffer).as_bytes();
        header(SUBJECT, self.subject.as_ref().map_or(stream, |subject| subject.as_bytes()));
        header(TIME, self.at.to_rfc3339_opts(SecondsFormat::Micros, true).as_bytes());
        header(SEQUENCE, self.version.to_string().as_bytes());
        header(LANE, self.lane.to_string().as_bytes());
        header(LANE_SEQ, self.seq.to_string().as_bytes());
        header(CORRELATION, stream);
        if let Some(cause) = self.cause {
            header(CAUSATION, cause.hyphenated().encode_lower(&mut buffer).as_bytes());
        }
        if let Some(trace) = &self.trace {
            header(TRACE, trace.as_bytes());
        }
    }

    /// Reads a record from its headers and its value.
    pub fn read<'h>(
        header: impl Fn(&str) -> Option<&'h [u8]>,
        value: Option<&[u8]>,
    ) -> Result<Self, UnreadableEnvelope> {
        let text = |name: &'static str| {
            let bytes = header(name).ok_or(UnreadableEnvelope::Missing(name))?;
            // PostgreSQL keeps no text with a NUL in it.
            let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
            text.ok_or(UnreadableEnvelope::Invalid(name))
        };
        let kind = text(TYPE)?.strip_prefix(TYPE_PREFIX).ok_or(UnreadableEnvelope::Invalid(TYPE))?;
        let stream = parsed(CORRELATION, text(CORRELATION)?)?;
        let subject = text(SUBJECT)?;
        let at = DateTime::parse_from_rfc3339(text(TIME)?).map_err(|_| UnreadableEnvelope::Invalid(TIME))?;
        Ok(Self {
            lane: Lane(parsed(LANE, text(LANE)?)?),
            seq: parsed(LANE_SEQ, text(LANE_SEQ)?)?,
            stream,
            version: parsed(SEQUENCE, text(SEQUENCE)?)?,
            id: parsed(ID, text(ID)?)?,
            kind: Cow::Owned(kind.to_owned()),
            at: at.with_timezone(&Utc),
            subject: (Uuid::try_parse(subject) != Ok(stream)).then(|| subject.into()),
            cause: text(CAUSATION).ok().map(|cause| parsed(CAUSATION, cause)).transpose()?,
            trace: text(TRACE).ok().map(Into::into),
            data: Bytes::copy_from_slice(value.ok_or(UnreadableEnvelope::NoValue)?),
        })
    }
}

/// `ce_source` of a topic's records.
fn source(topic: Topic) -> &'static str {
    match topic {
        Topic::Orders => "/ordersystem/orders",
        Topic::Inventory => "/ordersystem/inventory",
        Topic::Payments => "/ordersystem/payments",
        Topic::Notifications => "/ordersystem/notifications",
    }
}

fn parsed<T: std::str::FromStr>(name: &'static str, text: &str) -> Result<T, UnreadableEnvelope> {
    text.parse().map_err(|_| UnreadableEnvelope::Invalid(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn record(subject: Option<&str>) -> Record {
        Record {
            lane: Lane(3),
            seq: 42,
            stream: Uuid::from_u128(7),
            version: 2,
            id: Uuid::from_u128(8),
            kind: Cow::Borrowed("order.placed.v1"),
            at: DateTime::from_timestamp_micros(1_700_000_000_000_001).expect("in range"),
            subject: subject.map(Into::into),
            cause: Some(Uuid::from_u128(9)),
            trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            data: Bytes::from_static(b"{}"),
        }
    }

    fn sent(record: &Record) -> HashMap<String, Vec<u8>> {
        let mut headers = HashMap::new();
        record.headers(Topic::Orders, |name, value| {
            headers.insert(name.to_owned(), value.to_owned());
        });
        headers
    }

    #[test]
    fn what_is_written_is_read_back() {
        for record in [record(None), record(Some("SKU-1"))] {
            let headers = sent(&record);
            let read = Record::read(|name| headers.get(name).map(Vec::as_slice), Some(&record.data));
            assert_eq!(read, Ok(record));
        }
    }

    #[test]
    fn a_missing_or_spoilt_header_is_named() {
        let whole = sent(&record(None));
        for name in [TYPE, SUBJECT, TIME, SEQUENCE, LANE, LANE_SEQ, CORRELATION, ID] {
            let mut headers = whole.clone();
            headers.remove(name);
            let read = Record::read(|name| headers.get(name).map(Vec::as_slice), Some(b"{}"));
            assert_eq!(read, Err(UnreadableEnvelope::Missing(name)));
            for spoilt in [vec![0xff], [&whole[name][..], b"\0"].concat()] {
                headers.insert(name.to_owned(), spoilt);
                let read = Record::read(|name| headers.get(name).map(Vec::as_slice), Some(b"{}"));
                assert_eq!(read, Err(UnreadableEnvelope::Invalid(name)));
            }
        }
        let read = Record::read(|name| whole.get(name).map(Vec::as_slice), None);
        assert_eq!(read, Err(UnreadableEnvelope::NoValue));
    }
}
