//! From a listening socket to answers, until the process stops.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::problem::CONTENT;
use crate::{Problem, Process, Service, app};

/// Connections served at once. One that is idle costs some 10 KiB; beyond this many the clients should share theirs.
const MAX_CONNECTIONS: usize = 4096;

/// How long a connection may take to send a request's head, the wait for it included: so it also ends idle
/// connections. Longer than the 60 s after which proxies and load balancers end theirs, lest they send a request into
/// the closing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

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
    let connections = accept(listener, &app, process.stop(), MAX_CONNECTIONS).await;
    drain(connections).await;
    Ok(())
}

/// Accepts connections until the stop; then the listener is closed, so that new ones go elsewhere.
async fn accept(listener: TcpListener, app: &Router, stop: &CancellationToken, max_connections: usize) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let mut stopped = pin!(stop.cancelled());
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => return connections,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) if connections.len() < max_connections => {
                connections.spawn(converse(stream, app.clone(), stop.child_token()));
            }
            Ok((stream, _)) => refuse(stream),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until its client is done or the process stops.
async fn converse(stream: TcpStream, app: Router, stop: CancellationToken) {
    if stream.set_nodelay(true).is_err() {
        // It was closed before it was opened.
        return;
    }
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let service = TowerToHyperService::new(app);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke off");
    }
}

/// Tells a client that there are too many, as far as that is possible without waiting for it.
fn refuse(stream: TcpStream) {
    let body = Problem::overloaded().to_json(None);
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {CONTENT}\r\nRetry-After: 1\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // The socket's buffer is empty, so this does not block; if the client is gone, nobody misses it.
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(&[head.as_bytes(), &body].concat()));
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_connection_too_many_is_told_so_and_closed() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let server = tokio::spawn({
            let stop = stop.clone();
            async move { accept(listener, &Router::new(), &stop, 1).await }
        });

        let mut first = TcpStream::connect(address).await?;
        let mut second = TcpStream::connect(address).await?;
        let mut refusal = String::new();
        second.read_to_string(&mut refusal).await?;
        assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
        assert!(refusal.contains("/problems/overloaded\""), "{refusal}");

        // The first is still served.
        first.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        first.read_to_string(&mut answer).await?;
        assert!(answer.starts_with("HTTP/1.0 404 "), "{answer}");
        stop.cancel();
        drain(server.await?).await;
        Ok(())
    }
}
