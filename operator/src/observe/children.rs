//! The children of all systems, kept up to date by watches.

use std::{fmt::Debug, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store},
        watcher,
    },
};
use serde::de::DeserializeOwned;

use crate::{build::labels, controller::Guarded, resource::OrderSystem};

/// How long the first list of every kind may take.
const FIRST_LIST: Duration = Duration::from_mins(1);

/// The children of all systems.
#[derive(Clone)]
pub struct Children {
    config_maps: Store<ConfigMap>,
    service_accounts: Store<ServiceAccount>,
    services: Store<Service>,
    network_policies: Store<NetworkPolicy>,
    disruption_budgets: Store<PodDisruptionBudget>,
    deployments: Store<Deployment>,
    ingresses: Store<Ingress>,
}

/// A kind of object that systems are made of.
pub trait Kept:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + serde::Serialize
    + Send
    + Sync
    + 'static
{
    /// Where it is kept.
    fn store(children: &Children) -> &Store<Self>;
}

macro_rules! kept {
    ($($kind:ty: $field:ident,)*) => {
        $(impl Kept for $kind {
            fn store(children: &Children) -> &Store<Self> {
                &children.$field
            }
        })*

        impl Children {
            /// Whether there is an object of a kind with this name.
            pub fn has(&self, kind: &str, namespace: &str, name: &str) -> bool {
                $(if kind == <$kind>::kind(&()) {
                    return self.get::<$kind>(namespace, name).is_some();
                })*
                false
            }
        }
    };
}

kept! {
    ConfigMap: config_maps,
    ServiceAccount: service_accounts,
    Service: services,
    NetworkPolicy: network_policies,
    PodDisruptionBudget: disruption_budgets,
    Deployment: deployments,
    Ingress: ingresses,
}

impl Children {
    /// An object by its name.
    pub fn get<K: Kept>(&self, namespace: &str, name: &str) -> Option<std::sync::Arc<K>> {
        K::store(self).get(&ObjectRef::new(name).within(namespace))
    }

    /// The names of a system's objects of a kind.
    pub fn names<K: Kept>(&self, namespace: &str, owner: &str) -> Vec<String> {
        let is_owned = |object: &K| {
            object.namespace().as_deref() == Some(namespace)
                && object.owner_references().iter().any(|reference| reference.uid == owner)
        };
        K::store(self).state_filter(is_owned).iter().map(|object| object.name_any()).collect()
    }

    /// Waits until every kind has been listed once.
    pub async fn listed(&self) -> bool {
        let all = async {
            tokio::try_join!(
                self.config_maps.wait_until_ready(),
                self.service_accounts.wait_until_ready(),
                self.services.wait_until_ready(),
                self.network_policies.wait_until_ready(),
                self.disruption_budgets.wait_until_ready(),
                self.deployments.wait_until_ready(),
                self.ingresses.wait_until_ready(),
            )
        };
        tokio::time::timeout(FIRST_LIST, all).await.is_ok_and(|listed| listed.is_ok())
    }
}

/// Watches every kind in one namespace or in all; gives the children, and the systems whose children change.
pub fn watch(client: &Client, namespace: Option<&str>) -> (Children, BoxStream<'static, ObjectRef<Guarded>>) {
    let (config_maps, first) = kind(client, namespace);
    let (service_accounts, second) = kind(client, namespace);
    let (services, third) = kind(client, namespace);
    let (network_policies, fourth) = kind(client, namespace);
    let (disruption_budgets, fifth) = kind(client, namespace);
    let (deployments, sixth) = kind(client, namespace);
    let (ingresses, seventh) = kind(client, namespace);
    let children = Children {
        config_maps,
        service_accounts,
        services,
        network_policies,
        disruption_budgets,
        deployments,
        ingresses,
    };
    let changed = stream::select_all([first, second, third, fourth, fifth, sixth, seventh]);
    (children, changed.boxed())
}

fn kind<K: Kept>(client: &Client, namespace: Option<&str>) -> (Store<K>, BoxStream<'static, ObjectRef<Guarded>>) {
    let (reader, writer) = store();
    let changed = watcher(scope(client, namespace), watcher::Config::default().labels(labels::MANAGED))
        .default_backoff()
        .reflect(writer)
        .touched_objects()
        .filter_map(async |object| object.ok().as_ref().and_then(owner));
    (reader, changed.boxed())
}

/// The objects of a kind in one namespace or in all.
pub(crate) fn scope<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    namespace.map_or_else(|| Api::all(client.clone()), |name| Api::namespaced(client.clone(), name))
}

fn owner<K: Kept>(object: &K) -> Option<ObjectRef<Guarded>> {
    let namespace = object.namespace()?;
    let is_system = |reference: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
        reference.kind == OrderSystem::kind(&()) && reference.api_version == OrderSystem::api_version(&())
    };
    let system = object.owner_references().iter().find(is_system)?;
    Some(ObjectRef::new(&system.name).within(&namespace))
}
