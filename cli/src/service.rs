//! What one service in a process of its own is told.

use clap::Args;
use journal::KafkaSettings;
use process::ListenSettings;

/// Settings of one service in a process of its own.
#[derive(Args, Debug)]
pub struct ServiceSettings<S: Args> {
    /// What is the service's own.
    #[command(flatten)]
    pub service: S,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Where it listens.
    #[command(flatten)]
    pub listen: ListenSettings,
}
