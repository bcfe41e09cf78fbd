//! Keep-alive connections to the order system, and calls that are repeated while repeating can help.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::tally::Tally;
use super::target::Target;

/// How often a call is made in all before it counts as not answered: with the pauses below for a minute and a half or more,
/// so that a broker may be away for a minute. What lasts longer is worth a line in the report.
const MAX_ATTEMPTS: u32 = 180;
/// The longest `Retry-After` that is honoured; a longer one would stall the run.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long to wait before a broken connection's call is repeated.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How long an answer may take that is not asked to wait.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read: a page of 200 orders with the largest bodies has fewer bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// One thing to ask, as often as it takes.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Its name in the report.
    pub name: &'static str,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    timeout: Duration,
}

impl Call {
    pub(super) fn new(name: &'static str, method: Method, path: String) -> Self {
        Self { name, method, path, headers: HeaderMap::new(), body: Bytes::new(), timeout: ANSWER_TIMEOUT }
    }

    pub(super) fn get(name: &'static str, path: String) -> Self {
        Self::new(name, Method::GET, path)
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn json(mut self, body: Bytes) -> Self {
        self.body = body;
        self.header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn request(&self, target: &Target) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(HOST, target.authority())
            .body(Full::new(self.body.clone()))?;
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// When the whole of it was there.
    pub at: Instant,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Its body as `T`.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// How long to wait when it says that the system is too busy.
    fn too_busy(&self) -> Option<Duration> {
        let busy = matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        busy.then(|| {
            let seconds = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Duration::from_secs(seconds.unwrap_or(1)).min(MAX_RETRY_AFTER)
        })
    }
}

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("cannot connect")]
    Connect(#[from] std::io::Error),
    #[error("cannot make the request")]
    Request(#[from] hyper::http::Error),
    #[error("the connection failed")]
    Connection(#[from] hyper::Error),
    #[error("the answer breaks off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer in time")]
    Timeout,
}

/// One connection, opened when it is first used and again when it broke.
pub(super) struct Connection {
    target: Arc<Target>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub(super) fn new(target: &Arc<Target>) -> Self {
        Self { target: Arc::clone(target), sender: None }
    }

    /// Makes the call until it is answered by more than "too busy", at most [`MAX_ATTEMPTS`] times. A call is made to be
    /// repeated: it is idempotent, or has an idempotency key.
    pub(super) async fn call(&mut self, call: &Call, tally: &mut Tally) -> Option<Answer> {
        for attempt in 1..=MAX_ATTEMPTS {
            let (pause, failure) = match self.once(call).await {
                Ok(answer) => match answer.too_busy() {
                    None => return Some(answer),
                    Some(pause) => (pause, answer.status.as_str().to_owned()),
                },
                Err(error) => {
                    tracing::debug!(call = call.name, error = &error as &dyn std::error::Error, "not answered");
                    (RECONNECT_PAUSE, "no answer".to_owned())
                }
            };
            if attempt == MAX_ATTEMPTS {
                tally.unexpected(call.name, failure);
            } else {
                tally.retried(failure);
                sleep(pause).await;
            }
        }
        None
    }

    /// Makes the call once.
    pub(super) async fn once(&mut self, call: &Call) -> Result<Answer, CallError> {
        let answered = timeout(call.timeout, self.exchange(call)).await.unwrap_or(Err(CallError::Timeout));
        if answered.is_err() {
            // Its answer may still be on its way and must not be taken for the next call's.
            self.sender = None;
        }
        answered
    }

    async fn exchange(&mut self, call: &Call) -> Result<Answer, CallError> {
        let request = call.request(&self.target)?;
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => connect(&self.target).await?,
        };
        sender.ready().await?;
        let answer = collect(sender.send_request(request).await?).await?;
        self.sender = Some(sender);
        Ok(answer)
    }
}

async fn connect(target: &Target) -> Result<SendRequest<Full<Bytes>>, CallError> {
    let stream = TcpStream::connect(target.address()).await?;
    // A request is one small write, which must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; what broke it is told to whoever waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}

async fn collect(response: Response<Incoming>) -> Result<Answer, CallError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(CallError::Body)?;
    Ok(Answer { at: Instant::now(), status: head.status, headers: head.headers, body: body.to_bytes() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_busy_system_is_asked_again_after_the_time_it_names() {
        let answer = |status, seconds: Option<&'static str>| {
            let headers = seconds.map(|seconds| (RETRY_AFTER, HeaderValue::from_static(seconds)));
            Answer { at: Instant::now(), status, headers: headers.into_iter().collect(), body: Bytes::new() }
        };
        let busy = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(answer(busy, Some("2")).too_busy(), Some(Duration::from_secs(2)));
        assert_eq!(answer(busy, Some("3600")).too_busy(), Some(MAX_RETRY_AFTER));
        assert_eq!(answer(busy, None).too_busy(), Some(Duration::from_secs(1)));
        assert_eq!(answer(StatusCode::CREATED, Some("2")).too_busy(), None);
    }

    #[tokio::test]
    async fn a_call_on_a_broken_connection_is_made_again_on_another() {
        // given a server that hangs up at once, and then does not
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let target = format!("http://{}", listener.local_addr().expect("is bound"));
        let server = tokio::spawn(async move {
            drop(listener.accept().await.expect("is called"));
            let (mut stream, _) = listener.accept().await.expect("is called again");
            let asked = stream.read(&mut [0; 1024]).await;
            assert!(asked.is_ok_and(|bytes| bytes > 0));
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("can answer");
            stream
        });
        // when
        let mut connection = Connection::new(&Arc::new(target.parse().expect("is a target")));
        let mut tally = Tally::default();
        let answer = connection.call(&Call::get("get", "/".to_owned()), &mut tally).await;
        // then
        assert_eq!(answer.expect("is answered").status, StatusCode::OK);
        assert_eq!(tally.retried, BTreeMap::from([("no answer".to_owned(), 1)]));
        assert!(tally.unexpected.is_empty());
        drop(server.await);
    }
}
