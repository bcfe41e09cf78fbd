//! Rollouts, one service at a time. Pure.
//!
//! A service is rolled when what its pods are made from changes. The next one's turn comes when the one before is ready,
//! its consumer groups are settled, which is when its lanes are owned again, and its backlog is back under its bound.

use k8s_openapi::api::apps::v1::Deployment;

use crate::{build::TEMPLATE, service::ServiceName};

/// How old a backlog may be before the next service is rolled.
pub const BACKLOG_BOUND_SECONDS: f64 = 10.0;

/// How one service stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The service.
    pub service: ServiceName,
    /// What is there.
    pub live: Option<Progress>,
    /// Whether its pods would be made from something else than now.
    pub changes: bool,
    /// What it is kept at as long as it has to wait, if it changes and that is known.
    pub held: Option<Deployment>,
}

impl Standing {
    /// How a service stands of which `live` is there.
    pub fn new(service: ServiceName, wanted: &Deployment, live: Option<&Deployment>) -> Self {
        let said = wanted.spec.as_ref().and_then(|spec| spec.replicas);
        let changes = live.is_some_and(|live| template(wanted) != template(live));
        let held = live.filter(|_| changes).and_then(|live| held(wanted, live));
        Self { service, live: live.map(|live| progress(live, said)), changes, held }
    }

    /// Whether its pods are all there, as they are wanted.
    pub fn is_finished(&self) -> bool {
        !self.changes && self.live.as_ref().is_some_and(|live| live.complete)
    }
}

/// How far a Deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its controller has seen the last change, every pod is of it, and is ready.
    pub complete: bool,
    /// It made no progress for longer than its deadline.
    pub stuck: Option<String>,
    /// Whether it is to have pods at all.
    pub has_pods: bool,
}

/// What may happen now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Services that keep the pods they have until it is their turn.
    pub waiting: Vec<ServiceName>,
    /// Who is being waited for.
    pub rolling: Option<ServiceName>,
    /// A service whose pods are not all there, as they are wanted.
    pub unfinished: Option<ServiceName>,
    /// Why it does not get on.
    pub stuck: Option<String>,
}

/// Decides from the services' standing, in the order in which they are rolled. `consumes` is whether a service's groups are
/// settled and its backlog is under the bound; nothing is known while Kafka is away, and nothing is asked of a service that is
/// to have no pods. What does not change, or is not there at all, never waits. A rollout that is stuck may be replaced by another one of the same service.
pub fn turn(standings: &[Standing], consumes: impl Fn(ServiceName) -> bool) -> Turn {
    let mut turn = Turn::default();
    for standing in standings {
        turn.unfinished = turn.unfinished.or(Some(standing.service).filter(|_| !standing.is_finished()));
        let Some(live) = &standing.live else { continue };
        if turn.rolling.is_some() {
            turn.waiting.extend(Some(standing.service).filter(|_| standing.changes));
        } else if !standing.is_finished() || (live.has_pods && !consumes(standing.service)) {
            turn.rolling = Some(standing.service);
            turn.stuck.clone_from(&live.stuck);
        }
    }
    turn
}

