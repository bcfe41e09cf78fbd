//! What the operator is told from outside.

use clap::{Args, value_parser};

use crate::validate::Defaults;

/// Settings of the operator.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Image of order systems that name none
    #[arg(long, env = "ORDERSYSTEM_OPERATOR_IMAGE", default_value = concat!("localhost/ordersystem:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// Look after this namespace only
    #[arg(long, env = "ORDERSYSTEM_OPERATOR_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Namespace of the lease that tells which replica works; without it, this one does
    #[arg(long, env = "ORDERSYSTEM_OPERATOR_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Name of the lease
    #[arg(long, env = "ORDERSYSTEM_OPERATOR_LEASE_NAME", value_name = "NAME", default_value = "ordersystem-operator")]
    pub lease_name: String,
    /// Name of this replica
    #[arg(long, env = "ORDERSYSTEM_OPERATOR_IDENTITY", value_name = "NAME", default_value = "ordersystem-operator")]
    pub identity: String,
    /// Order systems that are reconciled at once
    #[arg(long, env = "ORDERSYSTEM_OPERATOR_CONCURRENCY", value_name = "SYSTEMS", default_value_t = 4, value_parser = value_parser!(u16).range(1..=64))]
    pub concurrency: u16,
    /// Seconds that a rollout may make no progress before it counts as stuck
    #[arg(long, env = "ORDERSYSTEM_OPERATOR_PROGRESS_DEADLINE_SECONDS", value_name = "SECONDS", default_value_t = 120, value_parser = value_parser!(u16).range(1..=3600))]
    pub progress_deadline_seconds: u16,
}

impl Settings {
    /// What order systems are given that do not say it themselves.
    pub fn defaults(&self) -> Defaults {
        Defaults { image: self.image.clone(), progress_seconds: self.progress_deadline_seconds }
    }
}
