//! The Ingress: one host for all four services, told apart by path.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};

use super::{child_name, deployment::PORT_NAME};
use crate::{resource, service::ServiceName, validate::ValidSystem};

pub(super) fn build(system: &ValidSystem, wanted: &resource::Ingress) -> Ingress {
    let paths = ServiceName::ALL.into_iter().flat_map(|service| {
        let both = service.paths().iter().flat_map(|path| [(*path).to_owned(), format!("/v1{path}")]);
        both.map(move |path| to(system, service, path))
    });
    let rule =
        IngressRule { host: Some(wanted.host.clone()), http: Some(HTTPIngressRuleValue { paths: paths.collect() }) };
    let tls = wanted.tls_secret.as_ref().map(|secret| {
        vec![IngressTLS { hosts: Some(vec![wanted.host.clone()]), secret_name: Some(secret.name.clone()) }]
    });
    let spec = IngressSpec {
        ingress_class_name: wanted.class_name.clone(),
        rules: Some(vec![rule]),
        tls,
        default_backend: None,
    };
    Ingress { metadata: super::system_metadata(system), spec: Some(spec), status: None }
}

fn to(system: &ValidSystem, service: ServiceName, path: String) -> HTTPIngressPath {
    let port = ServiceBackendPort { name: Some(PORT_NAME.to_owned()), number: None };
    let service = IngressServiceBackend { name: child_name(&system.name, service), port: Some(port) };
    HTTPIngressPath {
        path: Some(path),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend { service: Some(service), resource: None },
    }
}
