//! The `NetworkPolicy`: only the HTTP port of a pod can be reached. Where the pods go to, Kafka and PostgreSQL, is not
//! ours to know.

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{deployment::PORT_NAME, labels};
use crate::{service::ServiceName, validate::ValidSystem};

pub(super) fn build(system: &ValidSystem, service: ServiceName) -> NetworkPolicy {
    let port = NetworkPolicyPort {
        port: Some(IntOrString::String(PORT_NAME.to_owned())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(labels::selector(&system.name, service)),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![NetworkPolicyIngressRule { ports: Some(vec![port]), from: None }]),
        egress: None,
    };
    NetworkPolicy { metadata: super::metadata(system, service), spec: Some(spec) }
}
