//! From a listening socket to answers, until the process stops.

mod pace;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::problem::CONTENT;
use crate::{Problem, Process, Service, app};
use pace::{Activity, Paced, Reported};

/// Connections served at once. One that is idle costs some 10 KiB; beyond this many the clients should share theirs.
const MAX_CONNECTIONS: usize = 4096;

/// How long a connection is idle before it makes way for another. A client that works sends its next request before, and
/// would meet the closing.
const SPARED: Duration = Duration::from_secs(2);

/// How long a connection may be idle, the next request's head included. Longer than the 60 s after which proxies and load
/// balancers end theirs, lest they send a request into the closing. How long a head that has begun may take is
/// [`pace::HEAD_TIMEOUT`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The largest head of a request, and the most that is read ahead of one.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long requests may take to finish once the process stops; well within the 30 s Kubernetes gives a pod.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be accepted: mostly for a file descriptor to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where a process listens; flatten it into the process's own settings.
#[derive(Debug, Clone, clap::Args)]
pub struct ListenSettings {
    /// Address and port to serve HTTP on; port 0 picks a free one
    #[arg(long, env = "ORDERSYSTEM_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
}

impl ListenSettings {
    /// Binds the address.
    pub async fn bind(&self) -> Result<TcpListener, ServeError> {
        let address = self.listen;
        TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
    }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is no listening one.
    #[error("cannot tell where the server listens")]
    Address(#[source] io::Error),
}

/// Serves the services until the process stops, then lets requests under way finish within a deadline.
pub async fn serve(listener: TcpListener, services: Vec<Service>, process: Process) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    let app = app(services, &process);
    info!(%address, "serving HTTP");
    let connections =
        accept(listener, &app, process.stop(), Room { connections: MAX_CONNECTIONS, spared: SPARED }).await;
    drain(connections).await;
    Ok(())
}

/// Clients that are told at once that there are too many connections, and how long each may take to ask.
const MAX_REFUSALS: usize = 256;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// How much is read of a request that is refused: all of most.
const REFUSED_BYTES: usize = 4096;

/// How many connections are served.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// So many at once.
    connections: usize,
    /// One that is idle for shorter than this makes no way for another.
    spared: Duration,
}

/// Accepts connections until the stop; then the listener is closed, so that new ones go elsewhere.
async fn accept(listener: TcpListener, app: &Router, stop: &CancellationToken, room: Room) -> JoinSet<()> {
    let mut connections = Connections::default();
    let mut stopped = pin!(stop.cancelled());
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => return connections.tasks,
            accepted = listener.accept() => accepted,
        };
        connections.forget_ended();
        match accepted {
            Ok((stream, _)) if connections.may_grow(room) => connections.open(stream, app, stop),
            Ok((stream, _)) => connections.refuse(stream),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connections that are served.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    refused: JoinSet<()>,
    /// Those that were not told to end.
    kept: HashMap<Id, (Activity, CancellationToken)>,
}

impl Connections {
    fn open(&mut self, stream: TcpStream, app: &Router, stop: &CancellationToken) {
        let (activity, end) = (Activity::new(), stop.child_token());
        let task = self.tasks.spawn(converse(stream, app.clone(), activity.clone(), end.clone()));
        self.kept.insert(task.id(), (activity, end));
    }

    /// Tells a client that there are too many; beyond a number of those there is only the closing.
    fn refuse(&mut self, stream: TcpStream) {
        if self.refused.len() < MAX_REFUSALS {
            self.refused.spawn(async { drop(timeout(REFUSAL_TIMEOUT, refuse(stream)).await) });
        }
    }

    fn forget_ended(&mut self) {
        while self.refused.try_join_next().is_some() {}
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
            self.kept.remove(&id);
        }
    }

    /// Whether one more may come. One that asks for nothing makes way, so that clients that only hold connections keep
    /// nobody out.
    fn may_grow(&mut self, room: Room) -> bool {
        if self.tasks.len() < room.connections {
            return true;
        }
        let idle = self.kept.iter().filter_map(|(id, (activity, _))| Some((activity.idle_since()?, *id)));
        let longest = idle.min_by_key(|(since, _)| *since).filter(|(since, _)| since.elapsed() >= room.spared);
        let Some((_, end)) = longest.and_then(|(_, id)| self.kept.remove(&id)) else { return false };
        end.cancel();
        true
    }
}

