//! Consumer groups: what they have read, and whether they are settled.
//!
//! librdkafka answers for a group only to a client of that group, which takes four threads and half a megabyte. A hundred
//! systems have six hundred groups. So a bounded number of clients is kept, one for those that are asked about again and
//! again; the others come and go, in 35 ms and 4 ms of a processor. Who has read everything is not asked about at all
//! until more is written. (Measured on two cores, without TLS.)

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{ClientConfig, consumer::Consumer};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{TopicsError, client::Client};
use crate::service::ServiceName;

/// Clients that the process keeps: 26 MB, 200 threads and 400 sockets at most.
const KEPT_CLIENTS: usize = 48;
/// After how long without a question one makes room for another.
const IDLE: Duration = Duration::from_mins(1);
/// Groups that are remembered as having read everything, 100 bytes each.
const MAX_CAUGHT_UP: usize = 10_000;

static PLACES: Semaphore = Semaphore::const_new(KEPT_CLIENTS);

/// The groups of a cluster.
pub(super) struct Groups {
    brokers: String,
    config: ClientConfig,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    kept: HashMap<String, Kept>,
    /// How much was written when a group had read all of it.
    caught_up: HashMap<String, i64>,
}

struct Kept {
    client: Arc<Client>,
    used: Instant,
    _place: SemaphorePermit<'static>,
}

/// The full name of a consumer group.
pub(super) fn name(prefix: &str, group: &str) -> String {
    format!("{prefix}-{group}")
}

impl Groups {
    pub fn new(brokers: &str, config: ClientConfig) -> Self {
        Self { brokers: brokers.to_owned(), config, memory: Mutex::default() }
    }

    /// A client of a group, which connects by itself. It never joins the group.
    pub fn client(&self, group: &str) -> Result<Arc<Client>, TopicsError> {
        let now = Instant::now();
        let mut memory = self.memory();
        memory.kept.retain(|_, kept| !kept.client.is_lost());
        if let Some(kept) = memory.kept.get_mut(group) {
            kept.used = now;
            return Ok(Arc::clone(&kept.client));
        }
        let mut config = self.config.clone();
        let client = Arc::new(Client::new(&self.brokers, config.set("group.id", group))?);
        if let Ok(place) = PLACES.try_acquire() {
            let kept = Kept { client: Arc::clone(&client), used: now, _place: place };
            memory.kept.insert(group.to_owned(), kept);
        }
        Ok(client)
    }

    /// Lets clients go that nobody has asked for in a while.
    pub fn tidy(&self) {
        self.memory().kept.retain(|_, kept| kept.used.elapsed() < IDLE);
    }

    /// Whether a group had read everything when as much was written as now.
    pub fn is_caught_up(&self, group: &str, written: i64) -> bool {
        self.memory().caught_up.get(group) == Some(&written)
    }

    /// Remembers what a group has read of what was written.
    pub fn note(&self, group: &str, written: i64, read: i64) {
        let mut memory = self.memory();
        if read < written || memory.caught_up.len() >= MAX_CAUGHT_UP {
            memory.caught_up.remove(group);
        } else {
            memory.caught_up.insert(group.to_owned(), written);
        }
    }

    /// Forgets a system whose topics are deleted.
    pub fn forget(&self, prefix: &str) {
        let mut memory = self.memory();
        for group in ServiceName::ALL.iter().flat_map(|service| service.reads()) {
            let name = name(prefix, group.0);
            memory.kept.remove(&name);
            memory.caught_up.remove(&name);
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether every group of a service has members and has agreed who reads what.
pub(super) fn are_stable(client: &Client, prefix: &str, service: ServiceName) -> Result<bool, TopicsError> {
    for (group, _) in service.reads() {
        let name = name(prefix, group);
        let stable = client.ask(&format!("group {name}"), |consumer, timeout| {
            let found = consumer.fetch_group_list(Some(&name), timeout)?;
            Ok(found.groups().iter().any(|group| group.name() == name && group.state() == "Stable"))
        })?;
        if !stable {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Groups {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1");
        Groups::new("127.0.0.1:1", config)
    }

    #[test]
    fn a_group_that_has_read_everything_is_known_until_more_is_written() {
        let groups = groups();
        assert!(!groups.is_caught_up("shop-orders", 10));
        groups.note("shop-orders", 10, 10);
        assert!(groups.is_caught_up("shop-orders", 10));
        assert!(!groups.is_caught_up("shop-orders", 11));
        assert!(!groups.is_caught_up("shop-payments", 10));
        groups.note("shop-orders", 11, 10);
        assert!(!groups.is_caught_up("shop-orders", 10));
    }

    #[test]
    fn nothing_is_known_of_a_system_whose_topics_are_deleted() {
        let groups = groups();
        groups.note("shop-orders", 10, 10);
        groups.note("other-orders", 10, 10);
        groups.forget("shop");
        assert!(!groups.is_caught_up("shop-orders", 10));
        assert!(groups.is_caught_up("other-orders", 10));
    }

    #[test]
    fn a_bounded_number_of_clients_is_kept() {
        let groups = groups();
        let names: Vec<String> = (0..KEPT_CLIENTS + 4).map(|group| format!("shop-{group}")).collect();
        for group in &names {
            groups.client(group).expect("it need not connect");
        }
        assert_eq!(groups.memory().kept.len(), KEPT_CLIENTS);
        let again = [groups.client(&names[0]), groups.client(&names[0])].map(|client| client.expect("it is kept"));
        assert!(Arc::ptr_eq(&again[0], &again[1]));
    }
}
