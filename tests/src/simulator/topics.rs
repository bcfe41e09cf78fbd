//! The broker: topics of lanes, in memory, in the encoding that travels.

use std::collections::BTreeMap;
use std::rc::Rc;

use contract::{Envelope, Lane, Record, Topic};
use journal::protocol::{Body, Incoming};

/// A message, as it is sent.
#[derive(Debug)]
pub struct Message {
    headers: Vec<(String, Vec<u8>)>,
    value: Vec<u8>,
    /// Which event it carries.
    pub seq: i64,
}

/// Every topic's lanes.
#[derive(Debug, Default)]
pub struct Topics(BTreeMap<(Topic, Lane), Vec<Rc<Message>>>);

impl Message {
    /// A record of `topic`'s journal, encoded.
    pub fn of(topic: Topic, record: &Record) -> Rc<Self> {
        let mut headers = Vec::with_capacity(13);
        record.headers(topic, |name, value| headers.push((name.to_owned(), value.to_owned())));
        Rc::new(Self { headers, value: record.data.to_vec(), seq: record.seq })
    }

    /// What a consumer makes of it that passes over these kinds.
    pub fn incoming(&self, source: Topic, lane: Lane, offset: usize, passes: &[&str]) -> Incoming {
        let headers = self.headers.iter().map(|(name, value)| (&**name, &**value));
        let read = Body::of(&Envelope::of(headers), Some(&self.value), lane, passes);
        let body = read.unwrap_or_else(|error| {
            let (reason, payload) = (error.to_string(), Some(self.value.clone()));
            Body::Unreadable { reason, key: None, payload }
        });
        Incoming { source, lane, offset: i64::try_from(offset).unwrap_or(i64::MAX), body }
    }
}

impl Topics {
    /// Appends a message to a lane.
    pub fn append(&mut self, topic: Topic, lane: Lane, message: Rc<Message>) {
        self.0.entry((topic, lane)).or_default().push(message);
    }

    /// A lane's messages.
    pub fn lane(&self, topic: Topic, lane: Lane) -> &[Rc<Message>] {
        self.0.get(&(topic, lane)).map_or(&[], Vec::as_slice)
    }

    /// Loses the last `count` messages of a lane. What comes next gets their offsets.
    pub fn lose(&mut self, topic: Topic, lane: Lane, count: usize) {
        if let Some(messages) = self.0.get_mut(&(topic, lane)) {
            messages.truncate(messages.len().saturating_sub(count));
        }
    }
}
