//! What is there: the Secrets that a system names, its children, and whether its database can be reached.

mod children;
mod database;

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};

pub(crate) use children::scope;
pub use children::{Children, Kept, watch};
pub use database::{DatabaseUrlError, reach};

/// A Secret's keys and values.
pub type SecretData = BTreeMap<String, ByteString>;
/// Secrets by name; one that is not there is missing.
pub type Secrets = BTreeMap<String, SecretData>;

/// Reads the Secrets with these names. They are not kept: a cluster has more of them than an operator should hold.
pub async fn secrets(client: &Client, namespace: &str, names: &[&str]) -> Result<Secrets, kube::Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut found = Secrets::new();
    for name in names {
        if let Some(secret) = api.get_opt(name).await? {
            found.insert((*name).to_owned(), secret.data.unwrap_or_default());
        }
    }
    Ok(found)
}

/// A host as it is called from another namespace: the operator's is not that of the Services that short names mean.
pub(crate) fn qualified(host: &str, namespace: &str) -> String {
    let is_short = !host.contains(['.', ':', '[']) && host != "localhost";
    if is_short { format!("{host}.{namespace}.svc") } else { host.to_owned() }
}
