//! Rollouts, one service at a time. Pure.
//!
//! A service is rolled when what its pods are made from changes. The next one's turn comes when the one before is ready,
//! its consumer groups are settled, which is when its lanes are owned again, and its backlog is back under its bound.

use k8s_openapi::api::apps::v1::Deployment;

use crate::{build::TEMPLATE_HASH, service::ServiceName};

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
    /// Whether its groups are settled and its backlog is under the bound; nothing is known while Kafka is away.
    pub consumes: bool,
}

/// How far a Deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its controller has seen the last change, every pod is of it, and is ready.
    pub complete: bool,
    /// It made no progress for longer than its deadline.
    pub stuck: Option<String>,
}

/// What may happen now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Services whose Deployments may be applied.
    pub apply: Vec<ServiceName>,
    /// Services that have to wait, and for whom.
    pub waiting: Vec<ServiceName>,
    /// Who is being waited for.
    pub rolling: Option<ServiceName>,
    /// A service whose pods are not all there, as they are wanted.
    pub unfinished: Option<ServiceName>,
    /// Why it does not get on.
    pub stuck: Option<String>,
}

/// Decides from the services' standing, in the order in which they are rolled. What does not change, or is not there at
/// all, is always applied. A rollout that is stuck may be replaced by another one of the same service.
pub fn turn(standings: &[Standing]) -> Turn {
    let mut turn = Turn::default();
    for standing in standings {
        let finished = !standing.changes && standing.live.as_ref().is_some_and(|live| live.complete);
        turn.unfinished = turn.unfinished.or(Some(standing.service).filter(|_| !finished));
        let Some(live) = &standing.live else {
            turn.apply.push(standing.service);
            continue;
        };
        let may = !standing.changes || turn.rolling.is_none();
        if may {
            turn.apply.push(standing.service);
        } else {
            turn.waiting.push(standing.service);
        }
        if turn.rolling.is_none() && (standing.changes || !live.complete || !standing.consumes) {
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
    Progress { complete, stuck }
}

/// Whether pods would be made from something else than what was last applied.
pub fn changes(wanted: &Deployment, live: &Deployment) -> bool {
    template_hash(wanted) != template_hash(live)
}

fn template_hash(deployment: &Deployment) -> Option<&String> {
    deployment.metadata.annotations.as_ref()?.get(TEMPLATE_HASH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServiceName::{Inventory, Notification, Order, Payment};

    fn standing(service: ServiceName, changes: bool, complete: bool) -> Standing {
        Standing { service, live: Some(Progress { complete, stuck: None }), changes, consumes: true }
    }

    fn all(changes: bool) -> Vec<Standing> {
        ServiceName::CONSUMERS_FIRST.into_iter().map(|service| standing(service, changes, true)).collect()
    }

    #[test]
    fn a_new_system_is_made_at_once() {
        let none = all(true).into_iter().map(|standing| Standing { live: None, ..standing });
        assert_eq!(turn(&none.collect::<Vec<_>>()).apply, ServiceName::CONSUMERS_FIRST);
    }

    #[test]
    fn when_all_change_the_last_consumer_is_rolled_first_and_the_others_wait() {
        let turn = turn(&all(true));
        assert_eq!(turn.unfinished, Some(Notification));
        assert_eq!(turn.apply, [Notification]);
        assert_eq!(turn.waiting, [Payment, Inventory, Order]);
        assert_eq!(turn.rolling, Some(Notification));
    }

    #[test]
    fn the_next_waits_until_the_one_before_is_complete_and_has_caught_up() {
        let mut standings = all(true);
        standings[0] = standing(Notification, false, false);
        assert_eq!(turn(&standings).apply, [Notification]);
        standings[0] = Standing { consumes: false, ..standing(Notification, false, true) };
        assert_eq!(turn(&standings).apply, [Notification]);
        standings[0] = standing(Notification, false, true);
        assert_eq!(turn(&standings).apply, [Notification, Payment]);
    }

    #[test]
    fn a_stuck_rollout_stops_the_others_and_may_be_replaced() {
        let mut standings = all(true);
        let stuck = Some(Progress { complete: false, stuck: Some("no image".to_owned()) });
        standings[0] = Standing { live: stuck, ..standings[0].clone() };
        let turn = turn(&standings);
        assert_eq!(turn.apply, [Notification]);
        assert_eq!(turn.stuck.as_deref(), Some("no image"));
        assert_eq!(turn.waiting, [Payment, Inventory, Order]);
    }

    #[test]
    fn what_does_not_change_is_always_put_back() {
        let mut standings = all(false);
        assert_eq!(turn(&standings).unfinished, None);
        standings[0] = standing(Notification, false, false);
        assert_eq!(turn(&standings).apply, ServiceName::CONSUMERS_FIRST);
        assert_eq!(turn(&standings).unfinished, Some(Notification));
    }
}
