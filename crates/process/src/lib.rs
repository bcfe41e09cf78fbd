//! How one process lives: it starts its log, serves HTTP, says how it is, and stops in good order.
//!
//! A service is a [`Service`]: routes with the document that describes them. [`serve`] puts any number behind one
//! address with the actuator, the documentation and the habits that every answer shares. [`Process`] is what they hold
//! in common: the stop signal, the background tasks, [`Health`] and [`Metrics`].

mod actuator;
mod app;
mod catch;
mod docs;
mod edge;
mod extract;
pub mod headers;
pub mod health;
mod lifecycle;
pub mod metrics;
pub mod negotiation;
pub mod page;
pub mod problem;
mod serve;
pub mod telemetry;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use app::{Service, app};
pub use extract::{Json, MAX_BODY_BYTES, Path, Query, parse, parse_query};
pub use health::{Component, Health};
pub use lifecycle::{BoxError, Failure, Process, TaskOutcome};
pub use metrics::Metrics;
pub use problem::{Problem, Violation};
pub use serve::{ListenSettings, ServeError, serve};

/// The version every crate of the workspace shares.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Locks, also after a panic elsewhere: what the locks here guard is valid between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
