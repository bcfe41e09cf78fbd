//! A broker that is fenced for a while: it answers, but in its answers there is no broker, not even itself. So does every
//! broker while it stops, and one that its controller has not let in yet.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Kafka;
use crate::Folder;

/// The request for metadata, and its first version with compact fields:
/// <https://kafka.apache.org/protocol.html#The_Messages_Metadata>.
const METADATA: i16 = 3;
const COMPACT: i16 = 9;

/// A message that is longer is none.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// A broker whose clients reach it through a proxy of the test's.
#[derive(Debug)]
pub struct FencedKafka {
    _kafka: Kafka,
    is_fenced: Arc<AtomicBool>,
    port: u16,
    listening: JoinHandle<()>,
}

impl FencedKafka {
    /// Starts a broker, which is not fenced yet.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let kafka = Kafka::start_behind(port, Folder::new("kafka")?).await?;
        let is_fenced = Arc::new(AtomicBool::new(false));
        let listening = tokio::spawn(listen(listener, kafka.bootstrap().to_owned(), Arc::clone(&is_fenced)));
        Ok(Self { _kafka: kafka, is_fenced, port, listening })
    }

    /// Its address for clients, `ADDRESS:PORT`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Fences it, or lets it in again.
    pub fn fence(&self, is_fenced: bool) {
        self.is_fenced.store(is_fenced, Ordering::Release);
    }
}

impl Drop for FencedKafka {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, broker: String, is_fenced: Arc<AtomicBool>) {
    while let Ok((near, _)) = listener.accept().await {
        let (broker, is_fenced) = (broker.clone(), Arc::clone(&is_fenced));
        tokio::spawn(async move {
            let _ = lead(near, &broker, &is_fenced).await;
        });
    }
}

/// Leads one connection until either end closes it.
async fn lead(near: TcpStream, broker: &str, is_fenced: &AtomicBool) -> anyhow::Result<()> {
    let far = TcpStream::connect(broker).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let asked = Mutex::default();
    tokio::select! {
        ended = ask(near_in, far_out, &asked) => ended,
        ended = answer(far_in, near_out, &asked, is_fenced) => ended,
    }
}

/// Passes requests on, and notes those for metadata.
async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, asked: &Mutex<HashSet<[u8; 4]>>) -> anyhow::Result<()> {
    loop {
        let message = read(&mut from).await?;
        let (head, _) = message.split_first_chunk::<8>().context("a request begins with what it asks for")?;
        let [kind, version] = [[head[0], head[1]], [head[2], head[3]]].map(i16::from_be_bytes);
        if kind == METADATA && version >= COMPACT {
            let correlation = [head[4], head[5], head[6], head[7]];
            asked.lock().unwrap_or_else(PoisonError::into_inner).insert(correlation);
        }
        write(&mut to, &message).await?;
    }
}

/// Passes answers on; as long as the broker is fenced, metadata without its brokers.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: &Mutex<HashSet<[u8; 4]>>,
    is_fenced: &AtomicBool,
) -> anyhow::Result<()> {
    loop {
        let mut message = read(&mut from).await?;
        let correlation = *message.first_chunk().context("an answer begins with its number")?;
        let is_metadata = asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation);
        if is_metadata && is_fenced.load(Ordering::Acquire) {
            message = without_brokers(&message)?;
        }
        write(&mut to, &message).await?;
    }
}

async fn read(from: &mut OwnedReadHalf) -> anyhow::Result<Vec<u8>> {
    let length = usize::try_from(from.read_i32().await?)?;
    ensure!(length <= MAX_MESSAGE, "a message of {length} bytes");
    let mut message = vec![0; length];
    from.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(to: &mut OwnedWriteHalf, message: &[u8]) -> anyhow::Result<()> {
    to.write_i32(i32::try_from(message.len())?).await?;
    Ok(to.write_all(message).await?)
}

/// The same metadata with an empty list of brokers.
fn without_brokers(message: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut rest = message;
    skip(&mut rest, 4)?; // the request's number
    ensure!(length(&mut rest)? == 0, "tagged fields in an answer's head");
    skip(&mut rest, 4)?; // throttled for so long
    let before = message.len() - rest.len();
    // A compact list or text is preceded by its length and one.
    for _ in 1..length(&mut rest)? {
        skip(&mut rest, 4)?; // id
        let host = length(&mut rest)?;
        skip(&mut rest, host.saturating_sub(1))?;
        skip(&mut rest, 4)?; // port
        let rack = length(&mut rest)?;
        skip(&mut rest, rack.saturating_sub(1))?;
        ensure!(length(&mut rest)? == 0, "tagged fields of a broker");
    }
    Ok([&message[..before], &[1], rest].concat())
}

fn skip(rest: &mut &[u8], count: usize) -> anyhow::Result<()> {
    *rest = rest.get(count..).context("the message ends too soon")?;
    Ok(())
}

/// An unsigned number of variable length.
fn length(rest: &mut &[u8]) -> anyhow::Result<usize> {
    let mut number = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, after) = rest.split_first().context("the message ends too soon")?;
        *rest = after;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    anyhow::bail!("a number is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_taken_out_of_metadata_and_nothing_else() {
        let head = [0, 0, 0, 9, 0, 0, 0, 0, 0];
        let broker = [0, 0, 0, 1, 3, b'h', b'i', 0, 0, 0x23, 0x84, 0, 0];
        let rest = [7, b's', b'h', b'o', b'p'];
        let message = [&head[..], &[3], &broker, &broker, &rest].concat();
        let expected = [&head[..], &[1], &rest].concat();
        assert_eq!(without_brokers(&message).expect("it is metadata"), expected);
        assert!(without_brokers(&message[..20]).is_err());
    }
}
