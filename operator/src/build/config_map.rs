//! The `ConfigMap`: what all pods are told that is no secret.
//!
//! Its name tells its content, and its content never changes. So other settings arrive with the pods that are made for
//! them; a pod that starts again before its service's turn reads what it read before.

use std::collections::BTreeMap;

use contract::env;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use crate::validate::ValidSystem;

pub(super) fn build(system: &ValidSystem) -> ConfigMap {
    let data = data(system);
    let hash = crate::hash::hex(data.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()]));
    let name = Some(format!("{}-{hash}", system.name));
    let metadata = ObjectMeta { name, ..super::system_metadata(system) };
    ConfigMap { metadata, data: Some(data), immutable: Some(true), ..ConfigMap::default() }
}

fn data(system: &ValidSystem) -> BTreeMap<String, String> {
    let mut data = BTreeMap::from([
        (env::NAME, system.topic_prefix.clone()),
        (env::LANES, system.lanes.count().to_string()),
        (env::LISTEN, format!("0.0.0.0:{}", super::deployment::PORT)),
        (env::LOG_FORMAT, "json".to_owned()),
        (env::KAFKA_BOOTSTRAP_SERVERS, system.bootstrap_servers.clone()),
        (env::KAFKA_REPLICATION_FACTOR, system.replication.to_string()),
        (env::KAFKA_TLS, system.access.tls.is_some().to_string()),
        (env::PAYMENT_TIMEOUT, system.payment_timeout.clone()),
        (env::PAYMENT_ATTEMPTS, system.payment_attempts.to_string()),
    ]);
    if let Some(sasl) = &system.access.sasl {
        data.insert(env::KAFKA_SASL_MECHANISM, sasl.mechanism.as_str().to_owned());
        data.insert(env::KAFKA_SASL_USERNAME, sasl.username.clone());
    }
    data.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
