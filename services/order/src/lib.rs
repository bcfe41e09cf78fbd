//! The order service: takes orders and settles each one through what inventory and payment report.
//!
//! It keeps the orders in the schema `orders`, lists them from the view in `orders_view`, and serves them under
//! `/orders`.

mod admission;
mod deadline;
mod http;
pub mod messages;
mod metrics;
pub mod order;
pub mod settings;
pub mod store;
pub mod view;
mod waiting;

use std::sync::Arc;

use contract::Topic;
use journal::{GATHERING, Journal, OpenError, Opening, PROMPT, Transport};
use process::{Process, Service};

use admission::Admission;
pub use http::border;
use metrics::OrderMetrics;
pub use settings::Settings;
use store::Orders;
use view::OrdersView;
use waiting::Waiters;

/// The service's name.
const NAME: &str = "order";
/// Where its tables are.
pub const SCHEMA: &str = "orders";
/// Where its view is.
pub const VIEW_SCHEMA: &str = "orders_view";

/// Its journal, as it is opened.
pub const OPENING: Opening = Opening {
    schema: SCHEMA,
    publishes: Some(Topic::Orders),
    consumes: &[Topic::Inventory, Topic::Payments],
    passes: messages::PASSES,
    migrations: store::MIGRATIONS,
    batching: PROMPT,
};

/// Its view, as it is opened.
pub const VIEW_OPENING: Opening = Opening {
    schema: VIEW_SCHEMA,
    publishes: None,
    consumes: &[Topic::Orders],
    passes: &[],
    migrations: view::MIGRATIONS,
    batching: GATHERING,
};

/// Why the order service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its journal could not be opened.
    #[error("cannot open the journal of orders")]
    Journal(#[source] OpenError),
    /// Its view could not be opened.
    #[error("cannot open the view of orders")]
    View(#[source] OpenError),
}

/// Starts the order service; it works until the process stops.
pub async fn start(settings: &Settings, transport: &Transport, process: &Process) -> Result<Service, StartError> {
    let metrics = OrderMetrics::register(&process.metrics().for_service(NAME));
    let waiters = Waiters::new(metrics.waiting.clone());
    let admission = Admission::new(metrics.on_their_way.clone());
    let (lanes, policy) = (settings.journal.lanes, settings.policy());
    let orders = Orders::new(lanes, policy, waiters.clone(), admission.clone(), metrics);
    let journal = Journal::open(OPENING, Arc::new(orders), &settings.journal, transport, process).await;
    let journal = journal.map_err(StartError::Journal)?;
    let view = Journal::open(VIEW_OPENING, Arc::new(OrdersView), &settings.journal, transport, process).await;
    let view = view.map_err(StartError::View)?;

    let stop = process.stop();
    process.spawn("order deadlines", deadline::sweep(journal.clone(), stop.clone()));
    process.spawn("order waiters", waiting::poll(waiters.clone(), journal.reads().clone(), stop.clone()));

    let (router, openapi) = http::routes(journal, &view, waiters, admission, stop.clone()).split_for_parts();
    Ok(Service { name: NAME, router, openapi })
}
