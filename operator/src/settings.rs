//! What the operator is told from outside.

use clap::{Args, value_parser};

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
}
