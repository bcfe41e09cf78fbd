//! The services on a Kafka that speaks TLS and wants a log-in, told of it as the operator tells them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use contract::env;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{PodSpec, SecretKeySelector};
use operator::build::build;
use operator::observe::Secrets;
use operator::resource::OrderSystem;
use operator::validate::{Defaults, validate};
use serde_json::json;
use tests::Folder;
use tests::kafka::{Kafka, PASSWORD, USER, stranger};
use tests::postgres::TestDatabase;
use tests::program::Program;
use tests::shop::order;
use tests::system::{Service, Setup, System, Transport};

/// How long a service may take to give up brokers that do not let it in; while it hopes for an answer it takes longer.
const REFUSED_DEADLINE: Duration = Duration::from_secs(20);

/// Where the operator mounts what pods are given as files.
const MOUNTED: &str = "/etc/ordersystem";

/// What the services are told that is about Kafka.
const ABOUT_KAFKA: [&str; 6] = [
    env::KAFKA_TLS,
    env::KAFKA_CA_FILE,
    env::KAFKA_REPLICATION_FACTOR,
    env::KAFKA_SASL_MECHANISM,
    env::KAFKA_SASL_USERNAME,
    env::KAFKA_SASL_PASSWORD,
];

/// The environment of a pod, with its files in `folder` instead.
fn told(brokers: &str, secrets: &Secrets, folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let system: OrderSystem = serde_json::from_value(json!({
        "apiVersion": "ordersystem.dev/v1alpha1",
        "kind": "OrderSystem",
        "metadata": {"name": "shop", "namespace": "shops", "uid": "1"},
        "spec": {
            "lanes": 4,
            "kafka": {
                "bootstrapServers": brokers,
                "replicationFactor": 1,
                "tls": {"caSecret": {"name": "events-cluster-ca-cert"}},
                "sasl": {"mechanism": "SCRAM-SHA-512", "username": USER, "passwordSecret": {"name": "shop"}},
            },
            "database": {"urlSecret": {"name": "shop-db-app"}},
        },
    }))?;
    let defaults = Defaults { image: "image:1".to_owned(), progress_seconds: 120 };
    let valid = match validate(&system, &defaults, secrets) {
        Ok(valid) => valid,
        Err(refusal) => bail!("{refusal:?}"),
    };
    let mut desired = build(&valid);
    let (_, deployment) = desired.deployments.pop().context("a Deployment")?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec).context("a pod")?;
    mount(&pod, secrets, folder)?;
    let mut told = desired.config_maps.pop().and_then(|config| config.data).context("a configuration")?;
    for variable in pod.containers.into_iter().flat_map(|container| container.env.unwrap_or_default()) {
        let from = variable.value_from.and_then(|from| from.secret_key_ref);
        let value = from.map_or(Ok(variable.value.unwrap_or_default()), |key| looked_up(&key, secrets))?;
        told.insert(variable.name, value.replace(MOUNTED, &folder.to_string_lossy()));
    }
    Ok(told)
}

fn looked_up(key: &SecretKeySelector, secrets: &Secrets) -> anyhow::Result<String> {
    let value = secrets.get(&key.name).and_then(|data| data.get(&key.key)).context(key.key.clone())?;
    Ok(String::from_utf8(value.0.clone())?)
}

/// Does what a kubelet does with the volumes of a pod.
fn mount(pod: &PodSpec, secrets: &Secrets, folder: &Path) -> anyhow::Result<()> {
    for volume in pod.volumes.iter().flatten() {
        let secret = volume.secret.as_ref().context("a Secret")?;
        let data = secret.secret_name.as_ref().and_then(|name| secrets.get(name)).context("its data")?;
        fs::create_dir_all(folder.join(&volume.name))?;
        for item in secret.items.iter().flatten() {
            let value = data.get(&item.key).context("a value")?;
            fs::write(folder.join(&volume.name).join(&item.path), &value.0)?;
        }
    }
    Ok(())
}

