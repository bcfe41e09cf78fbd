//! A producer and the thread that hears what becomes of what was sent.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::{error::KafkaError, producer::BaseProducer};

use super::relay::{Relay, Reports};
use crate::{settings::KafkaSettings, transport::kafka::producer_config};

/// How long the thread listens at a time, and so how long a producer may outlive its last user. rdkafka cuts what is left of
/// that time to whole milliseconds and spins through the last one. Its own thread listens for a tenth of a second: a
/// hundredth of a core for each producer, and a twentieth of all that six journals cost at 1,000 orders a second.
const LISTEN: Duration = Duration::from_secs(1);

/// A producer and its thread.
pub(super) struct Producer {
    client: Arc<BaseProducer<Reports>>,
    thread: JoinHandle<()>,
}

/// Why there is no producer.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// The client refuses its settings.
    #[error(transparent)]
    Client(#[from] KafkaError),
    /// The system has no thread for it.
    #[error("it gets no thread: {0}")]
    Thread(#[from] io::Error),
}

impl Producer {
    /// A producer that tells `relay` what it hears.
    pub fn start(settings: &KafkaSettings, relay: &Arc<Relay>, schema: &'static str) -> Result<Self, ProducerError> {
        let reports = Reports { relay: Arc::clone(relay), schema };
        let client: Arc<BaseProducer<Reports>> = Arc::new(producer_config(settings).create_with_context(reports)?);
        let users = Arc::downgrade(&client);
        let thread = thread::Builder::new().name(format!("{schema}-out")).spawn(move || {
            while let Some(client) = users.upgrade() {
                client.poll(LISTEN);
            }
        })?;
        Ok(Self { client, thread })
    }

    /// To send with. Whoever keeps it keeps the producer open.
    pub fn client(&self) -> Arc<BaseProducer<Reports>> {
        Arc::clone(&self.client)
    }

    /// Closes it once nobody uses it, on its own thread, which ends with that: closing can hang when brokers are away.
    pub fn close(self) -> JoinHandle<()> {
        self.thread
    }
}
