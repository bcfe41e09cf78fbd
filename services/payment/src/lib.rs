//! Payment: what each order owes, and what the payment provider holds for it, took and gave back.
//!
//! It reads the orders' events, asks the provider, tells what came of it, and takes payments from outside under
//! `/payments`.

mod calls;
pub mod gateway;
mod http;
pub mod messages;
pub mod payment;
mod settings;
pub mod store;

use std::sync::Arc;

use contract::Topic;
use journal::{FOLLOWING, Journal, Opening, Transport};
use process::{Process, Service};

use calls::{Caller, Calls};
use gateway::simulated::{self, Simulated};
pub use http::border;
pub use settings::Settings;
use store::{Accounts, MIGRATIONS};

/// The service's name.
const NAME: &str = "payment";
/// Where its tables are.
pub const SCHEMA: &str = "payments";

/// Its journal, as it is opened.
pub const OPENING: Opening = Opening {
    schema: SCHEMA,
    publishes: Some(Topic::Payments),
    consumes: &[Topic::Orders],
    passes: messages::PASSES,
    migrations: MIGRATIONS,
    batching: FOLLOWING,
};

/// Why payment could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The payment provider could not be opened.
    #[error("cannot open the payment provider")]
    Provider(#[from] simulated::OpenError),
    /// Its journal could not be opened.
    #[error("cannot open the journal of payments")]
    Journal(#[from] journal::OpenError),
}

/// Starts payment; it works until the process stops.
pub async fn start(settings: &Settings, transport: &Transport, process: &Process) -> Result<Service, StartError> {
    let metrics = process.metrics().for_service(NAME);
    let provider = Simulated::open(&settings.journal.database, process).await?;
    let (calls, tickets) = Calls::new();
    let accounts = Arc::new(Accounts::new(calls.clone(), &metrics));
    let journal = Journal::open(OPENING, accounts, &settings.journal, transport, process).await?;
    let caller = Caller::new(provider, journal.clone(), &metrics);
    process.spawn("payment calls", caller.run(tickets, process.stop().clone()));
    process.spawn("payment sweep", calls::sweep(journal.clone(), calls, process.stop().clone()));
    let (router, openapi) = http::routes(journal).split_for_parts();
    Ok(Service { name: NAME, router, openapi })
}
