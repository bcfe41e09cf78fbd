//! The inventory service: how many units of each product are available, held for orders, and sold.
//!
//! It reads the orders' events, holds all lines of an order or none, and shows what there is under `/inventory`.

mod http;
pub mod messages;
mod settings;
pub mod stock;
pub mod store;
pub mod view;

use std::sync::Arc;

use contract::Topic;
use journal::{FOLLOWING, GATHERING, Journal, OpenError, Opening, Transport};
use process::{Process, Service};

pub use http::border;
pub use settings::Settings;
use store::Inventory;
use view::InventoryView;

/// The service's name.
const NAME: &str = "inventory";
/// Where its tables are.
pub const SCHEMA: &str = "inventory";
/// Where its view's tables are.
pub const VIEW_SCHEMA: &str = "inventory_view";

/// Its journal, as it is opened.
pub const OPENING: Opening = Opening {
    schema: SCHEMA,
    publishes: Some(Topic::Inventory),
    consumes: &[Topic::Orders],
    passes: messages::PASSES,
    migrations: store::MIGRATIONS,
    batching: FOLLOWING,
};

/// Its view, as it is opened.
pub const VIEW_OPENING: Opening = Opening {
    schema: VIEW_SCHEMA,
    publishes: None,
    consumes: &[Topic::Inventory],
    passes: &[],
    migrations: view::MIGRATIONS,
    batching: GATHERING,
};

/// Why inventory could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its journal could not be opened.
    #[error("cannot open the journal of inventory")]
    Journal(#[source] OpenError),
    /// Its view's journal could not be opened.
    #[error("cannot open the view of inventory")]
    View(#[source] OpenError),
}

/// Starts inventory; it works until the process stops.
pub async fn start(settings: &Settings, transport: &Transport, process: &Process) -> Result<Service, StartError> {
    let inventory = Arc::new(Inventory::new(&process.metrics().for_service(NAME)));
    let journal = Journal::open(OPENING, inventory, &settings.journal, transport, process);
    let journal = journal.await.map_err(StartError::Journal)?;
    let view = Journal::open(VIEW_OPENING, Arc::new(InventoryView), &settings.journal, transport, process);
    let view = view.await.map_err(StartError::View)?;
    let (router, openapi) = http::routes(journal, view).split_for_parts();
    Ok(Service { name: NAME, router, openapi })
}