/// Serves one connection until its client is done or too slow, or it is told to end.
async fn converse(stream: TcpStream, app: Router, activity: Activity, end: CancellationToken) {
    if stream.set_nodelay(true).is_err() {
        // It was closed before it was opened.
        return;
    }
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let service = TowerToHyperService::new(Reported::new(app, activity.clone()));
    let mut connection = pin!(http.serve_connection(TokioIo::new(Paced::new(stream, activity)), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke off");
    }
}

/// Answers a client that there are too many, once it has asked: an answer before the question is none to many clients, and
/// closing on a question that was not read would take the answer back.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let mut head = vec![0; REFUSED_BYTES];
    let read = stream.read(&mut head).await?;
    if read == 0 {
        return Ok(());
    }
    let body = Problem::overloaded().to_json(asked_for(&head[..read]));
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {CONTENT}\r\nRetry-After: 1\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    stream.shutdown().await
}

/// The path that a request asks for, if its first line is there and can be read.
fn asked_for(head: &[u8]) -> Option<&str> {
    let end = head.iter().position(|byte| *byte == b'\r')?;
    let target = str::from_utf8(&head[..end]).ok()?.split(' ').nth(1)?;
    target.split('?').next()
}

async fn drain(mut connections: JoinSet<()>) {
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_DEADLINE, ended).await.is_err() {
        warn!(connections = connections.len(), "cutting off requests that take too long to finish");
        connections.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    #[test]
    fn what_a_refused_client_asked_for_is_in_its_first_line() {
        assert_eq!(asked_for(b"POST /orders?a=/b HTTP/1.1\r\nHost: a\r\n"), Some("/orders"));
        for unclear in [&b"POST /ord"[..], b"POST\r\n", b"\xff /orders HTTP/1.1\r\n", b""] {
            assert_eq!(asked_for(unclear), None);
        }
    }

    /// A server of two connections, one route of which never answers.
    struct Narrow {
        address: SocketAddr,
        stop: CancellationToken,
        server: JoinHandle<JoinSet<()>>,
        entered: Arc<Notify>,
    }

    impl Narrow {
        async fn start() -> io::Result<Self> {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let (address, stop) = (listener.local_addr()?, CancellationToken::new());
            let entered = Arc::new(Notify::new());
            let within = Arc::clone(&entered);
            let never = async move || {
                within.notify_one();
                std::future::pending::<()>().await;
            };
            let app = Router::new().route("/never", get(never));
            let ended = stop.clone();
            let room = Room { connections: 2, spared: Duration::from_millis(1) };
            let server = tokio::spawn(async move { accept(listener, &app, &ended, room).await });
            Ok(Self { address, stop, server, entered })
        }

        async fn ask(&self, request: &str) -> io::Result<TcpStream> {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(request.as_bytes()).await?;
            Ok(stream)
        }

        /// A connection whose request is being served for ever.
        async fn busy(&self) -> io::Result<TcpStream> {
            let stream = self.ask("GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await?;
            self.entered.notified().await;
            Ok(stream)
        }

        async fn end(self) -> io::Result<()> {
            self.stop.cancel();
            self.server.await?.shutdown().await;
            Ok(())
        }
    }

    async fn rest(stream: &mut TcpStream) -> io::Result<String> {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_connection_too_many_is_told_so_and_closed() -> io::Result<()> {
        let narrow = Narrow::start().await?;
        let _both = (narrow.busy().await?, narrow.busy().await?);
        let refusal = rest(&mut narrow.ask("GET / HTTP/1.1\r\n\r\n").await?).await?;
        assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
        assert!(refusal.contains("/problems/overloaded\""), "{refusal}");
        assert!(refusal.contains("\"instance\":\"/\""), "{refusal}");
        assert!(refusal.contains("\r\nRetry-After: 1\r\n"), "{refusal}");
        narrow.end().await
    }

    #[tokio::test]
    async fn a_connection_that_asks_for_nothing_makes_way() -> io::Result<()> {
        let narrow = Narrow::start().await?;
        let mut busy = narrow.busy().await?;
        let mut idle = narrow.ask("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        let mut answer = [0; 12];
        idle.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"HTTP/1.1 404");
        sleep(Duration::from_millis(5)).await;

        let answer = rest(&mut narrow.ask("GET / HTTP/1.0\r\n\r\n").await?).await?;
        assert!(answer.starts_with("HTTP/1.0 404 "), "{answer}");
        // The idle one was closed for it, the busy one was not.
        rest(&mut idle).await?;
        assert!(timeout(Duration::from_millis(50), busy.read_u8()).await.is_err());
        narrow.end().await
    }
}
