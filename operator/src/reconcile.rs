//! One reconciliation, a straight line: observe → validate → build → topics → apply → status.

mod consumers;
mod delete;
mod memory;
mod replicas;
mod report;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Client, Resource, ResourceExt, runtime::controller::Action};

use crate::{
    Settings,
    apply::{Applier, Writes},
    build::{Desired, build},
    controller::Guarded,
    metrics::{Ended, OperatorMetrics},
    observe::{self, Children, reach},
    resource::OrderSystem,
    rollout::{self, Standing, Turn},
    service::ServiceName,
    status::{Applied, Found, Outcome},
    validate::{Defaults, Refusal, ValidSystem, named, validate},
};
use consumers::Consumers;
use memory::Memories;
use report::Reporter;

/// How soon a system is looked at again while something is on its way, and when all is as wanted.
const SOON: Duration = Duration::from_secs(3);
const LATER: Duration = Duration::from_secs(15);
/// How soon a system is looked at again that waits for its user. What it waits for also triggers.
const MUCH_LATER: Duration = Duration::from_mins(5);

/// Why a reconciliation failed.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The children have not been listed.
    #[error("the objects of the cluster could not be listed in time")]
    NotListed,
    /// It took too long.
    #[error("it took too long")]
    TimedOut,
    /// Secrets could not be read.
    #[error("Secrets cannot be read: {}", answer(.0))]
    Secrets(#[source] Box<kube::Error>),
    /// An object could not be applied.
    #[error("an object cannot be applied: {}", answer(.0))]
    Apply(#[source] Box<kube::Error>),
    /// A number of replicas could not be set.
    #[error("a service cannot be scaled: {}", answer(.0))]
    Scale(#[source] Box<kube::Error>),
    /// The status could not be written.
    #[error("the status cannot be written: {}", answer(.0))]
    Status(#[source] Box<kube::Error>),
    /// The finalizer could not be set or removed.
    #[error("the finalizer cannot be changed: {}", answer(.0))]
    Finalizer(#[source] Box<kube::Error>),
}

/// What the API server said, without the rest of its answer.
pub(crate) fn answer(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// What reconciles.
pub struct Reconciler {
    client: Client,
    children: Children,
    applier: Applier,
    defaults: Defaults,
    memories: Memories,
    reporter: Reporter,
    metrics: OperatorMetrics,
}

impl Reconciler {
    /// A reconciler that compares with `children`.
    pub fn new(client: Client, settings: &Settings, children: Children, metrics: OperatorMetrics) -> Self {
        Self {
            applier: Applier::new(client.clone(), children.clone()),
            reporter: Reporter::new(client.clone(), &settings.identity),
            defaults: settings.defaults(),
            memories: Memories::default(),
            client,
            children,
            metrics,
        }
    }

    /// Forgets the systems that are not there any more; `uids` are those that are.
    pub fn retain(&self, uids: &BTreeSet<String>) {
        self.memories.retain(uids);
        self.applier.forget_missing();
    }

    /// How many systems are remembered.
    pub fn remembered(&self) -> usize {
        self.memories.len()
    }

    /// Makes one system as it is wanted, as far as possible now, and says how it is.
    pub async fn reconcile(&self, system: &Arc<Guarded>) -> Result<(Ended, Action), ReconcileError> {
        if !self.children.listed().await {
            return Err(ReconcileError::NotListed);
        }
        let system = match &system.0 {
            Ok(system) => system,
            Err(unreadable) => {
                self.reporter.unreadable(unreadable).await?;
                return Ok((Ended::Refused, Action::await_change()));
            }
        };
        if system.meta().deletion_timestamp.is_some() {
            return self.delete(system).await;
        }
        self.keep_finalizer(system).await?;
        let outcome = match self.outcome(system).await {
            Ok(outcome) => outcome,
            Err(error) => {
                // The user is told, and then it is tried again.
                self.metrics.writes.inc_by(self.reporter.tell(system, &Outcome::Failed(error.to_string())).await?);
                return Err(error);
            }
        };
        let ended = if matches!(outcome, Outcome::Refused(_)) { Ended::Refused } else { Ended::Done };
        let writes = self.reporter.tell(system, &outcome).await?;
        self.metrics.writes.inc_by(writes);
        Ok((ended, next(system, &outcome)))
    }

    async fn outcome(&self, system: &OrderSystem) -> Result<Outcome, ReconcileError> {
        if system.spec.paused {
            return Ok(Outcome::Paused);
        }
        let namespace = system.namespace().unwrap_or_default();
        let secrets = observe::secrets(&self.client, &namespace, &named(&system.spec)).await;
        let secrets = secrets.map_err(|error| ReconcileError::Secrets(Box::new(error)))?;
        match validate(system, &self.defaults, &secrets) {
            Ok(valid) => self.make(system, &valid, &secrets).await.map(Outcome::Applied),
            Err(refusal) => Ok(Outcome::Refused(refusal)),
        }
    }

    async fn make(
        &self,
        system: &OrderSystem,
        valid: &ValidSystem,
        secrets: &observe::Secrets,
    ) -> Result<Applied, ReconcileError> {
        let desired = build(valid);
        let memory = self.memories.of(system);
        let mut memory = memory.lock().await;
        // Looked at first: whoever is complete now has rejoined its groups by the time that these are asked about.
        let standings = self.standings(valid, &desired);
        let rolling = standings.iter().any(|standing| !standing.is_finished());
        let (consumers, database) =
            tokio::join!(consumers::observe(&mut memory, valid, rolling), database(valid, secrets));
        let turn = rollout::turn(&standings, |service| consumers.keeps_up(service));
        self.apply(valid, &desired, &standings, &turn, &consumers).await?;
        let scaled = self.scale(valid, &mut memory, &consumers, Instant::now()).await?;
        for change in &scaled.changes {
            self.reporter.scaled(system, change).await;
        }
        let services = report::services(valid, &self.children, &consumers, &scaled.limits);
        Ok(Applied { topics: consumers.topics, database, services, turn })
    }

    /// How every service stands, in the order in which they are rolled.
    fn standings(&self, valid: &ValidSystem, desired: &Desired) -> Vec<Standing> {
        let standing = |(service, wanted): &(_, Deployment)| {
            let live = self.children.get::<Deployment>(&valid.namespace, &wanted.name_any());
            Standing::new(*service, wanted, live.as_deref())
        };
        desired.deployments.iter().map(standing).collect()
    }

    async fn apply(
        &self,
        valid: &ValidSystem,
        desired: &Desired,
        standings: &[Standing],
        turn: &Turn,
        consumers: &Consumers,
    ) -> Result<(), ReconcileError> {
        let failed = |error| ReconcileError::Apply(Box::new(error));
        let (owner, namespace) = (valid.owner.uid.as_str(), valid.namespace.as_str());
        let mut writes = Writes::default();
        writes += self.applier.objects(namespace, &desired.config_maps).await.map_err(failed)?;
        // As long as pods may be there that were told something else, they may start again and be told again.
        if turn.unfinished.is_none() {
            writes += self.applier.no_others(owner, namespace, &desired.config_maps).await.map_err(failed)?;
        }
        writes += self.applier.objects(namespace, &desired.service_accounts).await.map_err(failed)?;
        writes += self.applier.objects(namespace, &desired.services).await.map_err(failed)?;
        writes += self.applier.objects(namespace, &desired.disruption_budgets).await.map_err(failed)?;
        writes += self.applier.kind(owner, namespace, &desired.network_policies).await.map_err(failed)?;
        writes += self.applier.kind(owner, namespace, &desired.ingresses).await.map_err(failed)?;
        // While the brokers are away the pods are left alone: new ones would only wait as well.
        if consumers.topics.is_ok() {
            for ((service, wanted), standing) in desired.deployments.iter().zip(standings) {
                let waits = turn.waiting.contains(service);
                let Some(deployment) = (if waits { standing.held.as_ref() } else { Some(wanted) }) else { continue };
                self.hand_over_replicas(namespace, deployment).await?;
                writes += self.applier.object(namespace, deployment).await.map_err(failed)?;
            }
        }
        self.metrics.writes.inc_by(u64::from(writes.applied + writes.pruned));
        Ok(())
    }
}

/// How the database was found.
async fn database(valid: &ValidSystem, secrets: &observe::Secrets) -> Found {
    let at = &valid.mounts.database_url;
    let url = secrets.get(&at.secret).and_then(|data| data.get(&at.key));
    let url = url.map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default();
    reach(url.trim(), &valid.namespace).await.map_err(|error| (error.reason(), error.to_string()))
}

/// When to look again. A burst is over before an autoscaler that looks seldom has seen it.
fn next(system: &OrderSystem, outcome: &Outcome) -> Action {
    match outcome {
        Outcome::Paused | Outcome::Failed(_) | Outcome::Refused(Refusal::Invalid(_)) => Action::await_change(),
        Outcome::Refused(Refusal::Missing { .. }) => Action::requeue(MUCH_LATER),
        Outcome::Applied(applied) => {
            let at_rest = applied.topics.is_ok() && applied.database.is_ok() && applied.turn.rolling.is_none();
            let idle = applied.services.iter().all(|service| service.backlog == 0);
            let services = ServiceName::ALL.map(|service| system.spec.services.get(service));
            let autoscaled = services.iter().any(|service| service.autoscaling.is_some());
            Action::requeue(if at_rest && idle && !autoscaled { LATER } else { SOON })
        }
    }
}
