//! A Kafka that speaks TLS and wants a log-in, reached with the Secrets that Strimzi writes.

use std::fs;

use anyhow::ensure;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};
use tests::kafka::{Kafka, PASSWORD, USER, stranger};
use tests::postgres::TestDatabase;

use crate::site::{DEADLINE, Namespace, Site, shop};

/// What Strimzi writes for the authority of a cluster.
fn cluster_ca(certificate: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": "events-cluster-ca-cert",
            "labels": {"strimzi.io/cluster": "events", "strimzi.io/kind": "Kafka"},
            "annotations": {"strimzi.io/ca-cert-generation": "0"},
        },
        "stringData": {"ca.crt": certificate, "ca.p12": "for Java", "ca.password": "for Java"},
    })
}

/// What Strimzi writes for a `KafkaUser` with authentication `scram-sha-512`.
fn user(password: &str) -> Value {
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": USER, "labels": {"strimzi.io/cluster": "events", "strimzi.io/kind": "KafkaUser"}},
        "stringData": {
            "password": password,
            "sasl.jaas.config": format!("{module} required username=\"{USER}\" password=\"{password}\";"),
        },
    })
}

/// A namespace with a system on the secured broker, and with these Secrets for it.
async fn applied(ca: &str, password: &str) -> anyhow::Result<(Namespace<'static>, String, TestDatabase)> {
    let database = TestDatabase::create().await?;
    let namespace = Site::shared().await?.namespace(database.url()).await?;
    namespace.apply(&cluster_ca(ca)).await?;
    namespace.apply(&user(password)).await?;
    let mut system = shop(Kafka::secured().await?.bootstrap());
    system["spec"]["kafka"]["tls"] = json!({"caSecret": {"name": "events-cluster-ca-cert"}});
    system["spec"]["kafka"]["sasl"] =
        json!({"mechanism": "SCRAM-SHA-512", "username": USER, "passwordSecret": {"name": USER}});
    namespace.apply(&system).await?;
    let prefix = system["spec"]["kafka"]["topicPrefix"].as_str().unwrap_or_default().to_owned();
    Ok((namespace, prefix, database))
}

async fn ca() -> anyhow::Result<String> {
    Ok(fs::read_to_string(Kafka::secured().await?.ca_file())?)
}

/// How many topics of a system there are.
async fn topics(prefix: &str) -> anyhow::Result<usize> {
    let kafka = Kafka::secured().await?;
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", kafka.bootstrap())
        .set("security.protocol", "sasl_ssl")
        .set("ssl.ca.location", kafka.ca_file().to_string_lossy())
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", USER)
        .set("sasl.password", PASSWORD);
    let consumer: BaseConsumer = client.create()?;
    let metadata = consumer.fetch_metadata(None, DEADLINE)?;
    Ok(metadata.topics().iter().filter(|topic| topic.name().starts_with(prefix)).count())
}

#[tokio::test]
async fn topics_are_made_with_what_strimzi_writes() -> anyhow::Result<()> {
    let (namespace, prefix, _database) = applied(&ca().await?, PASSWORD).await?;
    namespace.until("TopicsReady", "True", "Found").await?;
    assert_eq!(topics(&prefix).await?, 6);
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_told_as_such_until_its_secret_is_right() -> anyhow::Result<()> {
    let (namespace, prefix, _database) = applied(&ca().await?, "not the password").await?;
    let condition = namespace.until("TopicsReady", "False", "AuthenticationFailed").await?;
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(message.contains("refuses the log-in") && message.contains("invalid credentials"), "{message}");
    ensure!(!message.contains("not the password"), "{message}");
    ensure!(namespace.names("deployments").await?.is_empty(), "pods were made that could only wait");
    assert_eq!(topics(&prefix).await?, 0);
    namespace.apply(&user(PASSWORD)).await?;
    namespace.until("TopicsReady", "True", "Found").await?;
    assert_eq!(topics(&prefix).await?, 6);
    Ok(())
}

#[tokio::test]
async fn brokers_that_a_stranger_vouches_for_are_not_spoken_to() -> anyhow::Result<()> {
    let (namespace, prefix, _database) = applied(&stranger()?, PASSWORD).await?;
    let condition = namespace.until("TopicsReady", "False", "TlsFailed").await?;
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(message.contains("kafka.tls") && message.contains("certificate verify failed"), "{message}");
    assert_eq!(topics(&prefix).await?, 0);
    Ok(())
}
