//! From what a user wrote to what can be built: every violation at once. Behind it the raw spec is out of reach.

mod pods;
mod secrets;

use std::{collections::BTreeMap, fmt};

use contract::{Lanes, env};
use k8s_openapi::{
    api::core::v1::{PodTemplateSpec, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt};

use crate::{
    kafka::Access,
    observe::Secrets,
    resource::{Autoscaling, DeletionPolicy, Ingress, MAX_NAME, OrderSystem, OrderSystemSpec, ServiceSpec},
    service::ServiceName,
};
pub use secrets::{Mounts, SecretKey, named};

/// The longest prefix of topics, in characters. Kafka allows 249 for a topic's name.
const MAX_TOPIC_PREFIX: usize = 200;
/// The most replicas that a topic can have.
const MAX_REPLICATION: i32 = 15;

/// What is wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why nothing can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The spec has to change first.
    Invalid(Vec<Violation>),
    /// Secrets that it names, or keys in them, are not there.
    Missing {
        /// Those of Kafka.
        kafka: Vec<String>,
        /// Those of the database.
        database: Vec<String>,
    },
}

/// What order systems are given that do not say it themselves.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The image of their services.
    pub image: String,
    /// Seconds that a rollout may make no progress before it counts as stuck.
    pub progress_seconds: u16,
}

/// An order system that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidSystem {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The reference by which its objects go when it goes.
    pub owner: OwnerReference,
    /// The image of its services.
    pub image: String,
    /// Secrets to pull it with.
    pub pull_secrets: Vec<String>,
    /// Its lanes.
    pub lanes: Lanes,
    /// Its brokers, as its pods are told.
    pub bootstrap_servers: String,
    /// How the operator reaches them.
    pub access: Access,
    /// What its topics begin with.
    pub topic_prefix: String,
    /// Replicas of each topic.
    pub replication: i32,
    /// The Secrets that its pods use.
    pub mounts: Mounts,
    /// How long an order waits for stock and payment, such as `15m`.
    pub payment_timeout: String,
    /// Declined attempts after which an order is rejected.
    pub payment_attempts: i32,
    /// Seconds that a rollout of a service may make no progress before it counts as stuck.
    pub progress_seconds: i32,
    /// Its services.
    pub services: BTreeMap<ServiceName, ValidService>,
    /// The way in from outside.
    pub ingress: Option<Ingress>,
    /// Whether only the HTTP port is open.
    pub network_policy: bool,
    /// What becomes of the topics in the end.
    pub deletion_policy: DeletionPolicy,
}

/// A service that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidService {
    /// Who decides how many replicas there are.
    pub replicas: Replicas,
    /// What a pod asks for and may use.
    pub resources: ResourceRequirements,
    /// Merged over the pods that are made.
    pub pod_template: Option<PodTemplateSpec>,
}

/// Who decides how many replicas there are.
#[derive(Clone, Debug, PartialEq)]
pub enum Replicas {
    /// The spec.
    Fixed(i32),
    /// The backlog.
    Auto(Autoscaling),
    /// Someone else.
    Free,
}

impl Replicas {
    /// How many there are before anyone has decided otherwise.
    pub fn at_first(&self) -> i32 {
        match self {
            Self::Fixed(count) => *count,
            Self::Auto(scaling) => scaling.min_replicas,
            Self::Free => 1,
        }
    }
}

/// What can be said of an object alone, without its Secrets: what the API server refuses, and what it cannot see.
pub fn violations(system: &OrderSystem) -> Vec<Violation> {
    let mut found = Violations::default();
    let spec = &system.spec;
    let name = "metadata.name: at most 40 lower-case letters, digits and hyphens, beginning with a letter";
    found.unless(is_name(&system.name_any()), name);
    found.unless(Lanes::new(spec.lanes).is_ok(), "lanes: 1 to 256");
    kafka(spec, &mut found);
    let timeout = "orders.paymentTimeout: a whole number with s, m, h or d, from 1s to 90d";
    found.unless(env::payment_timeout(&spec.orders.payment_timeout).is_ok(), timeout);
    let attempts = env::PAYMENT_ATTEMPTS_RANGE.contains(&i64::from(spec.orders.payment_attempts));
    found.unless(attempts, "orders.paymentAttempts: 1 to 100");
    if let Some(ingress) = &spec.ingress {
        found.unless(is_host(&ingress.host), "ingress.host: a lower-case host name");
    }
    for name in ServiceName::ALL {
        service(name, spec.services.get(name), spec.lanes, &mut found);
    }
    found.0
}

