//! Several replicas of the operator, of which one works.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use tests::kafka::Kafka;
use tests::postgres::TestDatabase;
use tests::program::Program;

use crate::site::{DEADLINE, Namespace, START_DEADLINE, WORKS, bare, metrics, no_pods, operator, shop};

/// What a replica says that does not work.
const WAITS: &str = "another replica works";

/// How long the lease holds, and some for a look at it on a busy machine.
const TAKE_OVER: Duration = Duration::from_secs(15 + 10);

/// How soon a lease that was released is taken: well before its end.
const HAND_OVER: Duration = Duration::from_secs(10);

/// How long a replica may take to notice that it does not lead any more, once it runs.
const NOTICE: Duration = Duration::from_secs(5);

fn replica(namespace: &Namespace<'_>, identity: &str) -> anyhow::Result<Program> {
    let own = ["--watch-namespace", &namespace.name, "--lease-namespace", &namespace.name, "--identity", identity];
    operator(namespace.node, &own)
}

async fn leads(replica: &Program) -> anyhow::Result<bool> {
    Ok(metric(replica, "operator_leads").await? == "1")
}

async fn metric(replica: &Program, name: &str) -> anyhow::Result<String> {
    let metrics = metrics(replica).await?;
    let line = metrics.lines().find(|line| !line.starts_with('#') && line.contains(name));
    line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned).with_context(|| format!("it does not tell {name}"))
}

/// Makes sure that `leader` works, and says so, and that `other` does not and never has since its start.
async fn one_works(leader: &Program, other: &Program) -> anyhow::Result<()> {
    ensure!(leads(leader).await? && !leads(other).await?, "not the one that has the lease works");
    let written = metric(other, "operator_writes_total").await?;
    ensure!(written == "0", "who waits has written {written} objects");
    Ok(())
}

async fn lease(namespace: &Namespace<'_>, field: &str) -> anyhow::Result<serde_json::Value> {
    Ok(namespace.get("lease/ordersystem-operator").await?["spec"][field].take())
}

/// Changes the system, and waits until the operator has seen to it.
async fn reconciles(namespace: &Namespace<'_>, system: &mut serde_json::Value, host: &str) -> anyhow::Result<()> {
    system["spec"]["ingress"] = json!({"host": host});
    namespace.apply(system).await?;
    namespace
        .until_object("ingress/shop", "the change is seen to", |it| it["spec"]["rules"][0]["host"] == host)
        .await
        .map(drop)
}

#[tokio::test]
async fn one_replica_works_and_another_takes_over_when_it_dies_leaves_or_freezes() -> anyhow::Result<()> {
    let database = TestDatabase::create().await?;
    let namespace = Namespace::new(bare().await?, database.url()).await?;
    let mut first = replica(&namespace, "first")?;
    first.says(WORKS, START_DEADLINE).await?;
    let mut second = replica(&namespace, "second")?;
    let waits = second.says(WAITS, START_DEADLINE).await?;
    ensure!(waits.contains("holder=\"first\"") || waits.contains("holder=first"), "it does not say who works: {waits}");
    let mut system = shop(Kafka::shared().await?.bootstrap());
    system["spec"]["services"] = no_pods();
    namespace.apply(&system).await?;
    namespace.until("Ready", "True", "Ready").await?;
    one_works(&first, &second).await?;

    first.kill_9().await?;
    let began = Instant::now();
    second.says(WORKS, TAKE_OVER).await?;
    println!("took over after {:.1} s from one that was killed", began.elapsed().as_secs_f64());
    reconciles(&namespace, &mut system, "killed.example.com").await?;
    first.start_again()?;
    first.says(WAITS, START_DEADLINE).await?;
    one_works(&second, &first).await?;

    let began = Instant::now();
    ensure!(second.terminate().await?.success(), "it does not end in good order");
    first.says(WORKS, HAND_OVER).await?;
    println!("took over after {:.1} s from one that left", began.elapsed().as_secs_f64());
    reconciles(&namespace, &mut system, "left.example.com").await?;
    second.start_again()?;
    second.says(WAITS, START_DEADLINE).await?;
    one_works(&first, &second).await?;

    first.stop()?;
    let began = Instant::now();
    second.says(WORKS, TAKE_OVER).await?;
    println!("took over after {:.1} s from one that was frozen", began.elapsed().as_secs_f64());
    reconciles(&namespace, &mut system, "frozen.example.com").await?;
    let before = first.log().len();
    first.cont()?;
    ensure!(!first.ended(NOTICE).await?.success(), "it goes on as if nothing had been");
    let log = first.log();
    let since = log.get(before..).unwrap_or_default();
    ensure!(since.contains("the lease") && !since.contains("applied"), "it acts after its lease was over: {since}");
    assert_eq!(lease(&namespace, "holderIdentity").await?, "second");
    assert_eq!(lease(&namespace, "leaseTransitions").await?, 4, "it changed hands at another time, too");
    Ok(())
}

#[tokio::test]
async fn who_cannot_renew_its_lease_ends_before_another_may_take_it() -> anyhow::Result<()> {
    let database = TestDatabase::create().await?;
    let namespace = Namespace::new(bare().await?, database.url()).await?;
    let mut leader = replica(&namespace, "leader")?;
    leader.says(WORKS, START_DEADLINE).await?;
    frozen_lease(&namespace).await?;
    let status = leader.ended(DEADLINE).await?;
    ensure!(!status.success(), "it ended with {status}");
    let log = leader.log();
    ensure!(log.contains("could not be renewed"), "it does not say why: {log}");
    let renewed = lease(&namespace, "renewTime").await?;
    let renewed = renewed.as_str().context("it was renewed")?.parse::<chrono::DateTime<chrono::Utc>>()?;
    let ago = chrono::Utc::now() - renewed;
    ensure!(ago < chrono::TimeDelta::seconds(15), "another may have taken it {ago} after it was last renewed");
    Ok(())
}

/// Has the API server refuse every change of the lease.
async fn frozen_lease(namespace: &Namespace<'_>) -> anyhow::Result<()> {
    let name = &namespace.name;
    let leases = json!({
        "apiGroups": ["coordination.k8s.io"], "apiVersions": ["v1"], "resources": ["leases"], "operations": ["UPDATE"],
    });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "resourceRules": [leases],
            },
            "validations": [{"expression": "false", "message": "not now"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    namespace.node.apply(&policy.to_string()).await?;
    namespace.node.apply(&binding.to_string()).await.map(drop)
}
