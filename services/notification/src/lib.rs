//! Notification: a customer is told once of what became of an order.
//!
//! It reads the orders' events, keeps a notice for each thing worth telling, and shows them under `/notifications`.

mod http;
pub mod messages;
pub mod notice;
mod settings;
pub mod store;

use std::sync::Arc;

use contract::Topic;
use journal::{GATHERING, Journal, OpenError, Opening, Transport};
use process::{Process, Service};

pub use settings::Settings;
use store::{MIGRATIONS, Notices};

/// The service's name.
const NAME: &str = "notification";
/// Where its tables are.
pub const SCHEMA: &str = "notifications";

/// Its journal, as it is opened.
pub const OPENING: Opening = Opening {
    schema: SCHEMA,
    publishes: Some(Topic::Notifications),
    consumes: &[Topic::Orders],
    passes: messages::PASSES,
    migrations: MIGRATIONS,
    batching: GATHERING,
};

/// Why notification could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its journal could not be opened.
    #[error("cannot open the journal of notifications")]
    Journal(#[from] OpenError),
}

/// Starts notification; it works until the process stops.
pub async fn start(settings: &Settings, transport: &Transport, process: &Process) -> Result<Service, StartError> {
    let notices = Arc::new(Notices::new(&process.metrics().for_service(NAME)));
    let journal = Journal::open(OPENING, notices, &settings.journal, transport, process).await?;
    let (router, openapi) = http::routes(journal).split_for_parts();
    Ok(Service { name: NAME, router, openapi })
}
