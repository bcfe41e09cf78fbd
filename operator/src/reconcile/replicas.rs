//! How many replicas: who says so, and telling them.
//!
//! The field `spec.replicas` has one owner at a time: the spec's value is applied with the rest; the autoscaler sets it
//! through `/scale` under a name of its own; and what someone else set is left alone.

use std::{collections::BTreeMap, time::Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{ReconcileError, Reconciler, consumers::Consumers, memory::Memory};
use crate::{
    build::{AUTOSCALING_HASH, child_name, labels::MANAGER},
    rollout,
    service::ServiceName,
    validate::{Replicas, ValidSystem},
};

/// Who sets `replicas` of an autoscaled service, or keeps it when its spec does not say it any more.
const SCALER: &str = "ordersystem-scaler";

/// What scaling did.
#[derive(Default)]
pub(super) struct Scaled {
    pub changes: Vec<Change>,
    /// What keeps a service from having as many replicas as its backlog asks for.
    pub limits: BTreeMap<ServiceName, &'static str>,
}

/// A service that was scaled.
pub(super) struct Change {
    pub service: ServiceName,
    pub from: i32,
    pub to: i32,
    pub why: &'static str,
}

impl Reconciler {
    /// Scales the autoscaled services.
    pub(super) async fn scale(
        &self,
        valid: &ValidSystem,
        memory: &mut Memory,
        consumers: &Consumers,
        now: Instant,
    ) -> Result<Scaled, ReconcileError> {
        let mut scaled = Scaled::default();
        for (service, wanted) in &valid.services {
            let Replicas::Auto(autoscaling) = &wanted.replicas else {
                memory.scalers.remove(service);
                continue;
            };
            let name = child_name(&valid.name, *service);
            let Some(live) = self.children.get::<Deployment>(&valid.namespace, &name) else {
                continue;
            };
            if let Some(owner) = other_owner(&live) {
                tracing::debug!(name, owner, "replicas are someone else's");
                scaled.limits.insert(*service, "OwnedByOther");
                continue;
            }
            let current = live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let ready = live.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
            let backlog = consumers.backlogs.get(service);
            let memory = memory.scalers.entry(*service).or_default();
            let decision = memory.decide(now, autoscaling, valid.lanes, current, ready, backlog);
            if let Some(limit) = decision.limited_by {
                scaled.limits.insert(*service, limit.as_str());
            }
            // A pod too many or too few during a rollout would only hold it up.
            if decision.replicas != current && rollout::progress(&live, None).stuck.is_none() {
                self.set_replicas(&valid.namespace, &name, decision.replicas).await?;
                let why = decision.why.as_str();
                tracing::info!(name, from = current, to = decision.replicas, why, "scaled");
                scaled.changes.push(Change { service: *service, from: current, to: decision.replicas, why });
            }
        }
        Ok(scaled)
    }

    /// Before we stop saying how many replicas there are, someone has to own the number: it would fall back to one. And
    /// when the spec's autoscaling changes, the user wants it to decide again, whoever decided since.
    pub(super) async fn hand_over_replicas(&self, namespace: &str, wanted: &Deployment) -> Result<(), ReconcileError> {
        let name = wanted.name_any();
        let says = wanted.spec.as_ref().is_some_and(|spec| spec.replicas.is_some());
        let Some(live) = self.children.get::<Deployment>(namespace, &name).filter(|_| !says) else {
            return Ok(());
        };
        let count = live.spec.as_ref().and_then(|spec| spec.replicas);
        match count {
            Some(count) if owners(&live).contains(&MANAGER) || is_taken_back(&live, wanted) => {
                self.set_replicas(namespace, &name, count).await
            }
            _ => Ok(()),
        }
    }

    async fn set_replicas(&self, namespace: &str, name: &str, count: i32) -> Result<(), ReconcileError> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let scale = json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": { "name": name, "namespace": namespace },
            "spec": { "replicas": count },
        });
        let params = PatchParams::apply(SCALER).force();
        let patched = api.patch_scale(name, &params, &Patch::Apply(&scale)).await;
        self.metrics.writes.inc();
        patched.map(drop).map_err(|error| ReconcileError::Scale(Box::new(error)))
    }
}

/// Who owns `spec.replicas`.
fn owners(deployment: &Deployment) -> Vec<&str> {
    let fields = deployment.metadata.managed_fields.iter().flatten();
    let owns = fields
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get("f:replicas").is_some()));
    owns.filter_map(|entry| entry.manager.as_deref()).collect()
}

/// Who owns it when it is neither of ours.
fn other_owner(deployment: &Deployment) -> Option<&str> {
    let owners = owners(deployment);
    let ours = owners.iter().any(|owner| [MANAGER, SCALER].contains(owner));
    owners.first().copied().filter(|_| !ours)
}

fn is_taken_back(live: &Deployment, wanted: &Deployment) -> bool {
    let hash = |deployment: &Deployment| deployment.annotations().get(AUTOSCALING_HASH).cloned();
    hash(wanted).is_some_and(|wanted| hash(live).is_some_and(|live| live != wanted)) && other_owner(live).is_some()
}
