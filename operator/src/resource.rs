//! `OrderSystem`, `ordersystem.dev/v1alpha1`: what a user applies.
//!
//! Whatever one object can say by itself that is wrong is refused by the API server, by bounds and by the rules (CEL) at
//! each type; [`validate`](crate::validate) holds the same rules for objects that never passed one.

mod schema;
mod status;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::service::ServiceName;
pub use status::{Condition, ServiceStatus, Status};

/// The longest name of an `OrderSystem`: what its children add to it has to fit into a label of 63 characters.
pub const MAX_NAME: usize = 40;

/// What a user says about an order system.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "ordersystem.dev",
    version = "v1alpha1",
    kind = "OrderSystem",
    namespaced,
    status = "Status",
    derive = "PartialEq",
    doc = "An event-driven order system: its topics, and the order, inventory, payment and notification services.",
    shortname = "ordersys",
    shortname = "osys",
    category = "all",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("metadata.name: at most 40 lower-case letters, digits and hyphens, beginning with a letter"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(
        name = "Orders",
        type_ = "string",
        json_path = ".status.orders",
        description = "Replicas of the order service, ready and wanted"
    ),
    printcolumn(
        name = "Backlog",
        type_ = "integer",
        json_path = ".status.backlog",
        description = "Records that services have yet to read"
    ),
    printcolumn(name = "Lanes", type_ = "integer", json_path = ".spec.lanes"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.services.order.replicas) ? self.services.order.replicas : 0) <= self.lanes && (has(self.services.order.autoscaling) ? self.services.order.autoscaling.maxReplicas : 0) <= self.lanes").message("services.order: not more replicas than lanes"),
    validation = Rule::new("(has(self.services.inventory.replicas) ? self.services.inventory.replicas : 0) <= self.lanes && (has(self.services.inventory.autoscaling) ? self.services.inventory.autoscaling.maxReplicas : 0) <= self.lanes").message("services.inventory: not more replicas than lanes"),
    validation = Rule::new("(has(self.services.payment.replicas) ? self.services.payment.replicas : 0) <= self.lanes && (has(self.services.payment.autoscaling) ? self.services.payment.autoscaling.maxReplicas : 0) <= self.lanes").message("services.payment: not more replicas than lanes"),
    validation = Rule::new("(has(self.services.notification.replicas) ? self.services.notification.replicas : 0) <= self.lanes && (has(self.services.notification.autoscaling) ? self.services.notification.autoscaling.maxReplicas : 0) <= self.lanes").message("services.notification: not more replicas than lanes"),
)]
pub struct OrderSystemSpec {
    /// Image of the services. By default the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Secrets to pull the image with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<NameRef>,
    /// Partitions of every topic: how many replicas of a service can share its work. Cannot be changed.
    #[serde(default = "default_lanes")]
    #[schemars(range(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("lanes: cannot be changed"))]
    pub lanes: u16,
    /// The brokers that carry the events.
    pub kafka: Kafka,
    /// The PostgreSQL that keeps the events.
    pub database: Database,
    /// How orders are decided.
    #[serde(default)]
    pub orders: Orders,
    /// How customers pay.
    #[serde(default)]
    pub payment: Payment,
    /// Each service's replicas, resources and pods.
    #[serde(default)]
    pub services: Services,
    /// The way in from outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// Who may reach the pods.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
    /// While true, the operator changes nothing.
    #[serde(default)]
    pub paused: bool,
    /// What becomes of the topics when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn default_lanes() -> u16 {
    12
}

/// Another object of the same namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct NameRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a Secret of the same namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// The brokers.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.topicPrefix) ? self.topicPrefix : '') == (has(oldSelf.topicPrefix) ? oldSelf.topicPrefix : '')").message("kafka.topicPrefix: cannot be changed"))]
pub struct Kafka {
    /// `host:port`, several separated by commas.
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = Rule::new("self.matches('^[^\\\\s,:]+:[0-9]{1,5}(,[^\\\\s,:]+:[0-9]{1,5})*$')").message("kafka.bootstrapServers: host:port, several separated by commas"))]
    pub bootstrap_servers: String,
    /// What the topics' names begin with; by default the name of this object. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9._-]+$')").message("kafka.topicPrefix: letters, digits, dots, underscores and hyphens"))]
    pub topic_prefix: Option<String>,
    /// Replicas of each topic that the operator creates.
    #[serde(default = "default_replication_factor")]
    #[schemars(range(min = 1, max = 15))]
    pub replication_factor: i32,
    /// Speak TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
}

fn default_replication_factor() -> i32 {
    3
}

/// TLS to the brokers. The Secrets that Strimzi writes fit as they are.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The authority that signed the brokers' certificates, `ca.crt` by default; without it, the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<KeyRef>,
    /// Our certificate and key, `user.crt` and `user.key` or `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<NameRef>,
}

/// A log-in at the brokers.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sasl {
    /// How we show who we are.
    pub mechanism: SaslMechanism,
    /// The user.
    #[schemars(length(min = 1, max = 255))]
    pub username: String,
    /// The password, at the key `password` by default.
    pub password_secret: KeyRef,
}

