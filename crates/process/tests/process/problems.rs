//! What a client meets when a request is wrong, or the service is.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use crate::support::{Answer, ask, get, served};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

async fn post(body: impl Into<Body>) -> Answer {
    post_as("application/json", body).await
}

async fn post_as(content_type: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post("/things").header("content-type", content_type);
    ask(&served().1, request.body(body.into()).unwrap()).await
}

async fn get_accepting(path: &str, accept: &str) -> Answer {
    let request = Request::get(path).header("accept", accept);
    ask(&served().1, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_good_body_reaches_the_handler_also_as_json_of_a_kind() {
    let thing = r#"{"name": "a", "lines": [{"quantity": 1}]}"#;
    for content_type in ["application/json", "application/json; charset=utf-8", "application/x+json"] {
        let answer = post_as(content_type, thing).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.json()["lines"][0]["quantity"], 1);
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_by_its_type_is_refused() {
    for content_type in ["text/plain", "application/xml", "text/json", ""] {
        post_as(content_type, "{}").await.problem(415, "unsupported-media-type");
    }
}

#[tokio::test]
async fn an_empty_body_is_malformed() {
    let problem = post("").await.problem(400, "malformed-request");
    assert_eq!(problem["detail"], "the body is empty");
    assert_eq!(problem["instance"], "/things");
}

#[tokio::test]
async fn broken_json_is_malformed_and_says_where() {
    let problem = post("{\n  \"name\": }").await.problem(400, "malformed-request");
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(11)));
    for broken in ["{", "[", "nul", r#"{"name": "a", "lines": []} and more"#] {
        post(broken).await.problem(400, "malformed-request");
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf8_is_malformed() {
    let problem = post(&b"{\"name\": \"\xff\"}"[..]).await.problem(400, "malformed-request");
    assert_eq!(problem["detail"], "not UTF-8 after 10 bytes");
}

#[tokio::test]
async fn a_wrong_value_is_pointed_at() {
    let wrong = [
        (json!({"name": "a", "lines": [{"quantity": "1"}]}), "/lines/0/quantity"),
        (json!({"name": "a", "lines": [{"quantity": 1}, {"quantity": -1}]}), "/lines/1/quantity"),
        (json!({"name": "a", "lines": [{"quantity": 1.5}]}), "/lines/0/quantity"),
        (json!({"name": "a", "lines": [{"quantity": 4_294_967_296_u64}]}), "/lines/0/quantity"),
        (json!({"name": "a", "lines": [], "colour/~": 1}), "/colour~1~0"),
        (json!({"name": null, "lines": []}), "/name"),
        (json!({"name": "a", "lines": [{}]}), "/lines/0"),
        (json!({"name": "a"}), ""),
        (json!("a"), ""),
    ];
    for (body, pointer) in wrong {
        let problem = post(body.to_string()).await.problem(422, "validation-failed");
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!((errors.len(), &errors[0]["pointer"]), (1, &json!(pointer)), "{problem}");
        let detail = errors[0]["detail"].as_str().unwrap();
        assert!(!detail.is_empty() && !detail.contains("line "), "{detail}");
    }
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit_and_not_beyond() {
    let padded = |bytes: usize| {
        let thing = r#"{"name": "a", "lines": []}"#;
        format!("{thing}{}", " ".repeat(bytes - thing.len()))
    };
    assert_eq!(post(padded(process::MAX_BODY_BYTES)).await.status, 201);
    let problem = post(padded(process::MAX_BODY_BYTES + 1)).await.problem(413, "too-large");
    assert_eq!(problem["detail"], "at most 262144 bytes are read");
}

#[tokio::test]
async fn a_body_of_unannounced_length_is_bounded_too() {
    let chunks = http_body_util::Full::from(vec![b' '; process::MAX_BODY_BYTES + 1]);
    let unannounced = Body::new(Unannounced(chunks));
    post(unannounced).await.problem(413, "too-large");
}

#[tokio::test]
async fn a_bad_query_names_its_parameter() {
    let (_, app) = served();
    assert_eq!(get(&app, "/things?limit=5").await.json(), json!(5));
    let problem = get(&app, "/things?limit=many").await.problem(400, "malformed-request");
    assert_eq!(problem["detail"], "bad query: limit: invalid digit found in string");
}

#[tokio::test]
async fn a_bad_id_in_the_path_is_malformed() {
    let problem = get(&served().1, "/things/7").await.problem(400, "malformed-request");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("bad `id` in the path: "), "{detail}");
    assert_eq!(problem["instance"], "/things/7");
}

#[tokio::test]
async fn an_unknown_path_is_not_found_under_v1_too() {
    for path in ["/nothing", "/v1/nothing", "/v1/", "/v1/v1/things", "/actuator/nothing"] {
        let problem = get(&served().1, path).await.problem(404, "not-found");
        assert_eq!(problem["instance"], path);
    }
}

#[tokio::test]
async fn an_unknown_method_is_refused_with_those_that_are_known() {
    for (path, allow) in [
        ("/things", "GET,HEAD,POST"),
        ("/v1/things", "GET,HEAD,POST"),
        ("/actuator/health", "GET,HEAD"),
        ("/", "GET,HEAD"),
    ] {
        let request = Request::delete(path).body(Body::empty()).unwrap();
        let answer = ask(&served().1, request).await;
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn an_api_answers_only_who_takes_json() {
    get_accepting("/things", "text/html").await.problem(406, "not-acceptable");
    get_accepting("/v1/things", "application/json;q=0").await.problem(406, "not-acceptable");
    assert_eq!(get_accepting("/things", "application/problem+json").await.status, 200);
    assert_eq!(get_accepting("/actuator/health", "text/html").await.status, 200);
    assert_eq!(get_accepting("/openapi.json", "text/html").await.status, 200);
}

#[tokio::test]
async fn a_panic_is_an_internal_problem_without_the_reason() {
    let answer = get(&served().1, "/failures/panic").await;
    answer.problem(500, "internal");
    assert!(!answer.text().contains("told to"), "{answer:?}");
}

#[tokio::test]
async fn an_overload_says_when_to_come_back() {
    let answer = get(&served().1, "/failures/overloaded").await;
    answer.problem(503, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    get(&served().1, "/failures/unavailable").await.problem(503, "unavailable");
    get(&served().1, "/failures/internal").await.problem(500, "internal");
}

#[tokio::test]
async fn a_problem_carries_what_helps() {
    let problem = get(&served().1, "/v1/failures/conflict").await.problem(409, "state-conflict");
    let expected = json!({
        "type": "https://ordersystem.dev/problems/state-conflict",
        "title": "Not in this state",
        "status": 409,
        "detail": "it is done",
        "instance": "/v1/failures/conflict",
        "allowedActions": ["look"],
        "currentVersion": 7,
    });
    assert_eq!(problem, expected);
}

#[tokio::test]
async fn every_answer_forbids_sniffing_and_storing_unless_its_handler_allows_it() {
    let (_, app) = served();
    let id = uuid::Uuid::nil();
    for (path, cache) in [
        ("/things".to_owned(), "no-store"),
        ("/nothing".to_owned(), "no-store"),
        ("/failures/panic".to_owned(), "no-store"),
        (format!("/things/{id}"), "no-cache"),
    ] {
        let answer = get(&app, &path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        assert_eq!(answer.headers.get("server"), None);
    }
}

#[tokio::test]
async fn problems_are_in_the_document() {
    let document = get(&served().1, "/openapi.json").await.json();
    let properties = &document["components"]["schemas"]["Problem"]["properties"];
    for member in ["type", "title", "status", "detail", "instance"] {
        assert_ne!(properties[member], Value::Null, "{document:#}");
    }
}

/// A body that does not say how long it is, as with `Transfer-Encoding: chunked`.
struct Unannounced(http_body_util::Full<bytes::Bytes>);

impl axum::body::HttpBody for Unannounced {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(context)
    }
}
