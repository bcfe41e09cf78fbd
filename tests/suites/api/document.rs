//! The document of the API and the page to try it on.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::{Map, Value};
use tests::shop;
use tests::system::Service;

use crate::visit;

/// Every route that there is.
const ROUTES: [(&str, &[&str]); 19] = [
    ("/orders", &["get", "post"]),
    ("/orders/{id}", &["get", "put"]),
    ("/orders/{id}/cancel", &["post"]),
    ("/orders/{id}/events", &["get"]),
    ("/inventory", &["get"]),
    ("/inventory/{productId}", &["get", "put"]),
    ("/inventory/{productId}/adjustments", &["post"]),
    ("/inventory/{productId}/movements", &["get"]),
    ("/payments", &["get", "post"]),
    ("/payments/{id}", &["get"]),
    ("/notifications", &["get"]),
    ("/notifications/{id}", &["get"]),
    ("/actuator/health", &["get"]),
    ("/actuator/health/liveness", &["get"]),
    ("/actuator/health/readiness", &["get"]),
    ("/actuator/info", &["get"]),
    ("/actuator/metrics", &["get"]),
    ("/actuator/metrics/{name}", &["get"]),
    ("/actuator/prometheus", &["get"]),
];

async fn document() -> anyhow::Result<Value> {
    let shop = visit().await?;
    let answer = shop.to(Service::Order)?.get("/openapi.json").await?.expect(200)?;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

/// An operation with its path and method.
type Operation<'a> = (&'a str, &'a str, &'a Map<String, Value>);

/// Every operation.
fn operations(document: &Value) -> anyhow::Result<Vec<Operation<'_>>> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().context("paths")? {
        for (method, operation) in item.as_object().context("a path item")? {
            operations.push((path.as_str(), method.as_str(), operation.as_object().context("an operation")?));
        }
    }
    Ok(operations)
}

#[tokio::test]
async fn the_document_lists_every_route_and_no_other() -> anyhow::Result<()> {
    let document = document().await?;
    let listed: BTreeSet<_> = operations(&document)?.into_iter().map(|(path, method, _)| (path, method)).collect();
    let expected: BTreeSet<_> =
        ROUTES.iter().flat_map(|(path, methods)| methods.iter().map(|method| (*path, *method))).collect();
    assert_eq!(listed, expected);
    Ok(())
}

/// The rules of `OpenAPI` 3.1.1 (4.8.10, 4.8.12, 4.8.16) that tools stumble over.
#[tokio::test]
async fn the_document_is_openapi_3_1() -> anyhow::Result<()> {
    let document = document().await?;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")), "{}", document["openapi"]);
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document)? {
        let id = operation.get("operationId").and_then(Value::as_str).context("an operationId")?;
        ensure!(ids.insert(id), "two operations are {id}");
        ensure!(operation.get("summary").is_some_and(Value::is_string), "{method} {path} has no summary");
        check_responses(operation).with_context(|| format!("{method} {path}"))?;
        check_parameters(path, operation).with_context(|| format!("{method} {path}"))?;
    }
    check_references(&document, &document)
}

fn check_responses(operation: &Map<String, Value>) -> anyhow::Result<()> {
    let responses = operation.get("responses").and_then(Value::as_object).context("no responses")?;
    ensure!(responses.keys().any(|status| status.starts_with('2')), "no answer to hope for");
    for (status, response) in responses {
        ensure!(status.len() == 3 && status.parse::<u16>().is_ok(), "status {status}");
        ensure!(response["description"].is_string(), "{status} has no description");
    }
    Ok(())
}

/// Every parameter once; those in the path are required and in the template, and every one in the template is there.
fn check_parameters(path: &str, operation: &Map<String, Value>) -> anyhow::Result<()> {
    let (mut seen, mut in_path) = (BTreeSet::new(), BTreeSet::new());
    for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let (name, place) = (parameter["name"].as_str().context("a name")?, parameter["in"].as_str().context("in")?);
        ensure!(seen.insert((name, place)), "{name} comes twice");
        ensure!(parameter["schema"].is_object(), "{name} has no schema");
        if place == "path" {
            ensure!(parameter["required"] == true, "{name} is not required");
            in_path.insert(name);
        }
    }
    let template: BTreeSet<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
    ensure!(in_path == template, "{in_path:?} of {template:?}");
    Ok(())
}

/// Every reference leads somewhere, and no keyword is left of 3.0.
fn check_references(document: &Value, part: &Value) -> anyhow::Result<()> {
    match part {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').context("a reference elsewhere")?;
                ensure!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            ensure!(!members.contains_key("nullable"), "`nullable` is not of 3.1: {part}");
            members.values().try_for_each(|member| check_references(document, member))
        }
        Value::Array(elements) => elements.iter().try_for_each(|element| check_references(document, element)),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn every_route_to_read_answers_with_and_without_its_version() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("documented", 5).await?;
    let order = shop.placed(&shop::order(&[("documented", 1)], Some("tok_ok"))).await?;
    shop.until_payment(&order, "captured").await?;
    let payment = shop::id(shop.payments(&order).await?.first().context("a payment")?)?;
    let notice = tests::eventually(shop::SETTLE_DEADLINE, "the customer is told", async || {
        shop::id(shop.notices(&order).await?.first().context("no notice yet")?)
    });
    let notice = notice.await?;
    let client = shop.to(Service::Order)?;
    for (path, methods) in ROUTES {
        if !methods.contains(&"get") {
            continue;
        }
        let id = if path.starts_with("/payments") {
            &payment
        } else if path.starts_with("/notif") {
            &notice
        } else {
            &order
        };
        let path = path.replace("{id}", id).replace("{productId}", "documented");
        let path = path.replace("{name}", "http_server_requests_seconds");
        let query = if path == "/payments" { format!("?orderId={order}") } else { String::new() };
        for prefix in ["", "/v1"] {
            client.get(&format!("{prefix}{path}{query}")).await?.expect(200)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_person_can_try_it_on_a_page() -> anyhow::Result<()> {
    let shop = visit().await?;
    let client = shop.to(Service::Order)?;
    let home = client.get("/").await?.expect(303)?;
    assert_eq!(home.header("location"), Some("/docs"));
    let docs = client.get("/docs").await?.expect(303)?;
    let page = client.get(docs.header("location").unwrap_or_default()).await?.expect(200)?;
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    let script = client.get("/docs/swagger-initializer.js").await?.expect(200)?;
    assert!(script.text().contains("/openapi.json"), "{}", script.text());
    Ok(())
}
