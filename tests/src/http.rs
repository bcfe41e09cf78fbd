//! A thin HTTP client: it says what was answered and judges nothing.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::http::request::Builder;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use process::problem;
use serde_json::{Value, json};

/// How long an answer may take; a client may ask the system to wait 10 s before it answers.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// Speaks to one server over kept connections. Cheap to clone; belongs to the test that made it.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    connections: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// For the server at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: impl Into<String>) -> Self {
        let connections = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        let base = base.into().trim_end_matches('/').to_owned();
        Self { base, connections }
    }

    /// For the server at `base`, with what this one has of connections.
    #[must_use]
    pub fn at(&self, base: impl Into<String>) -> Self {
        Self { base: base.into(), connections: self.connections.clone() }
    }

    /// Where that server is, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `GET` of `path`, which starts with a slash and may have a query.
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// `POST` to `path`.
    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// `PUT` to `path`.
    pub fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    /// Any method.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let uri = format!("{}{path}", self.base);
        Call {
            client: self.clone(),
            line: format!("{method} {path}"),
            request: Request::builder().method(method).uri(uri),
            body: Bytes::new(),
        }
    }
}

/// A request in the making; awaiting it sends it.
#[must_use = "a call is made by awaiting it"]
#[derive(Debug)]
pub struct Call {
    client: Client,
    line: String,
    request: Builder,
    body: Bytes,
}

impl Call {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sets a JSON body and its content type.
    pub fn json(self, body: &Value) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json").body(body.to_string())
    }

    /// Sets a body of any bytes.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    async fn send(self) -> anyhow::Result<Answer> {
        let request = self.request.body(Full::new(self.body))?;
        let answered = async {
            let (head, body) = self.client.connections.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok((head, body))
        };
        let (head, body) = tokio::time::timeout(ANSWER_DEADLINE, answered)
            .await
            .with_context(|| format!("{}: no answer within {ANSWER_DEADLINE:?}", self.line))?
            .with_context(|| self.line.clone())?;
        Ok(Answer { line: self.line, status: head.status, headers: head.headers, body })
    }
}

impl IntoFuture for Call {
    type Output = anyhow::Result<Answer>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked: method and path.
    pub line: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

impl Answer {
    /// This answer if its status is `status`, or else an error that shows it.
    pub fn expect(self, status: u16) -> anyhow::Result<Self> {
        let Self { line, body, .. } = &self;
        let words = String::from_utf8_lossy(body);
        ensure!(self.status == status, "{line}: {} instead of {status}: {words}", self.status);
        Ok(self)
    }

    /// The problem that this answer is, or else an error that shows what it is.
    pub fn problem(&self, status: u16, slug: &str) -> anyhow::Result<Value> {
        let problem = self.clone().expect(status)?.json()?;
        let expected = [
            (CONTENT_TYPE.as_str(), json!(self.header(CONTENT_TYPE.as_str())), json!(problem::CONTENT)),
            ("type", problem["type"].clone(), json!(format!("{}{slug}", problem::TYPE_BASE))),
            ("status", problem["status"].clone(), json!(status)),
            ("instance", problem["instance"].clone(), json!(self.path())),
        ];
        for (member, found, expected) in expected {
            ensure!(found == expected, "{}: {member} is {found}, not {expected}: {problem}", self.line);
        }
        ensure!(problem["title"].is_string(), "{}: no title: {problem}", self.line);
        Ok(problem)
    }

    /// This answer, once it is certain that it is a problem of whatever kind with `status`.
    pub fn problem_of(self, status: u16) -> anyhow::Result<Self> {
        ensure!(self.header(CONTENT_TYPE.as_str()) == Some(problem::CONTENT), "{}: {}", self.line, self.text());
        self.expect(status)
    }

    /// The path that was asked for.
    fn path(&self) -> &str {
        let target = self.line.split_once(' ').map_or("", |(_, target)| target);
        target.split('?').next().unwrap_or(target)
    }

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: no JSON", self.line))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of header `name`, if there is one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
