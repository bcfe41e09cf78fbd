//! `OrderSystem` → running system: observe → validate → build → topics → apply → status.

mod apply;
pub mod backlog;
pub mod build;
mod controller;
mod hash;
pub mod kafka;
mod leader;
mod metrics;
pub mod observe;
mod reconcile;
pub mod resource;
pub mod rollout;
pub mod scale;
pub mod service;
mod settings;
pub mod status;
pub mod validate;

use std::time::Duration;

use kube::{Client, Config, CustomResourceExt};
use process::Process;

pub use settings::Settings;

/// How long the API server may take for a request. A watch is never silent for that long: see its timeout.
const READ_TIMEOUT: Duration = Duration::from_secs(295);
/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the operator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no cluster to speak to.
    #[error("no cluster: neither in a pod nor a kubeconfig: {0}")]
    NoCluster(#[from] kube::config::InferConfigError),
    /// The client cannot be made.
    #[error("cannot speak to the cluster: {0}")]
    Client(#[source] Box<kube::Error>),
}

/// Starts the operator; it works until the process stops.
pub async fn start(settings: &Settings, process: &Process) -> Result<(), OperatorError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    let client = Client::try_from(config).map_err(|error| OperatorError::Client(Box::new(error)))?;
    let leadership = leader::campaign(settings, &client, process);
    controller::start(settings, client, leadership, process);
    Ok(())
}

/// The `CustomResourceDefinition` of `OrderSystem`, as YAML.
pub fn crd() -> String {
    let crd = resource::OrderSystem::crd();
    serde_yaml_ng::to_string(&crd).unwrap_or_default()
}
