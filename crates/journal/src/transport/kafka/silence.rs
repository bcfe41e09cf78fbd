//! A client that no broker answers any more is made anew.
//!
//! Brokers that are about to stop, or are not let in by their controller yet, answer with an empty list of brokers. From
//! that librdkafka concludes that it may forget all of them, also those that it was configured with, and then there is
//! nobody whom it could ask (confluentinc/librdkafka#5301, open in 2.15). Only another client begins with them again.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientContext,
    client::Client,
    error::{KafkaError, KafkaResult},
};

/// How long nobody may answer. Brokers that are only slow, or away, are found by the same client; a new one does no harm
/// then, as it has nothing to lose.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a client has not been answered.
pub(super) struct Silence {
    heard: Instant,
}

impl Silence {
    /// Of a client that was made just now.
    pub fn new() -> Self {
        Self { heard: Instant::now() }
    }

    /// It was answered.
    pub fn ends(&mut self) {
        self.heard = Instant::now();
    }

    /// For how long.
    pub fn lasts(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Whether it takes another client.
    pub fn is_lasting(&self) -> bool {
        self.lasts() >= SILENCE
    }
}

/// Asks the brokers for a topic, which need not be there, to see whether they answer.
pub(super) fn ask<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> KafkaResult<()> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    // Who knows of no broker is none.
    if metadata.brokers().is_empty() { Err(KafkaError::NoMessageReceived) } else { Ok(()) }
}
