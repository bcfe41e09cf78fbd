//! The seam between the operator and the services: what the one builds, the others understand.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use clap::{Args, Command, FromArgMatches};
use journal::{JournalSettings, KafkaSettings, SaslMechanism};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use operator::build::{Desired, build};
use operator::observe::Secrets;
use operator::resource::OrderSystem;
use operator::service::ServiceName;
use operator::validate::{Defaults, Refusal, named, validate, violations};
use ordersystem::service::ServiceSettings;

/// The values of every Secret that an example names: each is its own key, but for the URL.
const URL: &str = "postgres://user:password@host/database";

fn example(name: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/examples").join(name);
    fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
}

fn secrets(system: &OrderSystem) -> Secrets {
    let keys = ["uri", "ca.crt", "password", "user.crt", "user.key"];
    let value = |key: &str| ByteString(if key == "uri" { URL } else { key }.as_bytes().to_vec());
    let data: BTreeMap<String, ByteString> = keys.iter().map(|key| ((*key).to_owned(), value(key))).collect();
    named(&system.spec).into_iter().map(|name| (name.to_owned(), data.clone())).collect()
}

fn defaults() -> Defaults {
    Defaults { image: "image:1".to_owned(), progress_seconds: 120 }
}

fn built(text: &str) -> anyhow::Result<Desired> {
    let mut system: OrderSystem = serde_yaml_ng::from_str(text)?;
    system.metadata.namespace = Some("shops".to_owned());
    system.metadata.uid = Some("1".to_owned());
    match validate(&system, &defaults(), &secrets(&system)) {
        Ok(valid) => Ok(build(&valid)),
        Err(refusal) => bail!("{refusal:?}"),
    }
}

/// What the container of a Deployment is told, with every Secret and `ConfigMap` looked up.
fn environment(desired: &Desired, container: &Container) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    for from in container.env_from.iter().flatten() {
        let name = from.config_map_ref.as_ref().map(|config| config.name.as_str());
        let config = desired.config_maps.iter().find(|config| config.metadata.name.as_deref() == name);
        told.extend(config.and_then(|config| config.data.clone()).unwrap_or_default());
    }
    for variable in container.env.iter().flatten() {
        let secret = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        let looked_up = secret.map(|key| if key.key == "uri" { URL.to_owned() } else { key.key.clone() });
        told.insert(variable.name.clone(), variable.value.clone().or(looked_up).unwrap_or_default());
    }
    told
}

/// Parses an environment as `ordersystem <service>` would. Each variable is given by the flag that reads it, since a
/// process has but one environment; a variable that no flag reads is an error.
fn parse<S: Args>(environment: &BTreeMap<String, String>) -> anyhow::Result<ServiceSettings<S>> {
    let command = ServiceSettings::<S>::augment_args(Command::new("service"));
    let mut line = vec![OsString::from("service")];
    for (name, value) in environment.iter().filter(|(name, _)| *name != contract::env::LOG_FORMAT) {
        let argument = command.get_arguments().find(|argument| argument.get_env().is_some_and(|env| env == &name[..]));
        let argument = argument.with_context(|| format!("no setting reads {name}"))?;
        let flag = argument.get_long().with_context(|| format!("{name} has no flag"))?;
        match (argument.get_action().takes_values(), value.as_str()) {
            (true, value) => line.push(format!("--{flag}={value}").into()),
            (false, "true") => line.push(format!("--{flag}").into()),
            (false, "false") => {}
            (false, value) => bail!("{name}={value} is neither true nor false"),
        }
    }
    Ok(ServiceSettings::from_arg_matches(&command.try_get_matches_from(line)?)?)
}

fn container(deployment: &Deployment) -> anyhow::Result<&Container> {
    let template: &PodTemplateSpec = &deployment.spec.as_ref().context("a spec")?.template;
    template.spec.as_ref().context("a pod")?.containers.first().context("a container")
}

fn journal(desired: &Desired, service: ServiceName) -> anyhow::Result<(JournalSettings, KafkaSettings)> {
    let (_, deployment) = desired.deployments.iter().find(|(name, _)| *name == service).context("a deployment")?;
    let told = environment(desired, container(deployment)?);
    Ok(match service {
        ServiceName::Order => parse::<order::Settings>(&told).map(|told| (told.service.journal, told.kafka))?,
        ServiceName::Inventory => {
            parse::<inventory::Settings>(&without_orders(told)).map(|told| (told.service.journal, told.kafka))?
        }
        ServiceName::Payment => {
            parse::<payment::Settings>(&without_orders(told)).map(|told| (told.service.journal, told.kafka))?
        }
        ServiceName::Notification => {
            parse::<notification::Settings>(&without_orders(told)).map(|told| (told.service.journal, told.kafka))?
        }
    })
}

