//! The Service: where a service of ours is reached.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{deployment::PORT_NAME, labels};
use crate::{service::ServiceName, validate::ValidSystem};

/// The port that clients use.
pub(super) const PORT: i32 = 80;

pub(super) fn build(system: &ValidSystem, service: ServiceName) -> Service {
    let port = ServicePort {
        name: Some(PORT_NAME.to_owned()),
        port: PORT,
        target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some("http".to_owned()),
        ..ServicePort::default()
    };
    let spec = ServiceSpec {
        selector: Some(labels::selecting(&system.name, service)),
        ports: Some(vec![port]),
        type_: Some("ClusterIP".to_owned()),
        ..ServiceSpec::default()
    };
    Service { metadata: super::metadata(system, service), spec: Some(spec), status: None }
}
