//! What whoever is on call asks: health, metrics, and what runs here.

use std::collections::BTreeSet;

use anyhow::Context;
use serde_json::{Value, json};
use tests::shop;
use tests::system::Service;

use crate::{members, visit};

#[tokio::test]
async fn health_has_the_shape_that_spring_boot_gave_it() -> anyhow::Result<()> {
    let shop = visit().await?;
    let client = shop.to(Service::Order)?;

    let health = client.get("/actuator/health").await?.expect(200)?.json()?;
    assert_eq!(health["status"], "UP");
    assert_eq!(health["groups"], json!(["liveness", "readiness"]));
    assert_eq!(health["components"]["db"]["status"], "UP");
    for (name, component) in health["components"].as_object().context("components")? {
        assert_eq!(component["status"], "UP", "{name}");
    }

    let liveness = client.get("/actuator/health/liveness").await?.expect(200)?.json()?;
    assert_eq!(liveness, json!({"status": "UP", "components": {"livenessState": {"status": "UP"}}}));
    let readiness = client.get("/actuator/health/readiness").await?.expect(200)?.json()?;
    assert_eq!(
        (&readiness["status"], &readiness["components"]["readinessState"]["status"]),
        (&json!("UP"), &json!("UP"))
    );
    Ok(())
}

#[tokio::test]
async fn metrics_are_named_told_and_narrowed_by_tags() -> anyhow::Result<()> {
    let shop = visit().await?;
    let client = shop.to(Service::Order)?;
    let order = shop.placed(&shop::order(&[("unheard-of", 1)], None)).await?;
    shop.settled(&order).await?;

    let names = client.get("/actuator/metrics").await?.expect(200)?.json()?;
    let names: BTreeSet<_> = names["names"].as_array().context("names")?.iter().filter_map(Value::as_str).collect();
    assert!(names.contains("http_server_requests_seconds"), "{names:?}");
    for name in &names {
        let metric = client.get(&format!("/actuator/metrics/{name}")).await?;
        // One that counts nothing yet has nothing to tell.
        if metric.status != 404 {
            let metric = metric.expect(200)?.json()?;
            assert_eq!(metric["name"], *name);
            assert!(metric["measurements"].is_array() && metric["availableTags"].is_array(), "{metric}");
        }
    }
    let requests = "/actuator/metrics/http.server.requests.seconds?tag=method:POST&tag=status:201&tag=uri:/orders";
    let placed = client.get(requests).await?.expect(200)?.json()?;
    let count =
        placed["measurements"].as_array().context("measurements")?.iter().find(|one| one["statistic"] == "COUNT");
    assert!(count.and_then(|count| count["value"].as_f64()).is_some_and(|count| count >= 1.0), "{placed}");
    assert_eq!(members(&placed), ["availableTags", "baseUnit", "description", "measurements", "name"]);
    client.get("/actuator/metrics/nothing").await?.problem(404, "not-found")?;
    client.get("/actuator/metrics/http_server_requests_seconds?tag=POST").await?.problem(400, "malformed-request")?;
    Ok(())
}

#[tokio::test]
async fn metrics_come_in_both_formats_that_prometheus_reads() -> anyhow::Result<()> {
    let shop = visit().await?;
    let client = shop.to(Service::Order)?;

    let text = client.get("/actuator/prometheus").await?.expect(200)?;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(text.text().contains("# TYPE http_server_requests_seconds histogram\n"), "{}", text.text());
    let open =
        client.get("/actuator/prometheus").header("Accept", "application/openmetrics-text").await?.expect(200)?;
    assert!(open.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(open.text().ends_with("# EOF\n"));
    // Every family in one piece, under one type: else Prometheus refuses all of it.
    for text in [text.text(), open.text()] {
        let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert_eq!(types.iter().collect::<BTreeSet<_>>().len(), types.len(), "{types:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_process_says_what_it_is() -> anyhow::Result<()> {
    let shop = visit().await?;
    let info = shop.to(Service::Order)?.get("/actuator/info").await?.expect(200)?.json()?;
    assert_eq!(info, json!({"name": "up", "version": env!("CARGO_PKG_VERSION")}));
    Ok(())
}

#[tokio::test]
async fn no_answer_is_cached_or_guessed_at() -> anyhow::Result<()> {
    let shop = visit().await?;
    let client = shop.to(Service::Order)?;
    for path in ["/orders", "/inventory/unheard-of", "/actuator/health", "/nothing", "/openapi.json"] {
        let answer = client.get(path).await?;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    Ok(())
}