/// How far a Deployment is, as `kubectl rollout status` tells it; not complete if it has another number of replicas than
/// the spec says.
pub fn progress(deployment: &Deployment, said: Option<i32>) -> Progress {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let seen = status.observed_generation >= deployment.metadata.generation;
    let at_least = |count: Option<i32>| count.unwrap_or(0) >= wanted;
    let complete = seen
        && said.is_none_or(|said| said == wanted)
        && at_least(status.updated_replicas)
        && at_least(status.ready_replicas)
        && status.replicas.unwrap_or(0) <= wanted
        && status.unavailable_replicas.unwrap_or(0) == 0;
    let conditions = status.conditions.unwrap_or_default();
    let stuck = conditions.into_iter().find(|condition| {
        condition.type_ == "Progressing" && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    let stuck = stuck.filter(|_| seen && !complete).map(|condition| condition.message.unwrap_or_default());
    Progress { complete, stuck, has_pods: wanted > 0 }
}

/// What is `wanted`, but for the pods: these stay as they were last applied, whatever someone made of them since. Nothing
/// if that is not known.
fn held(wanted: &Deployment, live: &Deployment) -> Option<Deployment> {
    let written = template(live)?;
    let mut held = wanted.clone();
    held.spec.as_mut()?.template = serde_json::from_str(written).ok()?;
    held.metadata.annotations.get_or_insert_default().insert(TEMPLATE.to_owned(), written.clone());
    Some(held)
}

fn template(deployment: &Deployment) -> Option<&String> {
    deployment.metadata.annotations.as_ref()?.get(TEMPLATE)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::{
            apps::v1::DeploymentSpec,
            core::v1::{Container, PodSpec, PodTemplateSpec},
        },
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;
    use ServiceName::{Inventory, Notification, Order, Payment};

    fn standing(service: ServiceName, changes: bool, complete: bool) -> Standing {
        Standing { service, live: Some(Progress { complete, stuck: None, has_pods: true }), changes, held: None }
    }

    fn all(changes: bool) -> Vec<Standing> {
        ServiceName::CONSUMERS_FIRST.into_iter().map(|service| standing(service, changes, true)).collect()
    }

    fn keeps_up(standings: &[Standing]) -> Turn {
        turn(standings, |_| true)
    }

    #[test]
    fn a_new_system_is_made_at_once() {
        let none = all(false).into_iter().map(|standing| Standing { live: None, ..standing });
        let turn = keeps_up(&none.collect::<Vec<_>>());
        assert_eq!((turn.waiting, turn.unfinished), (Vec::new(), Some(Notification)));
    }

    #[test]
    fn when_all_change_the_last_consumer_is_rolled_first_and_the_others_wait() {
        let turn = keeps_up(&all(true));
        assert_eq!(turn.unfinished, Some(Notification));
        assert_eq!(turn.waiting, [Payment, Inventory, Order]);
        assert_eq!(turn.rolling, Some(Notification));
    }

    #[test]
    fn the_next_waits_until_the_one_before_is_complete_and_has_caught_up() {
        let mut standings = all(true);
        standings[0] = standing(Notification, false, false);
        assert_eq!(keeps_up(&standings).waiting, [Payment, Inventory, Order]);
        standings[0] = standing(Notification, false, true);
        assert_eq!(turn(&standings, |service| service != Notification).waiting, [Payment, Inventory, Order]);
        assert_eq!(keeps_up(&standings).waiting, [Inventory, Order]);
    }

    #[test]
    fn nobody_waits_for_a_service_without_pods_to_consume() {
        let mut standings = all(true);
        standings[0] = standing(Notification, false, true);
        if let Some(live) = &mut standings[0].live {
            live.has_pods = false;
        }
        assert_eq!(turn(&standings, |service| service != Notification).waiting, [Inventory, Order]);
    }

    #[test]
    fn a_stuck_rollout_stops_the_others_and_may_be_replaced() {
        let mut standings = all(true);
        let stuck = Some(Progress { complete: false, stuck: Some("no image".to_owned()), has_pods: true });
        standings[0] = Standing { live: stuck, ..standings[0].clone() };
        let turn = keeps_up(&standings);
        assert_eq!(turn.stuck.as_deref(), Some("no image"));
        assert_eq!(turn.waiting, [Payment, Inventory, Order]);
    }

    #[test]
    fn what_does_not_change_never_waits() {
        let mut standings = all(false);
        assert_eq!(keeps_up(&standings).unfinished, None);
        standings[0] = standing(Notification, false, false);
        let turn = keeps_up(&standings);
        assert_eq!((turn.waiting, turn.unfinished), (Vec::new(), Some(Notification)));
    }

    fn deployment(image: &str, replicas: i32) -> Deployment {
        let container = Container { image: Some(image.to_owned()), ..Container::default() };
        let pod = PodSpec { containers: vec![container], ..PodSpec::default() };
        let template = PodTemplateSpec { spec: Some(pod), metadata: None };
        let written = serde_json::to_string(&template).unwrap_or_default();
        let metadata =
            ObjectMeta { annotations: Some([(TEMPLATE.to_owned(), written)].into()), ..ObjectMeta::default() };
        let spec = DeploymentSpec { replicas: Some(replicas), template, ..DeploymentSpec::default() };
        Deployment { metadata, spec: Some(spec), status: None }
    }

    #[test]
    fn who_waits_keeps_the_pods_that_were_applied_and_all_else_is_as_wanted() {
        let mut live = deployment("shop:1", 1);
        if let Some(spec) = &mut live.spec {
            spec.template = PodTemplateSpec::default();
        }
        let standing = Standing::new(Payment, &deployment("shop:2", 3), Some(&live));
        assert!(standing.changes);
        assert_eq!(standing.held, Some(deployment("shop:1", 3)));
    }

    #[test]
    fn what_was_applied_by_someone_else_is_not_known() {
        let standing = Standing::new(Payment, &deployment("shop:2", 1), Some(&Deployment::default()));
        assert_eq!((standing.changes, standing.held), (true, None));
    }
}
