//! The Deployment: the pods of one service, fit for the `restricted` Pod Security Standard.

use std::collections::BTreeMap;

use contract::env;
use k8s_openapi::{
    DeepMerge,
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMap, ConfigMapEnvSource, Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource,
            HTTPGetAction, KeyToPath, Lifecycle, LifecycleHandler, LocalObjectReference, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext,
            SleepAction, TopologySpreadConstraint, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{child_name, labels};
use crate::{
    service::ServiceName,
    validate::{Replicas, SecretKey, ValidService, ValidSystem},
};

/// The container that a `podTemplate` refers to.
pub const CONTAINER: &str = "ordersystem";
/// The port that a service listens on, and its name.
pub(super) const PORT: i32 = 8080;
pub(super) const PORT_NAME: &str = "http";
/// Where Secrets are mounted.
const SECRETS: &str = "/etc/ordersystem";
/// Nobody, as distroless images have it.
const USER: i64 = 65532;
/// How long a pod goes on after it was told to end, so that no request is sent to it any more when it stops listening.
const PRE_STOP_SECONDS: i64 = 5;
/// How long it may take in all: that, 10 s for requests, 15 s for the last batch and for its lanes, and some.
const GRACE_SECONDS: i64 = 45;
/// Older versions that `kubectl rollout undo` can go back to.
const HISTORY: i32 = 3;
/// A pod may take two minutes to start: its database may have to come first.
const STARTUP_FAILURES: i32 = 120;
/// Owner and group may read a mounted Secret.
const SECRET_MODE: i32 = 0o440;

/// The pod template as it was applied, whatever was made of it since: tells whether pods would be made from something
/// else, and what a service is kept at that waits for its turn.
pub const TEMPLATE: &str = "ordersystem.dev/template";
/// Tells a Deployment that would be scaled in another way from this one.
pub const AUTOSCALING_HASH: &str = "ordersystem.dev/autoscaling-hash";
/// Tells pods of other Secrets from these.
const SECRETS_HASH: &str = "ordersystem.dev/secrets-hash";

pub(super) fn build(system: &ValidSystem, name: ServiceName, config: &ConfigMap) -> Deployment {
    let service = system.services.get(&name);
    let replicas = match service.map(|service| &service.replicas) {
        Some(Replicas::Fixed(count)) => Some(*count),
        _ => None,
    };
    let rolling =
        RollingUpdateDeployment { max_unavailable: Some(IntOrString::Int(0)), max_surge: Some(IntOrString::Int(1)) };
    let template = template(system, name, service, config);
    let written = serde_json::to_string(&template).unwrap_or_default();
    let mut annotations = BTreeMap::from([(TEMPLATE.to_owned(), written)]);
    if let Some(Replicas::Auto(scaling)) = service.map(|service| &service.replicas) {
        let written = serde_json::to_vec(scaling).unwrap_or_default();
        annotations.insert(AUTOSCALING_HASH.to_owned(), crate::hash::hex([written.as_slice()]));
    }
    let spec = DeploymentSpec {
        replicas,
        selector: labels::selector(&system.name, name),
        strategy: Some(DeploymentStrategy { type_: Some("RollingUpdate".to_owned()), rolling_update: Some(rolling) }),
        progress_deadline_seconds: Some(system.progress_seconds),
        revision_history_limit: Some(HISTORY),
        template,
        ..DeploymentSpec::default()
    };
    let metadata = ObjectMeta { annotations: Some(annotations), ..super::metadata(system, name) };
    Deployment { metadata, spec: Some(spec), status: None }
}

fn template(
    system: &ValidSystem,
    name: ServiceName,
    service: Option<&ValidService>,
    config: &ConfigMap,
) -> PodTemplateSpec {
    let annotations = BTreeMap::from([(SECRETS_HASH.to_owned(), system.mounts.hash.clone())]);
    let metadata = ObjectMeta {
        labels: Some(labels::of_service(&system.name, name)),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    let mut template = PodTemplateSpec { metadata: Some(metadata), spec: Some(pod(system, name, service, config)) };
    if let Some(overrides) = service.and_then(|service| service.pod_template.clone()) {
        template.merge_from(overrides);
    }
    template
}

fn pod(system: &ValidSystem, name: ServiceName, service: Option<&ValidService>, config: &ConfigMap) -> PodSpec {
    let files = files(system);
    let pull = system.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect::<Vec<_>>();
    PodSpec {
        service_account_name: Some(child_name(&system.name, name)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: (!pull.is_empty()).then_some(pull),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        topology_spread_constraints: Some(vec![spread(system, name)]),
        volumes: (!files.is_empty()).then(|| files.iter().map(File::volume).collect()),
        containers: vec![container(system, name, service, config, &files)],
        ..PodSpec::default()
    }
}

fn spread(system: &ValidSystem, name: ServiceName) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(labels::selector(&system.name, name)),
        ..TopologySpreadConstraint::default()
    }
}

fn container(
    system: &ValidSystem,
    name: ServiceName,
    service: Option<&ValidService>,
    config: &ConfigMap,
    files: &[File],
) -> Container {
    let sleep =
        LifecycleHandler { sleep: Some(SleepAction { seconds: PRE_STOP_SECONDS }), ..LifecycleHandler::default() };
    let config = ConfigMapEnvSource { name: config.metadata.name.clone().unwrap_or_default(), optional: None };
    Container {
        name: CONTAINER.to_owned(),
        image: Some(system.image.clone()),
        args: Some(vec![name.as_str().to_owned()]),
        env_from: Some(vec![EnvFromSource { config_map_ref: Some(config), ..EnvFromSource::default() }]),
        env: Some(environment(system, files)),
        ports: Some(vec![ContainerPort {
            name: Some(PORT_NAME.to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: service.map(|service| service.resources.clone()),
        startup_probe: Some(probe("/actuator/health/readiness", 1, STARTUP_FAILURES)),
        readiness_probe: Some(probe("/actuator/health/readiness", 2, 3)),
        liveness_probe: Some(probe("/actuator/health/liveness", 10, 3)),
        lifecycle: Some(Lifecycle { pre_stop: Some(sleep), ..Lifecycle::default() }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: (!files.is_empty()).then(|| files.iter().map(File::mount).collect()),
        ..Container::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT_NAME.to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

fn environment(system: &ValidSystem, files: &[File]) -> Vec<EnvVar> {
    let mounts = &system.mounts;
    let secret = |name: &str, from: &SecretKey| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: from.secret.clone(),
                key: from.key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let mut environment = vec![secret(env::DATABASE_URL, &mounts.database_url)];
    environment.extend(mounts.kafka_password.as_ref().map(|key| secret(env::KAFKA_SASL_PASSWORD, key)));
    environment.extend(files.iter().map(File::variable));
    environment
}

/// A key of a Secret that a pod is given as a file, and the variable that names the file.
struct File<'a> {
    variable: &'static str,
    /// Name of the volume, and of the folder.
    name: &'static str,
    from: &'a SecretKey,
}

fn files(system: &ValidSystem) -> Vec<File<'_>> {
    let mounts = &system.mounts;
    let client = mounts.kafka_client.as_ref();
    let all = [
        (env::DATABASE_CA_FILE, "database-ca", mounts.database_ca.as_ref()),
        (env::KAFKA_CA_FILE, "kafka-ca", mounts.kafka_ca.as_ref()),
        (env::KAFKA_CERTIFICATE_FILE, "kafka-certificate", client.map(|(certificate, _)| certificate)),
        (env::KAFKA_KEY_FILE, "kafka-key", client.map(|(_, key)| key)),
    ];
    all.into_iter().filter_map(|(variable, name, from)| Some(File { variable, name, from: from? })).collect()
}

impl File<'_> {
    fn variable(&self) -> EnvVar {
        EnvVar {
            name: self.variable.to_owned(),
            value: Some(format!("{SECRETS}/{}/{}", self.name, self.from.key)),
            value_from: None,
        }
    }

    fn mount(&self) -> VolumeMount {
        VolumeMount {
            name: self.name.to_owned(),
            mount_path: format!("{SECRETS}/{}", self.name),
            read_only: Some(true),
            ..VolumeMount::default()
        }
    }

    fn volume(&self) -> Volume {
        let item = KeyToPath { key: self.from.key.clone(), path: self.from.key.clone(), mode: None };
        let secret = SecretVolumeSource {
            secret_name: Some(self.from.secret.clone()),
            items: Some(vec![item]),
            default_mode: Some(SECRET_MODE),
            optional: None,
        };
        Volume { name: self.name.to_owned(), secret: Some(secret), ..Volume::default() }
    }
}
