//! What the services say to each other, and nothing of how they do it: lanes, topics, the event envelope, the events
//! themselves, and the names of the environment variables that the operator writes and the services read.
//!
//! The events are declared here once. A service's `decide` returns them, its journal stores their encoding, and the
//! same bytes travel to every reader.

pub mod env;
pub mod envelope;
pub mod event;
pub mod id;
pub mod lane;
pub mod money;
pub mod notice;
pub mod order;
pub mod payment;
pub mod stock;
pub mod topic;

pub use envelope::{Envelope, Record};
pub use event::Event;
pub use id::{CustomerId, ProductId};
pub use lane::{Lane, Lanes};
pub use money::Currency;
pub use topic::Topic;
