//! Labels, by Kubernetes' recommendation.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::service::ServiceName;

const NAME: &str = "app.kubernetes.io/name";
const INSTANCE: &str = "app.kubernetes.io/instance";
const COMPONENT: &str = "app.kubernetes.io/component";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Labels that select pods.
pub(crate) const SELECTING: [&str; 3] = [NAME, INSTANCE, COMPONENT];
/// Who manages our objects.
pub(crate) const MANAGER: &str = "ordersystem-operator";
/// Selects all objects that we manage.
pub(crate) const MANAGED: &str = "app.kubernetes.io/managed-by=ordersystem-operator";

pub(super) fn of_system(system: &str) -> BTreeMap<String, String> {
    owned([(NAME, "ordersystem"), (INSTANCE, system), (MANAGED_BY, MANAGER)])
}

pub(super) fn of_service(system: &str, service: ServiceName) -> BTreeMap<String, String> {
    owned([(NAME, "ordersystem"), (INSTANCE, system), (COMPONENT, service.as_str()), (MANAGED_BY, MANAGER)])
}

pub(super) fn selecting(system: &str, service: ServiceName) -> BTreeMap<String, String> {
    owned([(NAME, "ordersystem"), (INSTANCE, system), (COMPONENT, service.as_str())])
}

pub(super) fn selector(system: &str, service: ServiceName) -> LabelSelector {
    LabelSelector { match_labels: Some(selecting(system, service)), ..LabelSelector::default() }
}

fn owned<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
