//! What the operator says about a system. Pure: from what was found and done to conditions.
//!
//! Ready, Reconciling and Stalled are as kstatus has them: `kubectl wait` and every tool that reads them understands.

use crate::{
    resource::{Condition, ServiceStatus, Status},
    rollout::Turn,
    validate::{Refusal, Violation},
};

/// Closed list of reasons; each is one word for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All is as wanted.
    Ready,
    /// Services are on their way to what is wanted.
    Progressing,
    /// A rollout makes no progress.
    RolloutStuck,
    /// The spec cannot be used.
    InvalidSpec,
    /// Secrets are missing.
    SecretMissing,
    /// The topics are not as they have to be.
    TopicsNotReady,
    /// The database is not there.
    DatabaseNotReady,
    /// The API server refused something.
    ApplyFailed,
    /// The operator changes nothing.
    Paused,
    /// The operator is at work.
    NotPaused,
    /// Topics or database are there.
    Found,
}

impl Reason {
    /// As it is written in conditions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Progressing => "Progressing",
            Self::RolloutStuck => "RolloutStuck",
            Self::InvalidSpec => "InvalidSpec",
            Self::SecretMissing => "SecretMissing",
            Self::TopicsNotReady => "TopicsNotReady",
            Self::DatabaseNotReady => "DatabaseNotReady",
            Self::ApplyFailed => "ApplyFailed",
            Self::Paused => "Paused",
            Self::NotPaused => "NotPaused",
            Self::Found => "Found",
        }
    }
}

/// How something that a system needs was found: a reason in one word and a sentence when it is not as it has to be.
pub type Found = Result<(), (&'static str, String)>;

/// What was found and done.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The operator was told to change nothing.
    Paused,
    /// Nothing can be built.
    Refused(Refusal),
    /// The API server refused something, for this reason; it is tried again.
    Failed(String),
    /// It was built and applied.
    Applied(Applied),
}

/// What was found and done with a system that could be built.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Its topics.
    pub topics: Found,
    /// Its database.
    pub database: Found,
    /// Its services.
    pub services: Vec<ServiceStatus>,
    /// Whose turn it is.
    pub turn: Turn,
}

/// The status that follows. `before` gives the times of what did not change; `now` is RFC 3339.
pub fn status(generation: i64, before: Option<&Status>, outcome: &Outcome, now: &str) -> Status {
    let mut status = before.cloned().unwrap_or_default();
    status.observed_generation = generation;
    if let Outcome::Applied(applied) = outcome {
        status.services.clone_from(&applied.services);
        status.backlog = applied.services.iter().map(|service| service.backlog).sum();
        let order = applied.services.iter().find(|service| service.name == "order");
        status.orders = order.map_or_else(String::new, |order| format!("{}/{}", order.ready_replicas, order.replicas));
    }
    let old = std::mem::take(&mut status.conditions);
    status.conditions = conditions(outcome)
        .into_iter()
        .map(|said| {
            let same = old.iter().find(|old| old.kind == said.kind && old.status == said.status);
            Condition {
                kind: said.kind.to_owned(),
                status: said.status.to_owned(),
                reason: said.reason.to_owned(),
                message: said.message,
                last_transition_time: same.map_or_else(|| now.to_owned(), |old| old.last_transition_time.clone()),
                observed_generation: generation,
            }
        })
        .collect();
    // What is not known now stays as it was.
    for old in old {
        if !status.conditions.iter().any(|condition| condition.kind == old.kind) {
            status.conditions.push(old);
        }
    }
    status
}

/// Whether something is known, and how it is.
const TRUE: &str = "True";
const FALSE: &str = "False";

