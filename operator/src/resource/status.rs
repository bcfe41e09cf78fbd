//! What the operator says about an order system.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// What the operator says about an order system.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation of the spec that this is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// Ready, Reconciling, Stalled, `TopicsReady`, `DatabaseReady` and Paused.
    #[serde(default)]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Replicas of the order service, `ready/wanted`.
    #[serde(default)]
    pub orders: String,
    /// Records that services have yet to read.
    #[serde(default)]
    pub backlog: i64,
    /// Each service.
    #[serde(default)]
    pub services: Vec<ServiceStatus>,
}

/// One service.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// `order`, `inventory`, `payment` or `notification`.
    pub name: String,
    /// Wanted.
    #[serde(default)]
    pub replicas: i32,
    /// Ready for requests, with their share of the lanes.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Made from the present spec.
    #[serde(default)]
    pub updated_replicas: i32,
    /// Records that it has yet to read.
    #[serde(default)]
    pub backlog: i64,
    /// How old the oldest of them is, in seconds.
    #[serde(default)]
    pub backlog_seconds: i64,
    /// What keeps an autoscaled service from having as many replicas as its backlog asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<String>,
}

/// One aspect of an order system, as `metav1.Condition`.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// When `status` last changed, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// The generation of the spec that this is about.
    #[serde(default)]
    pub observed_generation: i64,
}
