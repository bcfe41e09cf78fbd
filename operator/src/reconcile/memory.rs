//! What is remembered of a system between reconciliations. It can be lost at any time: the cluster is the truth.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use kube::ResourceExt;

use crate::{backlog::History, kafka::Cluster, resource::OrderSystem, scale::Scaler, service::ServiceName};

/// What is remembered of one system.
#[derive(Default)]
pub(super) struct Memory {
    /// The client of its brokers.
    pub cluster: Option<Cluster>,
    /// What was seen of its services' backlogs.
    pub histories: BTreeMap<ServiceName, History>,
    /// How its autoscaled services are scaled.
    pub scalers: BTreeMap<ServiceName, Scaler>,
}

/// What is remembered of all systems, by uid.
#[derive(Default)]
pub(super) struct Memories(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Memory>>>>);

impl Memories {
    /// The memory of one system.
    pub fn of(&self, system: &OrderSystem) -> Arc<tokio::sync::Mutex<Memory>> {
        let uid = system.uid().unwrap_or_default();
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(uid).or_default())
    }

    /// How many systems are remembered.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forgets the systems whose uid is not among these.
    pub fn retain(&self, uids: &BTreeSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| uids.contains(uid));
    }
}
