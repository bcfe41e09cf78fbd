//! At rest nothing is written; and a hundred systems are looked after.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use tests::eventually;
use tests::kafka::Kafka;
use tests::postgres::TestDatabase;
use tokio::time::sleep;

use crate::site::{Namespace, Site, metrics, no_pods, shop};

/// Systems.
const SYSTEMS: usize = 100;
/// Systems that are applied at once.
const AT_ONCE: usize = 10;
/// How long they may take to be made.
const MADE_DEADLINE: Duration = Duration::from_mins(5);
/// How long nothing may be written.
const AT_REST: Duration = Duration::from_mins(1);

/// What the operator has written so far, by the API server's own count: requests that write, less those of the control
/// plane's own kinds.
async fn writes(namespace: &Namespace<'_>) -> anyhow::Result<Vec<(String, String)>> {
    let metrics = namespace.node.kubectl(&["get", "--raw", "/metrics"]).await?;
    let ours = [
        "ordersystems",
        "deployments",
        "services",
        "serviceaccounts",
        "configmaps",
        "secrets",
        "ingresses",
        "networkpolicies",
        "poddisruptionbudgets",
    ];
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{"));
    let mut counted = Vec::new();
    for line in lines {
        let (labels, value) = line.split_once("} ").context("a count")?;
        let is = |name: &str, value: &str| labels.contains(&format!("{name}=\"{value}\""));
        let writes = ["APPLY", "PATCH", "POST", "PUT", "DELETE"].iter().any(|verb| is("verb", verb));
        // The Deployment controller writes the status of Deployments, with PUT.
        let controller = is("resource", "deployments") && is("verb", "PUT");
        if writes && !controller && ours.iter().any(|kind| is("resource", kind)) {
            counted.push((labels.to_owned(), value.to_owned()));
        }
    }
    counted.sort();
    Ok(counted)
}

fn memory_kib(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("its memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[tokio::test]
async fn a_hundred_systems_are_made_and_then_nothing_is_written() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let database = TestDatabase::create().await?;
    let namespace = site.namespace(database.url()).await?;
    let mut system = shop(Kafka::shared().await?.bootstrap());
    // They share their topics: it is the operator that is measured here, not the broker.
    system["spec"]["lanes"] = json!(1);
    system["spec"]["services"] = no_pods();
    let began = Instant::now();
    for group in (0..SYSTEMS).collect::<Vec<_>>().chunks(AT_ONCE) {
        try_join_all(group.iter().map(async |number| {
            let mut one = system.clone();
            one["metadata"]["name"] = json!(format!("shop-{number}"));
            namespace.apply(&one).await
        }))
        .await?;
    }
    eventually(MADE_DEADLINE, "all are ready", async || {
        let path = "--output=jsonpath={range .items[*]}{.status.conditions[?(@.type=='Ready')].status}{'\\n'}{end}";
        let listed = namespace.kubectl(&["get", "ordersystems", path]).await?;
        let ready = listed.lines().filter(|line| *line == "True").count();
        ensure!(ready == SYSTEMS, "{ready} are");
        Ok(())
    })
    .await?;
    println!("{SYSTEMS} systems were ready after {:.1} s", began.elapsed().as_secs_f64());

    let before = writes(&namespace).await?;
    sleep(AT_REST).await;
    let after = writes(&namespace).await?;
    ensure!(
        before == after,
        "written at rest: {:?}",
        after.iter().filter(|it| !before.contains(it)).collect::<Vec<_>>()
    );

    println!("the operator has {} KiB", memory_kib(site.operator.process_id())?);
    let metrics = metrics(&site.operator).await?;
    for line in metrics.lines().filter(|line| line.contains("operator_") && !line.starts_with('#')) {
        println!("{line}");
    }
    Ok(())
}
