//! From a valid system to the objects that make it up. Pure: it never sees a client.

mod config_map;
mod deployment;
mod disruption_budget;
mod ingress;
pub(crate) mod labels;
mod network_policy;
mod service;
mod service_account;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{service::ServiceName, validate::ValidSystem};
pub use deployment::{AUTOSCALING_HASH, CONTAINER, TEMPLATE};

/// The objects that make up a system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// What all pods are told.
    pub config_maps: Vec<ConfigMap>,
    /// Who the pods are: nobody in particular.
    pub service_accounts: Vec<ServiceAccount>,
    /// Where the services are reached.
    pub services: Vec<Service>,
    /// Who may reach the pods.
    pub network_policies: Vec<NetworkPolicy>,
    /// How many pods may be away at once for others' sake.
    pub disruption_budgets: Vec<PodDisruptionBudget>,
    /// The pods, in the order in which they are rolled.
    pub deployments: Vec<(ServiceName, Deployment)>,
    /// The way in from outside.
    pub ingresses: Vec<Ingress>,
}

/// Builds every object.
pub fn build(system: &ValidSystem) -> Desired {
    let config = config_map::build(system);
    let each = ServiceName::CONSUMERS_FIRST;
    let policies = if system.network_policy { each.as_slice() } else { &[] };
    Desired {
        service_accounts: each.iter().map(|name| service_account::build(system, *name)).collect(),
        services: each.iter().map(|name| service::build(system, *name)).collect(),
        network_policies: policies.iter().map(|name| network_policy::build(system, *name)).collect(),
        disruption_budgets: each.iter().map(|name| disruption_budget::build(system, *name)).collect(),
        deployments: each.iter().map(|name| (*name, deployment::build(system, *name, &config))).collect(),
        ingresses: system.ingress.iter().map(|wanted| ingress::build(system, wanted)).collect(),
        config_maps: vec![config],
    }
}

/// The name of what belongs to one service of a system.
pub fn child_name(system: &str, service: ServiceName) -> String {
    format!("{system}-{service}")
}

/// What every object of one service says of itself.
fn metadata(system: &ValidSystem, service: ServiceName) -> ObjectMeta {
    ObjectMeta {
        name: Some(child_name(&system.name, service)),
        namespace: Some(system.namespace.clone()),
        labels: Some(labels::of_service(&system.name, service)),
        owner_references: Some(vec![system.owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// What every object of the whole system says of itself.
fn system_metadata(system: &ValidSystem) -> ObjectMeta {
    ObjectMeta {
        name: Some(system.name.clone()),
        namespace: Some(system.namespace.clone()),
        labels: Some(labels::of_system(&system.name)),
        owner_references: Some(vec![system.owner.clone()]),
        ..ObjectMeta::default()
    }
}