struct Said {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn said(kind: &'static str, holds: bool, reason: &'static str, message: impl Into<String>) -> Said {
    Said { kind, status: if holds { TRUE } else { FALSE }, reason, message: message.into() }
}

fn conditions(outcome: &Outcome) -> Vec<Said> {
    match outcome {
        Outcome::Paused => vec![said("Paused", true, Reason::Paused.as_str(), "the operator changes nothing")],
        Outcome::Refused(refusal) => refused(refusal),
        Outcome::Failed(why) => vec![
            said("Ready", false, Reason::ApplyFailed.as_str(), why),
            said("Reconciling", true, Reason::ApplyFailed.as_str(), why),
            said("Stalled", false, Reason::ApplyFailed.as_str(), ""),
        ],
        Outcome::Applied(applied) => self::applied(applied),
    }
}

fn refused(refusal: &Refusal) -> Vec<Said> {
    let mut all = vec![said("Paused", false, Reason::NotPaused.as_str(), "")];
    match refusal {
        Refusal::Invalid(violations) => {
            let text = violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ");
            all.extend(standstill(Reason::InvalidSpec, &text));
        }
        Refusal::Missing { kafka, database } => {
            let reason = Reason::SecretMissing;
            all.extend(standstill(reason, &kafka.iter().chain(database).cloned().collect::<Vec<_>>().join("; ")));
            let needed = [("TopicsReady", kafka), ("DatabaseReady", database)];
            let missing = needed.into_iter().filter(|(_, missing)| !missing.is_empty());
            all.extend(missing.map(|(kind, missing)| said(kind, false, reason.as_str(), missing.join("; "))));
        }
    }
    all
}

/// Nothing goes on until someone changes something.
fn standstill(reason: Reason, text: &str) -> [Said; 3] {
    [
        said("Ready", false, reason.as_str(), text),
        said("Reconciling", false, reason.as_str(), ""),
        said("Stalled", true, reason.as_str(), text),
    ]
}

fn applied(applied: &Applied) -> Vec<Said> {
    let (reason, message) = summary(applied);
    let ready = reason == Reason::Ready;
    let stalled = reason == Reason::RolloutStuck;
    let found = |kind, found: &Found| match found {
        Ok(()) => said(kind, true, Reason::Found.as_str(), ""),
        Err((reason, message)) => said(kind, false, reason, message.clone()),
    };
    vec![
        said("Ready", ready, reason.as_str(), message.clone()),
        said("Reconciling", !ready && !stalled, reason.as_str(), if ready { String::new() } else { message.clone() }),
        said("Stalled", stalled, reason.as_str(), if stalled { message } else { String::new() }),
        found("TopicsReady", &applied.topics),
        found("DatabaseReady", &applied.database),
        said("Paused", false, Reason::NotPaused.as_str(), ""),
    ]
}

/// The one thing that matters most.
fn summary(applied: &Applied) -> (Reason, String) {
    if let Err((_, message)) = &applied.topics {
        return (Reason::TopicsNotReady, message.clone());
    }
    if let Err((_, message)) = &applied.database {
        return (Reason::DatabaseNotReady, message.clone());
    }
    if let (Some(service), Some(why)) = (applied.turn.rolling, &applied.turn.stuck) {
        let held = waiting(&applied.turn);
        return (Reason::RolloutStuck, format!("{service} makes no progress: {why}{held}"));
    }
    let behind = applied
        .services
        .iter()
        .find(|service| service.ready_replicas < service.replicas || service.updated_replicas < service.replicas);
    if let Some(service) = behind {
        let (ready, wanted) = (service.ready_replicas, service.replicas);
        let held = waiting(&applied.turn);
        return (Reason::Progressing, format!("{}: {ready} of {wanted} replicas are ready{held}", service.name));
    }
    if let Some(service) = applied.turn.unfinished {
        let held = waiting(&applied.turn);
        return (Reason::Progressing, format!("{service} changes{held}"));
    }
    if let Some(service) = applied.turn.rolling.filter(|_| !applied.turn.waiting.is_empty()) {
        let held = waiting(&applied.turn);
        return (Reason::Progressing, format!("{service} catches up with its backlog{held}"));
    }
    (Reason::Ready, "all services are ready".to_owned())
}

fn waiting(turn: &Turn) -> String {
    if turn.waiting.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = turn.waiting.iter().map(|service| service.as_str()).collect();
    format!("; waiting for their turn: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ServiceName;

    fn fine() -> Applied {
        let one = |name: ServiceName| ServiceStatus {
            name: name.to_string(),
            replicas: 2,
            ready_replicas: 2,
            updated_replicas: 2,
            backlog: 3,
            ..ServiceStatus::default()
        };
        let services = ServiceName::ALL.map(one).to_vec();
        Applied { topics: Ok(()), database: Ok(()), services, turn: Turn::default() }
    }

    fn condition<'a>(status: &'a Status, kind: &str) -> (&'a str, &'a str, &'a str) {
        let found = status.conditions.iter().find(|condition| condition.kind == kind);
        found.map_or(("", "", ""), |it| (it.status.as_str(), it.reason.as_str(), it.message.as_str()))
    }

    #[test]
    fn a_system_that_is_as_wanted_is_ready_and_nothing_else() {
        let status = status(7, None, &Outcome::Applied(fine()), "now");
        assert_eq!(condition(&status, "Ready").0, "True");
        assert_eq!(condition(&status, "Reconciling").0, "False");
        assert_eq!(condition(&status, "Stalled").0, "False");
        assert_eq!((status.orders.as_str(), status.backlog, status.observed_generation), ("2/2", 12, 7));
    }

    #[test]
    fn what_did_not_change_keeps_its_time_and_is_the_same_again() {
        let outcome = Outcome::Applied(fine());
        let first = status(1, None, &outcome, "then");
        assert_eq!(status(1, Some(&first), &outcome, "now"), first);
        let away = Applied { topics: Err(("Unreachable", "no answer".to_owned())), ..fine() };
        let second = status(1, Some(&first), &Outcome::Applied(away), "now");
        assert_eq!(condition(&second, "TopicsReady"), ("False", "Unreachable", "no answer"));
        assert_eq!(condition(&second, "Ready").1, "TopicsNotReady");
        let times = |kind: &str| {
            let found = second.conditions.iter().find(|condition| condition.kind == kind);
            found.map(|condition| condition.last_transition_time.clone())
        };
        assert_eq!(times("TopicsReady").as_deref(), Some("now"));
        assert_eq!(times("DatabaseReady").as_deref(), Some("then"));
    }

    #[test]
    fn a_change_that_is_not_seen_by_its_deployment_yet_is_not_ready() {
        let turn = Turn { unfinished: Some(ServiceName::Order), ..Turn::default() };
        let status = status(2, None, &Outcome::Applied(Applied { turn, ..fine() }), "now");
        assert_eq!(condition(&status, "Ready"), ("False", "Progressing", "order changes"));
        assert_eq!(condition(&status, "Reconciling").0, "True");
    }

    #[test]
    fn a_stuck_rollout_is_stalled_and_says_who_waits() {
        let turn = Turn {
            rolling: Some(ServiceName::Payment),
            unfinished: Some(ServiceName::Payment),
            stuck: Some("no such image".to_owned()),
            waiting: vec![ServiceName::Inventory, ServiceName::Order],
        };
        let status = status(1, None, &Outcome::Applied(Applied { turn, ..fine() }), "now");
        let message = "payment makes no progress: no such image; waiting for their turn: inventory, order";
        assert_eq!(condition(&status, "Stalled"), ("True", "RolloutStuck", message));
        assert_eq!(condition(&status, "Reconciling").0, "False");
    }

    #[test]
    fn every_violation_is_told_at_once_and_what_runs_is_still_told_of() {
        let before = status(1, None, &Outcome::Applied(fine()), "then");
        let violations = ["lanes: 1 to 256", "ingress.host: a lower-case host name"];
        let violations = violations.map(|text| Violation(text.to_owned())).to_vec();
        let after = status(2, Some(&before), &Outcome::Refused(Refusal::Invalid(violations)), "now");
        let message = "lanes: 1 to 256; ingress.host: a lower-case host name";
        assert_eq!(condition(&after, "Ready"), ("False", "InvalidSpec", message));
        assert_eq!(condition(&after, "TopicsReady").0, "True");
        assert_eq!(after.orders, "2/2");
    }
}