/// How a client shows a broker who it is.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum SaslMechanism {
    /// The password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Challenge and response with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Challenge and response with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// Its name in Kafka.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// The database.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// The connection URL, at the key `uri` by default. The Secret that `CloudNativePG` writes fits as it is.
    pub url_secret: KeyRef,
    /// The authority that signed PostgreSQL's certificate, `ca.crt` by default; without it, the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<KeyRef>,
}

/// How orders are decided.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Orders {
    /// How long an order waits for stock and payment: a number with `s`, `m`, `h` or `d`, from 1s to 90d.
    #[serde(default = "default_payment_timeout")]
    #[schemars(length(min = 2, max = 8))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+[smhd]$') && int(self.substring(0, self.size() - 1)) * (self.endsWith('s') ? 1 : self.endsWith('m') ? 60 : self.endsWith('h') ? 3600 : 86400) >= 1 && int(self.substring(0, self.size() - 1)) * (self.endsWith('s') ? 1 : self.endsWith('m') ? 60 : self.endsWith('h') ? 3600 : 86400) <= 7776000").message("orders.paymentTimeout: a whole number with s, m, h or d, from 1s to 90d"))]
    pub payment_timeout: String,
    /// Declined attempts after which an order is rejected.
    #[serde(default = "default_payment_attempts")]
    #[schemars(range(min = 1, max = 100))]
    pub payment_attempts: i32,
}

impl Default for Orders {
    fn default() -> Self {
        Self { payment_timeout: default_payment_timeout(), payment_attempts: default_payment_attempts() }
    }
}

fn default_payment_timeout() -> String {
    "15m".to_owned()
}

fn default_payment_attempts() -> i32 {
    3
}

/// How customers pay.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Payment {
    /// Who takes the money.
    #[serde(default)]
    pub gateway: Gateway,
}

/// Who takes the money.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Gateway {
    /// A provider for trying out, which takes no real money.
    #[serde(default)]
    pub simulated: Simulated,
}

/// The provider for trying out.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Simulated {}

/// The four services.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Services {
    /// Takes orders and decides what becomes of them.
    #[serde(default)]
    pub order: ServiceSpec,
    /// Keeps the stock.
    #[serde(default)]
    pub inventory: ServiceSpec,
    /// Takes the money.
    #[serde(default)]
    pub payment: ServiceSpec,
    /// Tells the customers.
    #[serde(default)]
    pub notification: ServiceSpec,
}

impl Services {
    /// What is said about one of them.
    pub fn get(&self, name: ServiceName) -> &ServiceSpec {
        match name {
            ServiceName::Order => &self.order,
            ServiceName::Inventory => &self.inventory,
            ServiceName::Payment => &self.payment,
            ServiceName::Notification => &self.notification,
        }
    }
}

/// One service.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))").message("replicas or autoscaling, not both"))]
pub struct ServiceSpec {
    /// How many replicas, up to `lanes`. Without it and without `autoscaling` there is one, and `kubectl scale` or an
    /// autoscaler of yours may change that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 256))]
    pub replicas: Option<i32>,
    /// As many replicas as the backlog asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// What a pod asks for and may use.
    #[serde(default)]
    pub resources: Resources,
    /// Merged over the pods that the operator makes, like a strategic merge patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pod_template")]
    #[x_kube(validation = Rule::new("!has(self.metadata) || !has(self.metadata.labels) || self.metadata.labels.all(label, !(label in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component']))").message("podTemplate: the labels app.kubernetes.io/name, instance and component select the pods and cannot be set"))]
    pub pod_template: Option<Map<String, Value>>,
}

/// As many replicas as the backlog asks for.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("autoscaling: minReplicas not above maxReplicas"))]
pub struct Autoscaling {
    /// Never fewer.
    #[serde(default = "default_min_replicas")]
    #[schemars(range(min = 1, max = 256))]
    pub min_replicas: i32,
    /// Never more; up to `lanes`.
    #[schemars(range(min = 1, max = 256))]
    pub max_replicas: i32,
    /// How old the oldest unread record may be, in seconds.
    #[serde(default = "default_target_backlog_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub target_backlog_seconds: i32,
    /// How long fewer replicas must have been enough before there are fewer, in seconds.
    #[serde(default = "default_stabilization_seconds")]
    #[schemars(range(min = 0, max = 3600))]
    pub scale_down_stabilization_seconds: i32,
}

fn default_min_replicas() -> i32 {
    1
}

fn default_target_backlog_seconds() -> i32 {
    5
}

fn default_stabilization_seconds() -> i32 {
    300
}

/// What a pod asks for and may use.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Resources {
    /// What it is sure to get; by default 50m of a processor and 96Mi of memory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::amounts")]
    pub requests: BTreeMap<String, Quantity>,
    /// What it may not exceed; by default 256Mi of memory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::amounts")]
    pub limits: BTreeMap<String, Quantity>,
}

/// The way in from outside the cluster.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// The host name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("ingress.host: a lower-case host name"))]
    pub host: String,
    /// The ingress class; by default the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// The Secret with the host's certificate, for TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret: Option<NameRef>,
}

/// Who may reach the pods.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct NetworkPolicy {
    /// Only the HTTP port is open.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self { enabled: true }
    }
}

fn enabled() -> bool {
    true
}

/// What becomes of the topics.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// They are deleted too. The database stays in any case.
    Delete,
}
