//! What the process says of itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use crate::support::{ask, get, served};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

async fn status_and_json(app: &Router, path: &str) -> (u16, Value) {
    let answer = get(app, path).await;
    assert_eq!(answer.header("content-type"), "application/json");
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn a_process_without_components_is_up() {
    let (_, app) = served();
    let up = json!({"status": "UP"});
    let expected = json!({
        "status": "UP",
        "groups": ["liveness", "readiness"],
        "components": {"livenessState": up, "readinessState": up},
    });
    assert_eq!(status_and_json(&app, "/actuator/health").await, (200, expected));
}

#[tokio::test]
async fn a_component_is_down_until_it_says_that_it_is_up() {
    let (process, app) = served();
    let db = process.health().component("db");
    let (status, health) = status_and_json(&app, "/actuator/health").await;
    assert_eq!((status, &health["status"]), (503, &json!("DOWN")));
    let starting = json!({"status": "DOWN", "details": {"reason": "starting"}});
    assert_eq!(health["components"]["db"], starting);

    db.up();
    let (status, health) = status_and_json(&app, "/actuator/health/readiness").await;
    assert_eq!((status, &health["components"]["db"]), (200, &json!({"status": "UP"})));

    db.down("disconnected");
    db.detail("attempts", 3);
    let (status, health) = status_and_json(&app, "/actuator/health/readiness").await;
    let details = json!({"reason": "disconnected", "attempts": 3});
    assert_eq!((status, &health["components"]["db"]["details"]), (503, &details));
    assert!(!db.is_up());
}

#[tokio::test]
async fn a_component_that_is_down_never_fails_liveness() {
    let (process, app) = served();
    process.health().component("db").down("disconnected");
    let (status, health) = status_and_json(&app, "/actuator/health/liveness").await;
    let alive = json!({"status": "UP", "components": {"livenessState": {"status": "UP"}}});
    assert_eq!((status, health), (200, alive));
}

#[tokio::test]
async fn an_optional_component_is_reported_but_does_not_count_for_readiness() {
    let (process, app) = served();
    process.health().optional_component("kafka").down("unreachable");
    assert_eq!(status_and_json(&app, "/actuator/health").await.0, 503);
    assert_eq!(status_and_json(&app, "/actuator/health/readiness").await.0, 200);
}

#[tokio::test]
async fn components_that_share_a_name_show_the_worst_of_them() {
    let (process, app) = served();
    process.health().component("db").up();
    let second = process.health().component("db");
    second.down("disconnected");
    let (_, health) = status_and_json(&app, "/actuator/health").await;
    assert_eq!(health["components"]["db"]["status"], "DOWN");
    second.up();
    assert_eq!(status_and_json(&app, "/actuator/health").await.0, 200);
}

#[tokio::test]
async fn a_dead_task_fails_liveness_and_a_stop_fails_readiness() {
    let (process, app) = served();
    process.spawn("relay", async { Err::<(), _>("out of order") });
    process.stop().cancelled().await;
    let (status, health) = status_and_json(&app, "/actuator/health/liveness").await;
    let details = json!({"reason": "task died", "task": "relay"});
    assert_eq!((status, &health["status"]), (503, &json!("DOWN")));
    assert_eq!(health["components"]["livenessState"]["details"], details);
    let (status, health) = status_and_json(&app, "/actuator/health/readiness").await;
    assert_eq!((status, &health["status"]), (503, &json!("OUT_OF_SERVICE")));
}

#[tokio::test]
async fn info_tells_name_and_version() {
    let (_, app) = served();
    let expected = json!({"name": "test", "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(status_and_json(&app, "/actuator/info").await, (200, expected));
}

#[tokio::test]
async fn requests_are_timed_by_route_never_by_path() {
    let (_, app) = served();
    let id = uuid::Uuid::nil();
    for path in [format!("/things/{id}"), format!("/v1/things/{id}"), "/secret/path".to_owned()] {
        get(&app, &path).await;
    }
    let brew = Request::builder().method("BREW").uri("/things").body(Body::empty()).unwrap();
    ask(&app, brew).await;
    let text = get(&app, "/actuator/prometheus").await;
    let count = |labels: &str| format!("http_server_requests_seconds_count{{{labels}}} 1\n");
    for labels in [
        r#"service="thing",method="GET",uri="/things/{id}",status="200""#,
        r#"service="thing",method="GET",uri="/v1/things/{id}",status="200""#,
        r#"service="thing",method="OTHER",uri="/things",status="405""#,
        r#"method="GET",uri="UNKNOWN",status="404""#,
    ] {
        assert!(text.text().contains(&count(labels)), "{labels} in {}", text.text());
    }
    assert!(!text.text().contains("secret"), "{}", text.text());
}

#[tokio::test]
async fn prometheus_gets_the_format_it_asks_for_with_each_family_once() {
    let (process, app) = served();
    for service in ["order", "payment"] {
        let metrics = process.metrics().for_service(service);
        metrics.counter("batches", "Batches written").inc();
    }
    let plain = get(&app, "/actuator/prometheus").await;
    assert_eq!(plain.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let expected = "# HELP ordersystem_batches_total Batches written.\n\
                    # TYPE ordersystem_batches_total counter\n\
                    ordersystem_batches_total{service=\"order\"} 1\n\
                    ordersystem_batches_total{service=\"payment\"} 1\n";
    assert!(plain.text().contains(expected), "{}", plain.text());

    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let request = Request::get("/actuator/prometheus").header("accept", accept);
    let open = ask(&app, request.body(Body::empty()).unwrap()).await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), content_type);
    assert!(open.text().contains("# TYPE ordersystem_batches counter\n"), "{}", open.text());
    assert!(open.text().ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_process_itself_is_measured() {
    let (_, app) = served();
    for name in
        ["process_start_time_seconds", "process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"]
    {
        let (status, metric) = status_and_json(&app, &format!("/actuator/metrics/{name}")).await;
        assert_eq!(status, 200, "{name}");
        let value = metric["measurements"][0]["value"].as_f64().unwrap();
        // A young process may have spent less than a tick of CPU.
        let least = if name == "process_cpu_seconds" { 0.0 } else { 1.0 };
        assert!(value >= least, "{metric}");
    }
}

#[tokio::test]
async fn a_metric_is_told_in_springs_shape_and_narrowed_by_tags() {
    let (process, app) = served();
    process.metrics().for_service("order").gauge("queued", "Commands waiting").set(3);
    process.metrics().for_service("payment").gauge("queued", "Commands waiting").set(4);
    let (_, names) = status_and_json(&app, "/actuator/metrics").await;
    assert!(names["names"].as_array().unwrap().contains(&json!("ordersystem_queued")));

    let (status, metric) = status_and_json(&app, "/actuator/metrics/ordersystem_queued").await;
    let expected = json!({
        "name": "ordersystem_queued",
        "description": "Commands waiting.",
        "measurements": [{"statistic": "VALUE", "value": 7.0}],
        "availableTags": [{"tag": "service", "values": ["order", "payment"]}],
    });
    assert_eq!((status, metric), (200, expected));

    let narrowed = "/actuator/metrics/ordersystem.queued?tag=service:payment";
    let (_, metric) = status_and_json(&app, narrowed).await;
    assert_eq!(metric["measurements"], json!([{"statistic": "VALUE", "value": 4.0}]));
    assert_eq!(metric["availableTags"], json!([]));
}

#[tokio::test]
async fn an_unknown_metric_or_tag_is_not_found_and_half_a_tag_is_malformed() {
    let (_, app) = served();
    get(&app, "/actuator/metrics/nothing").await.problem(404, "not-found");
    let path = "/actuator/metrics/process_open_fds";
    get(&app, &format!("{path}?tag=a:b")).await.problem(404, "not-found");
    get(&app, &format!("{path}?tag=a")).await.problem(400, "malformed-request");
}

#[tokio::test]
async fn everything_answers_under_v1_too() {
    let (_, app) = served();
    for path in ["/things", "/actuator/health", "/actuator/prometheus", "/openapi.json", "/docs/"] {
        assert_eq!(get(&app, &format!("/v1{path}")).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_document_holds_every_route_and_the_page_shows_it() {
    let (_, app) = served();
    let document = get(&app, "/openapi.json").await;
    assert_eq!(document.header("content-type"), "application/json");
    let document = document.json();
    assert_eq!((&document["openapi"], &document["info"]["title"]), (&json!("3.1.0"), &json!("ordersystem")));
    for path in ["/things", "/things/{id}", "/actuator/health", "/actuator/metrics/{name}"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }

    for (from, to) in [("/", "/docs"), ("/docs", "/docs/")] {
        let answer = get(&app, from).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, to));
    }
    let page = get(&app, "/docs/").await;
    assert!(page.header("content-type").starts_with("text/html"));
    let script = get(&app, "/docs/swagger-initializer.js").await;
    assert!(script.text().contains("\"/openapi.json\""), "{}", script.text());
    assert_eq!(get(&app, "/docs/swagger-ui-bundle.js").await.status, 200);
}
