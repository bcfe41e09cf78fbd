//! The `PodDisruptionBudget`: a drained node takes one pod of a service at a time, and a pod that does not work never
//! holds a drain up.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::labels;
use crate::{service::ServiceName, validate::ValidSystem};

pub(super) fn build(system: &ValidSystem, service: ServiceName) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(labels::selector(&system.name, service)),
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget { metadata: super::metadata(system, service), spec: Some(spec), status: None }
}
