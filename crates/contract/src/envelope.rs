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

    /// Reads a record from its envelope and its value.
    pub fn read(found: &Envelope<'_>, value: Option<&[u8]>) -> Result<Self, UnreadableEnvelope> {
        Self::placed(found.place()?, found, value)
    }

    /// Reads a record whose place was found in its envelope.
    pub fn placed(place: Place<'_>, found: &Envelope<'_>, value: Option<&[u8]>) -> Result<Self, UnreadableEnvelope> {
        let Place { lane, seq, kind } = place;
        let stream = parsed(CORRELATION, found.correlation)?;
        let subject = needed(SUBJECT, found.subject)?;
        let at = DateTime::parse_from_rfc3339(needed(TIME, found.time)?);
        let cause = text(found.causation).map(str::parse);
        Ok(Self {
            lane,
            seq,
            stream,
            version: parsed(SEQUENCE, found.sequence)?,
            id: parsed(ID, found.id)?,
            kind: Cow::Owned(kind.to_owned()),
            at: at.map_err(|_| UnreadableEnvelope::Invalid(TIME))?.with_timezone(&Utc),
            subject: (Uuid::try_parse(subject) != Ok(stream)).then(|| subject.into()),
            cause: cause.transpose().map_err(|_| UnreadableEnvelope::Invalid(CAUSATION))?,
            trace: text(found.trace).map(Into::into),
            data: Bytes::copy_from_slice(value.ok_or(UnreadableEnvelope::NoValue)?),
        })
    }
}

/// The headers that a record is read from.
#[derive(Clone, Debug, Default)]
pub struct Envelope<'h> {
    id: Option<&'h [u8]>,
    kind: Option<&'h [u8]>,
    subject: Option<&'h [u8]>,
    time: Option<&'h [u8]>,
    sequence: Option<&'h [u8]>,
    lane: Option<&'h [u8]>,
    lane_seq: Option<&'h [u8]>,
    correlation: Option<&'h [u8]>,
    causation: Option<&'h [u8]>,
    trace: Option<&'h [u8]>,
}

/// Where a record belongs, and its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'h> {
    /// The lane.
    pub lane: Lane,
    /// Its number in the lane.
    pub seq: i64,
    /// Its kind.
    pub kind: &'h str,
}

impl<'h> Envelope<'h> {
    /// Takes headers in any order. Of those with one name the first counts.
    pub fn of(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            let place = match name {
                ID => &mut found.id,
                TYPE => &mut found.kind,
                SUBJECT => &mut found.subject,
                TIME => &mut found.time,
                SEQUENCE => &mut found.sequence,
                LANE => &mut found.lane,
                LANE_SEQ => &mut found.lane_seq,
                CORRELATION => &mut found.correlation,
                CAUSATION => &mut found.causation,
                TRACE => &mut found.trace,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        found
    }

    /// Where the record belongs, and its kind: enough to pass over it.
    pub fn place(&self) -> Result<Place<'h>, UnreadableEnvelope> {
        let kind = needed(TYPE, self.kind)?.strip_prefix(TYPE_PREFIX).ok_or(UnreadableEnvelope::Invalid(TYPE))?;
        Ok(Place { lane: Lane(parsed(LANE, self.lane)?), seq: parsed(LANE_SEQ, self.lane_seq)?, kind })
    }
}

/// A header's text, if it is one. PostgreSQL keeps none with a NUL in it.
fn text(header: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(header?).ok().filter(|text| !text.contains('\0'))
}

/// The text of a header that has to be there.
fn needed<'h>(name: &'static str, header: Option<&'h [u8]>) -> Result<&'h str, UnreadableEnvelope> {
    let header = header.ok_or(UnreadableEnvelope::Missing(name))?;
    text(Some(header)).ok_or(UnreadableEnvelope::Invalid(name))
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

/// What a header that has to be there says.
fn parsed<T: std::str::FromStr>(name: &'static str, header: Option<&[u8]>) -> Result<T, UnreadableEnvelope> {
    needed(name, header)?.parse().map_err(|_| UnreadableEnvelope::Invalid(name))
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

    fn given(headers: &HashMap<String, Vec<u8>>) -> Envelope<'_> {
        Envelope::of(headers.iter().map(|(name, value)| (&**name, &**value)))
    }

    #[test]
    fn what_is_written_is_read_back() {
        for record in [record(None), record(Some("SKU-1"))] {
            let headers = sent(&record);
            let read = Record::read(&given(&headers), Some(&record.data));
            assert_eq!(read, Ok(record));
        }
    }

    #[test]
    fn of_headers_with_one_name_the_first_counts_and_others_are_passed_over() {
        let whole = sent(&record(None));
        let more = [("ce_custom", &b"x"[..]), (LANE_SEQ, b"43"), (TYPE, b"\xff")];
        let headers = whole.iter().map(|(name, value)| (&**name, &**value)).chain(more);
        let read = Record::read(&Envelope::of(headers), Some(b"{}"));
        assert_eq!(read, Ok(record(None)));
    }

    #[test]
    fn a_missing_or_spoilt_header_is_named() {
        let whole = sent(&record(None));
        for name in [TYPE, SUBJECT, TIME, SEQUENCE, LANE, LANE_SEQ, CORRELATION, ID] {
            let mut headers = whole.clone();
            headers.remove(name);
            let read = Record::read(&given(&headers), Some(b"{}"));
            assert_eq!(read, Err(UnreadableEnvelope::Missing(name)));
            for spoilt in [vec![0xff], [&whole[name][..], b"\0"].concat()] {
                headers.insert(name.to_owned(), spoilt);
                let read = Record::read(&given(&headers), Some(b"{}"));
                assert_eq!(read, Err(UnreadableEnvelope::Invalid(name)));
            }
        }
        let read = Record::read(&given(&whole), None);
        assert_eq!(read, Err(UnreadableEnvelope::NoValue));
    }
}
