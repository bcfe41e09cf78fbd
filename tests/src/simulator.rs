//! The domain and the lane protocol in a world of our own: a virtual clock, tables and topics in memory, and every fault
//! that a network, a broker, a database and a payment provider have to offer, drawn from a seed.
//!
//! What runs is the services' own code: their borders read the records, their rules decide, their rows are changed, and the
//! lanes obey [`journal::protocol`]. What is simulated is what they run on. A world goes through two phases. In the first
//! everything may go wrong, and nothing that is never allowed may happen. Then the faults stop, and everything must settle.
//! The judge is the audit's own.
//!
//! Nothing here knows the time, the order of a hash map, or a thread, so a seed is the whole story: it can be told again.

mod clients;
mod faults;
mod judge;
mod parts;
mod provider;
mod replica;
mod service;
mod store;
mod topics;
mod world;

pub use faults::Rule;
pub use world::{Outcome, run};
