//! The `ServiceAccount`: the pods talk to no API server, so it gives them no token.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::{service::ServiceName, validate::ValidSystem};

pub(super) fn build(system: &ValidSystem, service: ServiceName) -> ServiceAccount {
    ServiceAccount {
        metadata: super::metadata(system, service),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