/// Builds on an object and the Secrets that it names.
pub fn validate(system: &OrderSystem, defaults: &Defaults, secrets: &Secrets) -> Result<ValidSystem, Refusal> {
    let found = violations(system);
    if !found.is_empty() {
        return Err(Refusal::Invalid(found));
    }
    let spec = &system.spec;
    let invalid = |message: String| Refusal::Invalid(vec![Violation(message)]);
    let lanes = Lanes::new(spec.lanes).map_err(|error| invalid(format!("lanes: {error}")))?;
    let (access, mounts) = secrets::resolve(spec, &system.namespace().unwrap_or_default(), secrets)?;
    let mut services = BTreeMap::new();
    for name in ServiceName::ALL {
        services.insert(name, valid_service(spec.services.get(name)).map_err(invalid)?);
    }
    Ok(ValidSystem {
        name: system.name_any(),
        namespace: system.namespace().unwrap_or_default(),
        owner: system.controller_owner_ref(&()).unwrap_or_default(),
        image: spec.image.clone().unwrap_or_else(|| defaults.image.clone()),
        pull_secrets: spec.image_pull_secrets.iter().map(|secret| secret.name.clone()).collect(),
        lanes,
        bootstrap_servers: spec.kafka.bootstrap_servers.clone(),
        access,
        topic_prefix: topic_prefix(system),
        replication: spec.kafka.replication_factor,
        mounts,
        payment_timeout: spec.orders.payment_timeout.clone(),
        payment_attempts: spec.orders.payment_attempts,
        progress_seconds: i32::from(defaults.progress_seconds),
        services,
        ingress: spec.ingress.clone(),
        network_policy: spec.network_policy.enabled,
        deletion_policy: spec.deletion_policy,
    })
}

/// What the topics of a system begin with.
pub fn topic_prefix(system: &OrderSystem) -> String {
    system.spec.kafka.topic_prefix.clone().unwrap_or_else(|| system.name_any())
}

#[derive(Default)]
struct Violations(Vec<Violation>);

impl Violations {
    fn unless(&mut self, holds: bool, message: &str) {
        if !holds {
            self.0.push(Violation(message.to_owned()));
        }
    }
}

/// A DNS label as Services need it, short enough for what its children add to it.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME && text.starts_with(|c: char| c.is_ascii_lowercase()) && is_host_label(text)
}

fn kafka(spec: &OrderSystemSpec, found: &mut Violations) {
    let kafka = &spec.kafka;
    let brokers = kafka.bootstrap_servers.split(',').all(is_broker);
    found.unless(brokers, "kafka.bootstrapServers: host:port, several separated by commas");
    let prefix = kafka.topic_prefix.as_deref().is_none_or(is_topic_prefix);
    found.unless(prefix, "kafka.topicPrefix: letters, digits, dots, underscores and hyphens");
    found.unless((1..=MAX_REPLICATION).contains(&kafka.replication_factor), "kafka.replicationFactor: 1 to 15");
}

fn is_broker(text: &str) -> bool {
    let host_and_port = text.rsplit_once(':');
    host_and_port.is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn is_topic_prefix(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=MAX_TOPIC_PREFIX).contains(&text.len()) && text.chars().all(allowed)
}

fn is_host(text: &str) -> bool {
    text.split('.').all(is_host_label)
}

fn is_host_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(inner)
}

fn service(name: ServiceName, spec: &ServiceSpec, lanes: u16, found: &mut Violations) {
    let lanes = i32::from(lanes);
    let both = spec.replicas.is_some() && spec.autoscaling.is_some();
    found.unless(!both, &format!("services.{name}: replicas or autoscaling, not both"));
    if let Some(scaling) = &spec.autoscaling {
        let ordered = (1..=scaling.max_replicas).contains(&scaling.min_replicas);
        found.unless(ordered, &format!("services.{name}: autoscaling: minReplicas not above maxReplicas"));
    }
    let most = spec.replicas.max(spec.autoscaling.as_ref().map(|scaling| scaling.max_replicas)).unwrap_or(0);
    found.unless((0..=lanes).contains(&most), &format!("services.{name}: not more replicas than lanes"));
    if let Some(template) = &spec.pod_template
        && let Err(reason) = pods::overrides(template)
    {
        found.unless(false, &format!("services.{name}: podTemplate: {reason}"));
    }
}

fn valid_service(spec: &ServiceSpec) -> Result<ValidService, String> {
    let replicas = match (spec.replicas, &spec.autoscaling) {
        (Some(count), _) => Replicas::Fixed(count),
        (None, Some(scaling)) => Replicas::Auto(scaling.clone()),
        (None, None) => Replicas::Free,
    };
    let pod_template = spec.pod_template.as_ref().map(pods::overrides).transpose()?;
    Ok(ValidService { replicas, resources: pods::resources(&spec.resources), pod_template })
}
