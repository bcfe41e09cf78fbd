//! What the operator does with Kafka: makes the topics of a system, and looks how far its services are in them.
//!
//! Nothing is ever consumed. Whoever asks waits on a thread for blocking work, and every question has a bound.

mod access;
mod client;
mod error;
mod groups;
mod positions;
mod topics;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use contract::Lanes;

pub use access::{Access, SaslAccess, TlsAccess};
pub use error::TopicsError;
pub use topics::TopicsState;

use crate::{backlog::Positions, service::ServiceName};
use client::Client;
use groups::Groups;

/// The clients in use. A hundred systems on the same brokers with the same log-in need one, not a hundred.
static IN_USE: Mutex<Vec<Weak<Clients>>> = Mutex::new(Vec::new());

/// A Kafka cluster, as one log-in sees it. Clones and clusters of equal [`Access`] share their connections, which end
/// with the last of them.
#[derive(Clone)]
pub struct Cluster {
    clients: Arc<Clients>,
}

struct Clients {
    access: Access,
    /// For everything that is not about a consumer group.
    client: Client,
    groups: Groups,
}

impl Cluster {
    /// A client for the cluster. Nothing is connected yet, but what it connects with is read: a certificate that is none
    /// is an error here.
    pub fn new(access: &Access) -> Result<Self, TopicsError> {
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|clients| clients.upgrade().is_some_and(|clients| !clients.client.is_lost()));
        let known = in_use.iter().filter_map(Weak::upgrade).find(|clients| clients.access == *access);
        if let Some(clients) = known {
            return Ok(Self { clients });
        }
        let config = access.config();
        let client = Client::new(&access.bootstrap_servers, &config)?;
        let groups = Groups::new(&access.bootstrap_servers, config);
        let clients = Arc::new(Clients { access: access.clone(), client, groups });
        in_use.push(Arc::downgrade(&clients));
        Ok(Self { clients })
    }

    /// What it was made from.
    pub fn access(&self) -> &Access {
        &self.clients.access
    }

    /// Whether nobody has answered for so long that a new one should be made.
    pub fn is_lost(&self) -> bool {
        self.clients.client.is_lost()
    }

    /// Creates the topics of a system that are missing, with a partition per lane. When all are there nothing is written.
    /// Topics that exist keep their settings, but must have as many partitions as the system has lanes.
    pub async fn ensure_topics(
        &self,
        prefix: &str,
        lanes: Lanes,
        replication: i32,
    ) -> Result<TopicsState, TopicsError> {
        let prefix = prefix.to_owned();
        self.ask(move |clients| topics::ensure(clients, &prefix, lanes, replication)).await
    }

    /// Deletes the topics of a system. Those that are missing need no deletion.
    pub async fn delete_topics(&self, prefix: &str) -> Result<(), TopicsError> {
        let prefix = prefix.to_owned();
        self.ask(move |clients| topics::delete(clients, &prefix)).await
    }

    /// How far each service is in what it reads. Where one never said, it has read nothing of what is still there.
    pub async fn positions(&self, prefix: &str, lanes: Lanes) -> Result<BTreeMap<ServiceName, Positions>, TopicsError> {
        let prefix = prefix.to_owned();
        self.ask(move |clients| positions::of_all(clients, &prefix, lanes)).await
    }

    /// Whether every consumer group of a service has members and has agreed who reads what.
    pub async fn group_stable(&self, prefix: &str, service: ServiceName) -> Result<bool, TopicsError> {
        let prefix = prefix.to_owned();
        self.ask(move |clients| groups::are_stable(&clients.client, &prefix, service)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Clients) -> Result<T, TopicsError> + Send + 'static,
    ) -> Result<T, TopicsError> {
        let clients = Arc::clone(&self.clients);
        let asked = tokio::task::spawn_blocking(move || question(&clients)).await;
        asked.map_err(|_| TopicsError::Interrupted)?
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.clients.access).finish()
    }
}
