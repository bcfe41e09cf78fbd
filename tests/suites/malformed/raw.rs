//! What comes over the wire and may not be HTTP at all.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use tests::random::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::requests::{Draft, good, spoil};

/// Connections at once.
const AT_ONCE: usize = 48;
/// How long the server may take to answer, or to hang up, once we have.
const DEADLINE: Duration = Duration::from_secs(20);
/// How much of an answer is read: its first line.
const ANSWER_BYTES: usize = 64;

/// Sends so many requests, each over a connection of its own.
pub async fn send(base: &str, known: &[String], count: u64, random: &mut Random) -> anyhow::Result<()> {
    let address = base.strip_prefix("http://").context("it is http")?;
    let seeds: Vec<u64> = (0..count).map(|_| random.draw()).collect();
    let send = |seed: u64| async move {
        let mut random = Random::of(seed);
        let bytes = message(known, &mut random);
        let status = asked(address, &bytes).await.with_context(|| shown(&bytes))?;
        ensure!(!status.is_some_and(|status| status >= 500 && status != 503), "{status:?}: {}", shown(&bytes));
        anyhow::Ok(())
    };
    stream::iter(seeds).map(send).buffer_unordered(AT_ONCE).try_collect().await
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).escape_debug().to_string()
}

/// The status of the answer, if there is one. We hang up without waiting for the rest.
async fn asked(address: &str, bytes: &[u8]) -> anyhow::Result<Option<u16>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_zero_linger()?;
    // A server that has seen enough hangs up while we still speak.
    let spoken = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut answer = Vec::with_capacity(ANSWER_BYTES);
        while answer.len() < ANSWER_BYTES && stream.read_buf(&mut answer).await? > 0 {}
        std::io::Result::Ok(answer)
    };
    let answer =
        timeout(DEADLINE, spoken).await.context("the server neither answers nor hangs up")?.unwrap_or_default();
    let line = String::from_utf8_lossy(&answer);
    Ok(line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()))
}

fn message(known: &[String], random: &mut Random) -> Vec<u8> {
    let draft = good(known, random);
    match random.below(12) {
        0 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        2 => (0..random.below(400)).map(|_| u8::try_from(random.below(256)).unwrap_or(0)).collect(),
        3 => framed(&draft, "content-length: -1"),
        4 => framed(&draft, "content-length: 99999999999999999999"),
        5 => framed(&draft, "content-length: 5\r\ncontent-length: 6"),
        6 => framed(&draft, "transfer-encoding: chunked\r\ncontent-length: 4"),
        7 => framed(&draft, &format!("transfer-encoding: chunked\r\nx: {}", "y".repeat(random.index(100_000)))),
        8 => framed(&draft, &"a: b\r\n".repeat(random.index(400))),
        9 => {
            let whole = framed(&draft, &format!("content-length: {}", draft.body.len()));
            let end = random.index(whole.len());
            whole[..end].to_vec()
        }
        _ => spoil(framed(&draft, &format!("content-length: {}", draft.body.len())), random),
    }
}

/// The request on the wire, with these lines among its headers.
fn framed(draft: &Draft, lines: &str) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\nhost: x\r\n{lines}\r\n", draft.method, draft.path).into_bytes();
    for (name, value) in &draft.headers {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    bytes.extend(&draft.body);
    bytes
}
