//! The end of a system. Its children go by their owner references; only topics need a hand.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::controller::Action,
};
use serde_json::json;
use tokio::time::timeout;

use super::{ReconcileError, Reconciler, SOON};
use crate::{
    kafka::Cluster,
    metrics::Ended,
    observe,
    resource::{DeletionPolicy, OrderSystem},
    validate::{named, topic_prefix, validate},
};

/// The finalizer of systems whose topics are to be deleted.
const FINALIZER: &str = "ordersystem.dev/topics";
/// How long the brokers may take for one attempt.
const ATTEMPT: Duration = Duration::from_secs(20);
/// How long after its deletion a system is held up for its topics' sake. Then they stay, and an event says so.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);

impl Reconciler {
    /// Sets the finalizer when topics are to be deleted in the end, and removes it when they are not.
    pub(super) async fn keep_finalizer(&self, system: &OrderSystem) -> Result<(), ReconcileError> {
        let wanted = system.spec.deletion_policy == DeletionPolicy::Delete;
        let set = system.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        match (wanted, set) {
            (true, false) => self.set_finalizer(system, true).await,
            (false, true) => self.set_finalizer(system, false).await,
            _ => Ok(()),
        }
    }

    /// Deletes the topics when that is wanted, within bounds, and lets the system go.
    pub(super) async fn delete(&self, system: &OrderSystem) -> Result<(Ended, Action), ReconcileError> {
        if system.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            if let Err(reason) = self.delete_topics(system).await {
                if !is_overdue(system) {
                    tracing::info!(name = system.name_any(), reason, "topics cannot be deleted yet");
                    return Ok((Ended::Done, Action::requeue(SOON)));
                }
                self.reporter.topics_left(system, &reason).await;
            }
            self.set_finalizer(system, false).await?;
        }
        Ok((Ended::Done, Action::await_change()))
    }

    async fn delete_topics(&self, system: &OrderSystem) -> Result<(), String> {
        let namespace = system.namespace().unwrap_or_default();
        let secrets = observe::secrets(&self.client, &namespace, &named(&system.spec)).await;
        let secrets = secrets.map_err(|error| error.to_string())?;
        let valid = validate(system, &self.defaults, &secrets);
        let valid = valid.map_err(|_| "the spec or its Secrets do not say how to reach the brokers".to_owned())?;
        let cluster = Cluster::new(&valid.access).map_err(|error| error.to_string())?;
        let deleted = timeout(ATTEMPT, cluster.delete_topics(&topic_prefix(system))).await;
        deleted.map_err(|_| "the brokers do not answer in time".to_owned())?.map_err(|error| error.to_string())
    }

    async fn set_finalizer(&self, system: &OrderSystem, set: bool) -> Result<(), ReconcileError> {
        let api: Api<OrderSystem> = Api::namespaced(self.client.clone(), &system.namespace().unwrap_or_default());
        let mut finalizers: Vec<&String> = system.finalizers().iter().filter(|it| *it != FINALIZER).collect();
        let ours = FINALIZER.to_owned();
        if set {
            finalizers.push(&ours);
        }
        let metadata = json!({ "finalizers": finalizers, "resourceVersion": system.resource_version() });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        match api.patch_metadata(&system.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => self.metrics.writes.inc(),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(error) => return Err(ReconcileError::Finalizer(Box::new(error))),
        };
        Ok(())
    }
}

fn is_overdue(system: &OrderSystem) -> bool {
    let deleted = system.meta().deletion_timestamp.as_ref();
    deleted.is_none_or(|at| Timestamp::now().duration_since(at.0) > PATIENCE)
}
