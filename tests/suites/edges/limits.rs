//! Clients that ask for too much, too slowly, or too often; and what answers tell of the inside.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use hyper::http::HeaderName;
use serde_json::{Value, json};
use tests::http::Client;
use tests::shop::order;
use tests::system::{System, Transport};
use tests::{eventually, turn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

/// How long a head or a body may take, in seconds, as the services have it.
const SLOWEST_SECONDS: u64 = 10;
/// How long a connection may take to be ended that is too slow: a busy machine has it late.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a slow client sends a byte.
const DRIBBLE: Duration = Duration::from_millis(250);
/// More connections than one process serves.
const CROWD: usize = 4_200;
/// Headers that answers may have.
const HEADERS: [&str; 12] = [
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "date",
    "etag",
    "link",
    "location",
    "retry-after",
    "vary",
    "x-content-type-options",
];
/// What only the inside has words for.
const INSIDE: [&str; 16] = [
    "::", ".rs", "/src", "axum", "hyper", "tokio", "serde", "postgres", "sql", "select ", "insert ", "kafka",
    "panicked", "thread", "stack", "struct ",
];

async fn connected(client: &Client) -> anyhow::Result<TcpStream> {
    Ok(TcpStream::connect(client.base().strip_prefix("http://").context("it is HTTP")?).await?)
}

/// The answer, which may come before everything is sent: then nobody takes what is left.
async fn asked(client: &Client, request: &[u8]) -> anyhow::Result<String> {
    let mut stream = connected(client).await?;
    let _ = stream.write_all(request).await;
    rest(&mut stream).await
}

/// What comes until the connection ends, however it ends.
async fn rest(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut answer = Vec::new();
    let ended = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.context("the connection does not end")?;
    ensure!(ended.is_ok() || !answer.is_empty(), "the connection broke off: {ended:?}");
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Sends byte after byte until the server has enough; what it answered, and after how long.
async fn dribbled(client: &Client, head: &str) -> anyhow::Result<(String, Duration)> {
    let (mut incoming, mut outgoing) = connected(client).await?.into_split();
    let began = Instant::now();
    outgoing.write_all(head.as_bytes()).await?;
    let mut ticks = interval(DRIBBLE);
    let mut answer = Vec::new();
    let dribble = async {
        loop {
            ticks.tick().await;
            if outgoing.write_all(b"a").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = dribble => {}
        // A connection that is closed while bytes come may be reset.
        ended = timeout(DEADLINE, incoming.read_to_end(&mut answer)) => drop(ended.context("it is let go on")?),
    }
    Ok((String::from_utf8_lossy(&answer).into_owned(), began.elapsed()))
}

#[tokio::test]
async fn slow_clients_are_given_up_and_idle_ones_are_not() -> anyhow::Result<()> {
    let _turn = turn().await?;
    let system = System::up(Transport::Log).await?;
    let client = system.process().client()?;
    let mut idle = connected(&client).await?;
    let head = "POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n";
    let body = format!("{head}connection: close\r\n\r\n{{");

    let (heads, bodies) =
        tokio::try_join!(dribbled(&client, "GET /orders HTTP/1.1\r\nx-slow: "), dribbled(&client, &body))?;

    let slowest = Duration::from_secs(SLOWEST_SECONDS);
    ensure!(heads.0.is_empty() && heads.1 >= slowest, "a slow head: {heads:?}");
    ensure!(bodies.0.starts_with("HTTP/1.1 408 ") && bodies.1 >= slowest, "a slow body: {bodies:?}");
    ensure!(bodies.0.contains("/problems/request-timeout\""), "{}", bodies.0);
    idle.write_all(b"GET /orders HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
    let answer = rest(&mut idle).await?;
    ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"data\":[]"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_harms_nobody() -> anyhow::Result<()> {
    let _turn = turn().await?;
    let system = System::up(Transport::Log).await?;
    let client = system.process().client()?;
    let one = format!("x-large: {}\r\n", "a".repeat(128 * 1024));
    let many = (0..101).fold(String::new(), |head, number| head + &format!("x-{number}: a\r\n"));
    for headers in [one, many] {
        let answer = asked(&client, format!("GET /orders HTTP/1.1\r\n{headers}\r\n").as_bytes()).await?;
        ensure!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    // Announced, so that it is refused before it is read; and not announced.
    for length in ["content-length: 100000000", "transfer-encoding: chunked"] {
        let head = format!("POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{length}\r\n\r\n");
        let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
        let answer = asked(&client, format!("{head}{chunk}{chunk}").as_bytes()).await?;
        ensure!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("/problems/too-large\""), "{answer}");
    }
    client.get("/orders").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn who_only_holds_connections_keeps_nobody_out() -> anyhow::Result<()> {
    let _turn = turn().await?;
    let system = System::up(Transport::Log).await?;
    let client = system.process().client()?;
    let mut held = Vec::new();
    while held.len() < CROWD {
        held.extend(try_join_all((0..100).map(|_| connected(&client))).await?);
        client.get("/orders").await.with_context(|| format!("with {} idle connections", held.len()))?.expect(200)?;
    }
    eventually(DEADLINE, "a new client is let in", async || {
        system.process().client()?.get("/actuator/health").await?.expect(200).map(drop)
    })
    .await
}

#[tokio::test]
async fn answers_tell_nothing_of_the_inside() -> anyhow::Result<()> {
    let _turn = turn().await?;
    let system = System::up(Transport::Log).await?;
    let client = system.process().client()?;
    let id = system.shop().placed(&order(&[("cup", 1)], None)).await?;
    let post = |body: Value| client.post("/orders").json(&body);
    let calls = [
        client.get("/orders"),
        client.get("/nothing"),
        client.get("/orders/7"),
        client.get(&format!("/orders/{id}")),
        client.get("/orders?limit=many"),
        client.get("/orders?cursor=%00"),
        client.get("/orders?customerId=%27%3B%20DROP%20TABLE"),
        client.put(&format!("/orders/{id}")).json(&json!({"lines": []})),
        client.post(&format!("/orders/{id}/cancel")).json(&json!({"reason": 7})),
        client.put("/inventory/cup").json(&json!({"onHand": i64::MAX})),
        client.put("/inventory/cup").json(&json!({"onHand": -1})),
        client.post("/payments").json(&json!({"orderId": id, "token": "\u{0}"})),
        client.post("/orders").header("content-type", "application/json").body("{\"customerId\": "),
        client.post("/orders").header("content-type", "text/xml").body("<order/>"),
        post(json!({"customerId": {}, "currency": 1, "lines": "none"})),
        post(json!({"customerId": "ann", "currency": "EUR", "lines": [{"productId": "a\u{0}b"}], "admin": true})),
        client.call(hyper::Method::DELETE, "/orders"),
    ];
    for call in calls {
        let answer = call.await?;
        let strange: Vec<&str> =
            answer.headers.keys().map(HeaderName::as_str).filter(|name| !HEADERS.contains(name)).collect();
        ensure!(strange.is_empty(), "{}: {strange:?}", answer.line);
        ensure!(answer.status.as_u16() < 500, "{}: {}", answer.line, answer.status);
        let text = answer.text().to_lowercase();
        let inside: Vec<&str> = INSIDE.into_iter().filter(|word| text.contains(word)).collect();
        ensure!(inside.is_empty(), "{}: {inside:?} in {text}", answer.line);
    }
    Ok(())
}
