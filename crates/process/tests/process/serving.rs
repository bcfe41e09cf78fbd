//! Over real connections.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use clap::Parser;
use process::telemetry::{LogFormat, TelemetrySettings};
use process::{ListenSettings, Process, ServeError, Service, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::support;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    listen: ListenSettings,
    #[command(flatten)]
    telemetry: TelemetrySettings,
}

async fn start(service: Service) -> (Process, SocketAddr, JoinHandle<Result<(), ServeError>>) {
    let settings = Settings::parse_from(["test", "--listen", "127.0.0.1:0"]);
    let listener: TcpListener = settings.listen.bind().await.unwrap();
    let address = listener.local_addr().unwrap();
    let process = Process::new("test");
    let server = tokio::spawn(serve(listener, vec![service], process.clone()));
    (process, address, server)
}

async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn settings_have_defaults() {
    let settings = Settings::parse_from(["test"]);
    assert_eq!(settings.listen.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.telemetry.log_format, LogFormat::Text);
}

#[tokio::test]
async fn a_taken_address_is_told() {
    let (process, address, server) = start(support::service()).await;
    let error = ListenSettings { listen: address }.bind().await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    process.stop().cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_under_way_is_answered_while_the_process_stops() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entering, going) = (Arc::clone(&entered), Arc::clone(&go));
    let handler = async move || {
        entering.notify_one();
        going.notified().await;
        "done"
    };
    let router = Router::new().route("/slow", get(handler));
    let openapi = support::service().openapi;
    let (process, address, server) = start(Service { name: "slow", router, openapi }).await;

    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    let request = "GET /slow HTTP/1.1\r\nHost: test\r\n\r\n";
    let answer = tokio::spawn(async move { exchange(&mut busy, request).await });
    entered.notified().await;
    process.stop().cancel();

    // The idle connection is ended at once, and from then on nobody is let in.
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
    TcpStream::connect(address).await.unwrap_err();
    assert!(!server.is_finished());

    go.notify_one();
    let answer = answer.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_large_upload_reads_its_refusal() {
    let (process, address, server) = start(support::service()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = "x".repeat(process::MAX_BODY_BYTES * 2);
    let request = format!(
        "POST /things HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(&mut stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("\r\nserver:"), "{answer}");
    process.stop().cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_unreadable_head_is_refused() {
    let (process, address, server) = start(support::service()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let answer = exchange(&mut stream, "nonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    process.stop().cancel();
    server.await.unwrap().unwrap();
}
