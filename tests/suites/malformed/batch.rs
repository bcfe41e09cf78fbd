//! A message by Kafka's own protocol, as librdkafka sends no header whose name is not text.
//!
//! Produce, version 3: <https://kafka.apache.org/protocol#The_Messages_Produce>. Its batch:
//! <https://kafka.apache.org/documentation/#recordbatch>.

use anyhow::{Context, ensure};
use chrono::Utc;
use contract::Lane;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::records::BROKER_DEADLINE;

/// Bytes of an answer before the error code of its one lane, but for the topic's name: correlation, topics, length of the
/// name, lanes, lane.
const ANSWER_HEAD: usize = 4 + 4 + 2 + 4 + 4;

/// Has the one broker keep a message with this header.
pub async fn send(bootstrap: &str, topic: &str, lane: Lane, header: &[u8]) -> anyhow::Result<()> {
    timeout(BROKER_DEADLINE, exchange(bootstrap, topic, lane, header)).await?
}

async fn exchange(bootstrap: &str, topic: &str, lane: Lane, header: &[u8]) -> anyhow::Result<()> {
    let mut broker = TcpStream::connect(bootstrap).await?;
    let request = request(topic, lane, &batch(header)?)?;
    broker.write_all(&sized(&request)?).await?;
    let length = usize::try_from(broker.read_i32().await?)?;
    let mut answer = vec![0; length];
    broker.read_exact(&mut answer).await?;
    let code =
        answer.get(ANSWER_HEAD + topic.len()..).and_then(|rest| rest.first_chunk()).context("the answer is short")?;
    let code = i16::from_be_bytes(*code);
    ensure!(code == 0, "the broker refuses a batch with error {code}");
    Ok(())
}

fn request(topic: &str, lane: Lane, batch: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    let (produce, version, correlation, no_text) = (0_i16, 3_i16, 1_i32, -1_i16);
    out.extend(produce.to_be_bytes());
    out.extend(version.to_be_bytes());
    out.extend(correlation.to_be_bytes());
    // Neither a client's name nor a transaction's; all replicas.
    out.extend([no_text.to_be_bytes(), no_text.to_be_bytes(), (-1_i16).to_be_bytes()].concat());
    out.extend(i32::try_from(BROKER_DEADLINE.as_millis())?.to_be_bytes());
    let one = 1_i32.to_be_bytes();
    out.extend(one);
    out.extend(i16::try_from(topic.len())?.to_be_bytes());
    out.extend(topic.as_bytes());
    out.extend(one);
    out.extend(lane.as_i32().to_be_bytes());
    out.extend(sized(batch)?);
    Ok(out)
}

/// A batch of one record without key and value.
fn batch(header: &[u8]) -> anyhow::Result<Vec<u8>> {
    let now = Utc::now().timestamp_millis().to_be_bytes();
    let mut summed = Vec::new();
    // Attributes, the last record's offset; the first time and the last; no producer's id, epoch and sequence.
    summed.extend([0; 2 + 4]);
    summed.extend([now, now].concat());
    summed.extend([0xff; 8 + 2 + 4]);
    summed.extend(1_i32.to_be_bytes());
    summed.extend(record(header)?);

    let mut rest = Vec::new();
    rest.extend((-1_i32).to_be_bytes());
    let magic = 2;
    rest.push(magic);
    rest.extend(crc32c(&summed).to_be_bytes());
    rest.extend(summed);
    let offset = 0_i64.to_be_bytes();
    Ok([&offset[..], &sized(&rest)?].concat())
}

fn record(header: &[u8]) -> anyhow::Result<Vec<u8>> {
    // Attributes, its time and its offset after the first; no key, no value; one header with an empty value.
    let mut out = vec![0, 0, 0];
    out.extend(varint(-1));
    out.extend(varint(-1));
    out.extend(varint(1));
    out.extend(varint(i32::try_from(header.len())?));
    out.extend(header);
    out.extend(varint(0));
    Ok([varint(i32::try_from(out.len())?), out].concat())
}

/// A number in zigzag, seven bits a byte, the lowest first.
fn varint(number: i32) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 31)).cast_unsigned();
    let mut out = Vec::new();
    while rest >= 0x80 {
        out.extend((rest & 0x7f | 0x80).to_le_bytes().first());
        rest >>= 7;
    }
    out.extend(rest.to_le_bytes().first());
    out
}

/// With its length before it.
fn sized(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    Ok([&i32::try_from(bytes.len())?.to_be_bytes()[..], bytes].concat())
}

/// Castagnoli's checksum, RFC 3720, appendix B.4.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0x82F6_3B78 } else { sum >> 1 })
    })
}
