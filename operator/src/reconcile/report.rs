//! Telling the user: the status, and events for what changes.

use std::collections::BTreeMap;

use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::error_boundary::InvalidObject,
    runtime::events::{Event, EventType, Recorder, Reporter as Source},
};
use serde_json::json;

use super::{ReconcileError, consumers::Consumers, replicas::Change};
use crate::{
    build::{child_name, labels::MANAGER},
    observe::Children,
    resource::{Condition, OrderSystem, ServiceStatus, Status},
    service::ServiceName,
    status::{Outcome, Reason, status},
    validate::{Refusal, ValidSystem, Violation},
};

/// The longest note of an event, in bytes.
const MAX_NOTE: usize = 1024;
/// A backlog that is shown is rounded to this many digits, so that it is not written with every record.
const BACKLOG_DIGITS: u32 = 2;

/// Who tells.
pub(super) struct Reporter {
    client: Client,
    recorder: Recorder,
}

impl Reporter {
    /// `identity` is this replica.
    pub fn new(client: Client, identity: &str) -> Self {
        let source = Source { controller: MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client.clone(), source), client }
    }

    /// Writes the status if it differs, and an event if the summary does. Gives the number of writes.
    pub async fn tell(&self, system: &OrderSystem, outcome: &Outcome) -> Result<u64, ReconcileError> {
        let generation = system.meta().generation.unwrap_or_default();
        let before = system.status.as_ref();
        let after = status(generation, before, outcome, &now());
        if before == Some(&after) {
            return Ok(0);
        }
        self.write(system, &after).await?;
        let mut writes = 1;
        for (kind, condition) in changed(before, &after) {
            self.event(system, kind, &condition.reason, &condition.message).await;
            writes += 1;
        }
        Ok(writes)
    }

    /// Says of an object that cannot be read that it cannot.
    pub async fn unreadable(&self, object: &InvalidObject) -> Result<(), ReconcileError> {
        let metadata = object.metadata.clone();
        let violation = Violation(object.error.clone());
        let outcome = Outcome::Refused(Refusal::Invalid(vec![violation]));
        let name = metadata.name.clone().unwrap_or_default();
        let api: Api<OrderSystem> =
            Api::namespaced(self.client.clone(), metadata.namespace.as_deref().unwrap_or_default());
        let after = status(metadata.generation.unwrap_or_default(), None, &outcome, &now());
        let patch = Patch::Merge(json!({ "status": after }));
        tracing::warn!(namespace = metadata.namespace, name, error = object.error, "an OrderSystem cannot be read");
        let patched = api.patch_status(&name, &PatchParams::default(), &patch).await;
        match patched {
            // The answer is as unreadable as the object is.
            Ok(_) | Err(kube::Error::SerdeError(_)) => Ok(()),
            Err(error) => Err(ReconcileError::Status(Box::new(error))),
        }
    }

    /// A service was scaled.
    pub async fn scaled(&self, system: &OrderSystem, change: &Change) {
        let Change { service, from, to, why } = change;
        self.event(system, EventType::Normal, "Scaled", &format!("{service} from {from} to {to}: {why}")).await;
    }

    /// The topics stay although they were to be deleted.
    pub async fn topics_left(&self, system: &OrderSystem, reason: &str) {
        self.event(system, EventType::Warning, "TopicsLeft", &format!("the topics stay: {reason}")).await;
    }

    async fn write(&self, system: &OrderSystem, after: &Status) -> Result<(), ReconcileError> {
        let api: Api<OrderSystem> = Api::namespaced(self.client.clone(), &system.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({ "status": after }));
        match api.patch_status(&system.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(ReconcileError::Status(Box::new(error))),
        }
    }

    async fn event(&self, system: &OrderSystem, kind: EventType, reason: &str, note: &str) {
        let mut note = note.to_owned();
        note.truncate(note.floor_char_boundary(MAX_NOTE));
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &system.object_ref(&())).await {
            tracing::warn!(name = system.name_any(), %error, "an event could not be written");
        }
    }
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The conditions to write an event for: those that say something new about readiness, topics and the database.
fn changed<'a>(before: Option<&'a Status>, after: &'a Status) -> Vec<(EventType, &'a Condition)> {
    let told = ["Ready", "TopicsReady", "DatabaseReady"];
    let said = |status: &'a Status, kind: &str| status.conditions.iter().find(|condition| condition.kind == kind);
    let is_new = |condition: &&Condition| {
        let old = before.and_then(|before| said(before, &condition.kind));
        told.contains(&condition.kind.as_str())
            && old.is_none_or(|old| old.status != condition.status || old.reason != condition.reason)
    };
    let kind = |condition: &Condition| {
        let is_fine = condition.status == "True" || condition.reason == Reason::Progressing.as_str();
        if is_fine { EventType::Normal } else { EventType::Warning }
    };
    after.conditions.iter().filter(is_new).map(|condition| (kind(condition), condition)).collect()
}

/// Every service, as it stands.
pub(super) fn services(
    valid: &ValidSystem,
    children: &Children,
    consumers: &Consumers,
    limits: &BTreeMap<ServiceName, &'static str>,
) -> Vec<ServiceStatus> {
    let one = |service: ServiceName| {
        let live = children.get::<Deployment>(&valid.namespace, &child_name(&valid.name, service));
        let wanted = valid.services.get(&service).map_or(1, |service| service.replicas.at_first());
        let replicas =
            live.as_ref().map_or(wanted, |live| live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1));
        let live = live.as_deref().cloned().unwrap_or_default();
        let status = live.status.unwrap_or_default();
        let is_seen = status.observed_generation >= live.metadata.generation;
        let backlog = consumers.backlogs.get(&service).copied().unwrap_or_default();
        ServiceStatus {
            name: service.as_str().to_owned(),
            replicas,
            ready_replicas: status.ready_replicas.unwrap_or(0),
            updated_replicas: if is_seen { status.updated_replicas.unwrap_or(0) } else { 0 },
            backlog: rounded(backlog.records),
            backlog_seconds: rounded(whole_seconds(backlog.seconds)),
            limited_by: limits.get(&service).map(|limit| (*limit).to_owned()),
        }
    };
    ServiceName::ALL.into_iter().map(one).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "ages of backlogs are far below 2^53 seconds")]
fn whole_seconds(seconds: f64) -> i64 {
    seconds as i64
}

fn rounded(count: i64) -> i64 {
    let digits = count.max(1).ilog10();
    let unit = 10_i64.pow(digits.saturating_sub(BACKLOG_DIGITS - 1));
    count / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_shown_with_two_digits() {
        assert_eq!([0, 7, 42, 123, 98_765].map(rounded), [0, 7, 42, 120, 98_000]);
    }
}
