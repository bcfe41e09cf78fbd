//! The rights that the chart gives the operator: all that it uses, and none that it does not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::cluster::Node;
use tests::kafka::Kafka;
use tests::postgres::TestDatabase;
use tests::{Folder, eventually};

use crate::site::{DEADLINE, Namespace, START_DEADLINE, WORKS, bare, no_pods, operator_as, shop};

/// The release of the chart, and so the names of what it makes.
const NAME: &str = "ordersystem-operator";

/// What is allowed and never asked for: it lets the operator make itself the owner of what it makes, where the admission
/// plugin `OwnerReferencesPermissionEnforcement` is on.
const NEVER_ASKED: &str = "update ordersystem.dev ordersystems/finalizers";

/// Rights, such as `patch apps deployments/scale`.
type Rights = BTreeSet<String>;

#[tokio::test]
async fn the_chart_allows_what_the_operator_does_and_nothing_else() -> anyhow::Result<()> {
    let database = TestDatabase::create().await?;
    let namespace = Namespace::new(bare().await?, database.url()).await?;
    install(&namespace).await?;
    let folder = Folder::new("rights")?;
    let kubeconfig = kubeconfig(&namespace, folder.path()).await?;
    let own = ["--watch-namespace", &namespace.name, "--lease-namespace", &namespace.name, "--identity", "one"];
    let mut operator = operator_as(&kubeconfig, &own)?;
    operator.says(WORKS, START_DEADLINE).await?;
    everything(&namespace).await?;
    ensure!(operator.terminate().await?.success(), "it does not end in good order");
    let mut granted = granted(&namespace).await?;
    ensure!(granted.remove(NEVER_ASKED), "it may not own what it makes everywhere");
    let used = used(namespace.node, &namespace.name)?;
    let (spare, missing) = (granted.difference(&used), used.difference(&granted));
    let (spare, missing): (Vec<_>, Vec<_>) = (spare.collect(), missing.collect());
    ensure!(
        spare.is_empty() && missing.is_empty(),
        "allowed and never done: {spare:?}; done by others' leave: {missing:?}"
    );
    Ok(())
}

/// Installs the chart without its definition, which is there. No pod of it ever runs here.
async fn install(namespace: &Namespace<'_>) -> anyhow::Result<()> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/ordersystem-operator");
    let chart = chart.to_str().context("a path that is text")?;
    let values = format!("crds.install=false,watchNamespace={}", namespace.name);
    let install = ["install", NAME, chart, "--namespace", &namespace.name, "--set", &values];
    namespace.node.helm(&install).await.map(drop)
}

/// Lets in whom the chart has made.
async fn kubeconfig(namespace: &Namespace<'_>, folder: &Path) -> anyhow::Result<PathBuf> {
    let token = namespace.kubectl(&["create", "token", NAME]).await?;
    let mut config: Value = serde_yaml_ng::from_str(&fs::read_to_string(namespace.node.kubeconfig())?)?;
    config["users"][0]["user"] = json!({"token": token.trim()});
    let path = folder.join("kubeconfig");
    fs::write(&path, config.to_string())?;
    Ok(path)
}

/// Has the operator do everything that it ever does.
async fn everything(namespace: &Namespace<'_>) -> anyhow::Result<()> {
    let mut system = shop(Kafka::shared().await?.bootstrap());
    system["spec"]["services"] = no_pods();
    system["spec"]["ingress"] = json!({"host": "shop.example.com"});
    system["spec"]["deletionPolicy"] = json!("Delete");
    namespace.apply(&system).await?;
    namespace.until("Ready", "True", "Ready").await?;
    system["spec"]["ingress"].take();
    system["spec"]["networkPolicy"] = json!({"enabled": false});
    for attempts in [8, 9] {
        system["spec"]["orders"] = json!({"paymentAttempts": attempts});
        namespace.apply(&system).await?;
        namespace.until("Ready", "True", "Ready").await?;
    }
    system["spec"]["services"]["payment"] = json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 2}});
    namespace.apply(&system).await?;
    namespace.until_object("deployment/shop-payment", "it is scaled", |it| it["spec"]["replicas"] == 1).await?;
    namespace.kubectl(&["delete", "ordersystem/shop"]).await?;
    eventually(DEADLINE, "its configuration is gone", async || {
        let left = namespace.names("configmaps").await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

/// What the chart's roles allow.
async fn granted(namespace: &Namespace<'_>) -> anyhow::Result<Rights> {
    let mut granted = Rights::new();
    for role in [NAME.to_owned(), format!("{NAME}-lease")] {
        let rules = namespace.get(&format!("role/{role}")).await?["rules"].take();
        for rule in rules.as_array().context("a role has rules")? {
            let words = |field: &str| -> Vec<String> {
                let all = rule[field].as_array().into_iter().flatten();
                all.filter_map(|word| word.as_str().map(str::to_owned)).collect()
            };
            for (group, resource) in
                words("apiGroups").iter().flat_map(|group| words("resources").into_iter().map(move |it| (group, it)))
            {
                granted.extend(words("verbs").iter().map(|verb| format!("{verb} {group} {resource}")));
            }
        }
    }
    Ok(granted)
}

/// What the operator of a namespace did, as the API server wrote it down.
fn used(node: &Node, namespace: &str) -> anyhow::Result<Rights> {
    let account = format!("system:serviceaccount:{namespace}:{NAME}");
    let log = fs::read_to_string(node.folder().path().join("run/logs/audit.log"))?;
    let mut used = Rights::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line)?;
        let about = &event["objectRef"];
        let Some(resource) = about["resource"].as_str().filter(|_| event["user"]["username"] == *account) else {
            continue;
        };
        ensure!(event["responseStatus"]["code"] != 403, "it may not do what it has to: {event}");
        let subresource = about["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
        let of = format!("{} {resource}{subresource}", about["apiGroup"].as_str().unwrap_or_default());
        used.insert(format!("{} {of}", event["verb"].as_str().unwrap_or_default()));
        // What is applied and not there is created.
        if event["responseStatus"]["code"] == 201 {
            used.insert(format!("create {of}"));
        }
    }
    Ok(used)
}
