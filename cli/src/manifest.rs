//! The OrderSystem manifest, as far as a system on one machine needs it.
//!
//! What only a cluster can use (replicas, ingress, secrets …) is read over here; it is the operator that acts on it.

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use contract::{
    Lanes,
    env::{PAYMENT_ATTEMPTS_RANGE, payment_timeout},
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The API group and version of the manifest.
pub const API_VERSION: &str = "ordersystem.dev/v1alpha1";
/// The kind of the manifest.
pub const KIND: &str = "OrderSystem";
/// Lanes of a system whose manifest names none: few enough for one machine, enough for several replicas.
pub const DEFAULT_LANES: u16 = 6;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not YAML, or not of this shape.
    #[error("{path} is not an OrderSystem: {reason}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
}

/// What `ordersystem up` takes from a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The system's name, `metadata.name`, unless `spec.kafka.topicPrefix` sets another for its topics.
    pub name: String,
    /// `spec.lanes`.
    pub lanes: Lanes,
    /// `spec.orders.paymentTimeout`, such as `15m`.
    pub payment_timeout: Option<TimeDelta>,
    /// `spec.orders.paymentAttempts`.
    pub payment_attempts: Option<i32>,
    /// Fields of the spec that only a cluster can use.
    pub unused: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resource {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default, rename = "status")]
    _status: Value,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    lanes: Option<u16>,
    #[serde(default)]
    kafka: Kafka,
    #[serde(default)]
    orders: Orders,
    #[serde(default, rename = "payment")]
    _payment: Payment,
    image: Option<Value>,
    image_pull_secrets: Option<Value>,
    database: Option<Value>,
    services: Option<Value>,
    ingress: Option<Value>,
    network_policy: Option<Value>,
    paused: Option<Value>,
    deletion_policy: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Kafka {
    topic_prefix: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Orders {
    payment_timeout: Option<String>,
    payment_attempts: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payment {
    #[serde(default, rename = "gateway")]
    _gateway: Gateway,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Gateway {
    #[serde(default, rename = "simulated")]
    _simulated: Map<String, Value>,
}

impl Manifest {
    /// Reads the manifest in a file.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|reason| ManifestError::Shape { path: path.to_owned(), reason })
    }

    /// Reads a manifest's text. An error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let resource: Resource = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        if resource.api_version != API_VERSION || resource.kind != KIND {
            let (version, kind) = (resource.api_version, resource.kind);
            return Err(format!("it is {kind} of {version}, not {KIND} of {API_VERSION}"));
        }
        let spec = resource.spec;
        let lanes = Lanes::new(spec.lanes.unwrap_or(DEFAULT_LANES)).map_err(|error| format!("spec.lanes: {error}"))?;
        let timeout = spec.orders.payment_timeout.map(|text| payment_timeout(&text)).transpose();
        let timeout = timeout.map_err(|error| format!("spec.orders.paymentTimeout: {error}"))?;
        let attempts = spec.orders.payment_attempts.map(payment_attempts).transpose()?;
        let unused = [
            ("image", &spec.image),
            ("imagePullSecrets", &spec.image_pull_secrets),
            ("database", &spec.database),
            ("services", &spec.services),
            ("ingress", &spec.ingress),
            ("networkPolicy", &spec.network_policy),
            ("paused", &spec.paused),
            ("deletionPolicy", &spec.deletion_policy),
        ];
        let unused = unused.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| (*name).to_owned());
        let kafka = spec.kafka.rest.keys().map(|name| format!("kafka.{name}"));
        Ok(Self {
            name: spec.kafka.topic_prefix.unwrap_or(resource.metadata.name),
            lanes,
            payment_timeout: timeout,
            payment_attempts: attempts,
            unused: unused.chain(kafka).collect(),
        })
    }
}

fn payment_attempts(count: i64) -> Result<i32, String> {
    let (least, most) = PAYMENT_ATTEMPTS_RANGE.into_inner();
    i32::try_from(count)
        .ok()
        .filter(|_| PAYMENT_ATTEMPTS_RANGE.contains(&count))
        .ok_or_else(|| format!("spec.orders.paymentAttempts: {least} to {most}, not {count}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "
apiVersion: ordersystem.dev/v1alpha1
kind: OrderSystem
metadata: {name: shop}
spec:
  lanes: 12
  kafka: {bootstrapServers: kafka:9092}
  orders: {paymentTimeout: 5m, paymentAttempts: 2}
  payment: {gateway: {simulated: {}}}
  services: {order: {replicas: 2}}
";

    #[test]
    fn what_a_machine_can_use_is_taken_and_the_rest_is_named() {
        let manifest = Manifest::parse(SHOP).expect("a manifest");
        assert_eq!(manifest.name, "shop");
        assert_eq!(manifest.lanes.count(), 12);
        assert_eq!(manifest.payment_timeout, Some(TimeDelta::minutes(5)));
        assert_eq!(manifest.payment_attempts, Some(2));
        assert_eq!(manifest.unused, ["services", "kafka.bootstrapServers"]);
    }

    #[test]
    fn what_a_cluster_is_given_is_taken_here_too() {
        for name in ["minimal.yaml", "production.yaml"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/examples").join(name);
            let manifest = Manifest::read(&path).expect("a manifest");
            assert_eq!(manifest.name, "shop", "{name}");
            assert!(manifest.unused.contains(&"kafka.bootstrapServers".to_owned()), "{name}: {:?}", manifest.unused);
        }
    }

    #[test]
    fn a_misspelt_field_or_another_kind_is_refused_by_name() {
        let misspelt = SHOP.replace("lanes", "lane");
        assert!(Manifest::parse(&misspelt).is_err_and(|reason| reason.contains("lane")), "{misspelt}");
        let other = SHOP.replace("kind: OrderSystem", "kind: Deployment");
        assert!(Manifest::parse(&other).is_err_and(|reason| reason.contains("Deployment")));
        let many = SHOP.replace("lanes: 12", "lanes: 1000");
        assert!(Manifest::parse(&many).is_err_and(|reason| reason.contains("spec.lanes")));
        let never = SHOP.replace("5m", "0s");
        assert!(Manifest::parse(&never).is_err_and(|reason| reason.contains("paymentTimeout")));
        let often = SHOP.replace("paymentAttempts: 2", "paymentAttempts: 1000");
        assert!(Manifest::parse(&often).is_err_and(|reason| reason.contains("paymentAttempts")));
    }
}