/// The Secrets of a Kafka that Strimzi runs, as far as the operator looks at them, and of a database.
fn secrets(ca: &str, password: &str) -> Secrets {
    let secret = |name: &str, key: &str, value: &str| {
        (name.to_owned(), BTreeMap::from([(key.to_owned(), ByteString(value.as_bytes().to_vec()))]))
    };
    Secrets::from([
        secret("events-cluster-ca-cert", "ca.crt", ca),
        secret("shop", "password", password),
        secret("shop-db-app", "uri", "postgres://of-each-test/its-own"),
    ])
}

/// Starts a service that has to give up, and hands on what it says.
async fn refused(ca: &str, password: &str) -> anyhow::Result<String> {
    refused_at(Kafka::secured().await?.bootstrap(), ca, password).await
}

async fn refused_at(brokers: &str, ca: &str, password: &str) -> anyhow::Result<String> {
    let folder = Folder::new("secrets")?;
    let told = told(brokers, &secrets(ca, password), folder.path())?;
    let database = TestDatabase::create().await?;
    let mut service = Program::start("payment", |command| {
        command.args(["--listen", "127.0.0.1:0", "--database", database.url(), "--kafka", brokers]);
        command.envs(ABOUT_KAFKA.iter().filter_map(|name| Some((*name, told.get(*name)?))))
    })?;
    let status = service.ended(REFUSED_DEADLINE).await?;
    let log = service.log();
    ensure!(status.code() == Some(1), "it ended with {status}");
    ensure!(!log.contains("panicked") && !log.contains("serving HTTP"), "it does not give up in good order");
    ensure!(!log.contains(password), "it tells the password");
    Ok(log)
}

#[tokio::test]
async fn orders_settle_over_tls_with_a_log_in() -> anyhow::Result<()> {
    let kafka = Kafka::secured().await?;
    let folder = Folder::new("secrets")?;
    let secrets = secrets(&fs::read_to_string(kafka.ca_file())?, PASSWORD);
    let told = told(kafka.bootstrap(), &secrets, folder.path())?;
    let mut setup = Setup::from(Transport::Kafka).kafka(kafka.bootstrap()).lanes(4);
    for name in ABOUT_KAFKA {
        setup = setup.variable(name, told.get(name).with_context(|| format!("{name} is not told"))?);
    }
    let system = System::services(setup, 1).await?;
    let shop = system.shop();
    shop.put_stock("kettle", 5).await?;
    let id = shop.placed(&order(&[("kettle", 2)], Some("tok_ok"))).await?;
    let settled = shop.settled(&id).await?;
    ensure!(settled["status"] == "confirmed", "{settled}");
    shop.until_counts("kettle", [3, 0, 2]).await?;
    for service in Service::ALL {
        let log = system.replica(service, 0).log().await;
        ensure!(!log.contains(PASSWORD), "{} tells the password", service.name());
    }
    system.audit().await
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_told_as_such() -> anyhow::Result<()> {
    let ca = fs::read_to_string(Kafka::secured().await?.ca_file())?;
    let log = refused(&ca, "not the password").await?;
    ensure!(log.contains("cannot be used") && log.contains("invalid credentials"), "{log}");
    Ok(())
}

#[tokio::test]
async fn brokers_that_a_stranger_vouches_for_are_refused() -> anyhow::Result<()> {
    let log = refused(&stranger()?, PASSWORD).await?;
    ensure!(log.contains("cannot be used") && log.contains("certificate verify failed"), "{log}");
    Ok(())
}

#[tokio::test]
async fn brokers_that_are_not_who_they_should_be_are_refused() -> anyhow::Result<()> {
    let kafka = Kafka::secured().await?;
    // Its certificate is good for this machine's address and not for its name.
    let by_name = kafka.bootstrap().replace("127.0.0.1", "localhost");
    let log = refused_at(&by_name, &fs::read_to_string(kafka.ca_file())?, PASSWORD).await?;
    ensure!(log.contains("cannot be used") && log.contains("certificate verify failed"), "{log}");
    Ok(())
}