/// All pods are told the same; what is for the order service, the others do not read.
fn without_orders(mut told: BTreeMap<String, String>) -> BTreeMap<String, String> {
    told.remove(contract::env::PAYMENT_TIMEOUT);
    told.remove(contract::env::PAYMENT_ATTEMPTS);
    told
}

#[test]
fn every_service_understands_what_the_operator_tells_it() -> anyhow::Result<()> {
    for name in ["minimal.yaml", "production.yaml"] {
        let desired = built(&example(name)?)?;
        for service in ServiceName::ALL {
            let (journal, kafka) = journal(&desired, service).with_context(|| format!("{name}: {service}"))?;
            ensure!(journal.name == "shop", "{name}: {journal:?}");
            ensure!(journal.database.database_url == URL, "{name}: {service} has another database");
            ensure!(kafka.bootstrap_servers.is_some(), "{name}: {service} has no brokers");
        }
    }
    Ok(())
}

#[test]
fn a_secured_kafka_is_reached_with_what_its_secrets_hold() -> anyhow::Result<()> {
    let (journal, kafka) = journal(&built(&example("production.yaml")?)?, ServiceName::Payment)?;
    assert_eq!(journal.lanes.count(), 24);
    assert_eq!(kafka.kafka_sasl_mechanism, Some(SaslMechanism::ScramSha512));
    assert_eq!(kafka.kafka_sasl_password.as_deref(), Some("password"));
    let authority = kafka.kafka_ca_file.context("the authority")?;
    ensure!(authority.ends_with("ca.crt"), "{}", authority.display());
    ensure!(kafka.kafka_tls && journal.database.database_ca_file.is_some(), "TLS is on, and PostgreSQL's is checked");
    Ok(())
}

#[test]
fn a_secret_with_other_data_makes_other_pods() -> anyhow::Result<()> {
    let mut system: OrderSystem = serde_yaml_ng::from_str(&example("minimal.yaml")?)?;
    system.metadata.uid = Some("1".to_owned());
    let pods = |secrets: &Secrets| -> anyhow::Result<_> {
        let valid = validate(&system, &defaults(), secrets).map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
        Ok(build(&valid).deployments)
    };
    let before = secrets(&system);
    let mut after = before.clone();
    for data in after.values_mut() {
        data.insert("uri".to_owned(), ByteString(b"postgres://other/database".to_vec()));
        data.insert("unused".to_owned(), ByteString(b"x".to_vec()));
    }
    ensure!(pods(&before)? != pods(&after)?, "the pods would not be rolled");
    let mut unused = before.clone();
    for data in unused.values_mut() {
        data.insert("unused".to_owned(), ByteString(b"x".to_vec()));
    }
    ensure!(pods(&before)? == pods(&unused)?, "what no pod uses rolls them");
    Ok(())
}

#[test]
fn missing_secrets_and_keys_are_named_all_at_once() -> anyhow::Result<()> {
    let system: OrderSystem = serde_yaml_ng::from_str(&example("production.yaml")?)?;
    let mut some = secrets(&system);
    some.remove("shop-db-app");
    some.get_mut("shop").context("the user's secret")?.remove("password");
    let Err(Refusal::Missing { kafka, database }) = validate(&system, &defaults(), &some) else {
        bail!("it is not refused");
    };
    assert_eq!(kafka, ["Secret shop has no key password"]);
    assert_eq!(database, ["Secret shop-db-app is missing"]);
    Ok(())
}

#[test]
fn every_invalid_example_is_refused_without_an_api_server_too() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/examples");
    let mut refused = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        // Field names are the API server's to check, and `ordersystem up -f`'s.
        if !name.starts_with("invalid-") || name == "invalid-service-unknown.yaml" {
            continue;
        }
        let parsed = serde_yaml_ng::from_str::<OrderSystem>(&example(&name)?);
        ensure!(!parsed.is_ok_and(|system| violations(&system).is_empty()), "{name} is taken");
        refused += 1;
    }
    ensure!(refused > 20, "only {refused} examples were found");
    Ok(())
}
