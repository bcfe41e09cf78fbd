//! Topics, and how far the services are in them.

use std::{collections::BTreeMap, time::Instant};

use super::memory::Memory;
use crate::{
    backlog::Backlog,
    kafka::{Cluster, TopicsError},
    rollout::BACKLOG_BOUND_SECONDS,
    service::ServiceName,
    status::Found,
    validate::ValidSystem,
};

/// How topics and consumers were found.
pub(super) struct Consumers {
    pub topics: Found,
    pub backlogs: BTreeMap<ServiceName, Backlog>,
    /// Services whose consumer groups are settled; all of them while nobody needs to know.
    settled: Vec<ServiceName>,
}

impl Consumers {
    /// Whether a service has its lanes and its backlog is under the bound; not as long as nothing is known.
    pub fn keeps_up(&self, service: ServiceName) -> bool {
        let backlog = self.backlogs.get(&service);
        self.settled.contains(&service) && backlog.is_some_and(|backlog| backlog.seconds < BACKLOG_BOUND_SECONDS)
    }
}

/// Makes the topics that are missing and looks how far everyone is; `rolling` is whether the groups matter as well.
pub(super) async fn observe(memory: &mut Memory, valid: &ValidSystem, rolling: bool) -> Consumers {
    match look(memory, valid, rolling).await {
        Ok(consumers) => consumers,
        Err(error) => Consumers {
            topics: Err((error.reason(), error.to_string())),
            backlogs: BTreeMap::new(),
            settled: Vec::new(),
        },
    }
}

async fn look(memory: &mut Memory, valid: &ValidSystem, rolling: bool) -> Result<Consumers, TopicsError> {
    let cluster = connected(memory, valid)?;
    cluster.ensure_topics(&valid.topic_prefix, valid.lanes, valid.replication).await?;
    let positions = cluster.positions(&valid.topic_prefix, valid.lanes).await?;
    let now = Instant::now();
    let mut backlogs = BTreeMap::new();
    let mut settled = Vec::new();
    for (service, positions) in positions {
        let history = memory.histories.entry(service).or_default();
        history.push(now, positions);
        if let Some(backlog) = history.backlog() {
            backlogs.insert(service, backlog);
        }
        if !rolling || cluster.group_stable(&valid.topic_prefix, service).await? {
            settled.push(service);
        }
    }
    Ok(Consumers { topics: Ok(()), backlogs, settled })
}

/// The client of the brokers; a new one when they or the log-in changed, or when the old one is lost.
fn connected(memory: &mut Memory, valid: &ValidSystem) -> Result<Cluster, TopicsError> {
    let known = memory.cluster.as_ref().filter(|cluster| *cluster.access() == valid.access);
    if let Some(cluster) = known.filter(|cluster| !cluster.is_lost()) {
        return Ok(cluster.clone());
    }
    if known.is_none() {
        memory.histories.clear();
    }
    let cluster = Cluster::new(&valid.access)?;
    memory.cluster = Some(cluster.clone());
    Ok(cluster)
}
