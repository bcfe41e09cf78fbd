//! Harm to what is in the topics: records that come twice, and records that are lost again after they were acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use contract::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::random::Random;

/// How long the broker may take for anything.
const DEADLINE: Duration = Duration::from_secs(5);

/// The most batches of records that a partition loses.
const LOST_BATCHES: usize = 8;

/// What comes before the records of a batch: its first offset, and how long the rest is.
const BATCH_HEAD: usize = 12;

/// Produces the last `records` of each partition of a topic once more, as they are. It blocks its thread. How many it
/// were.
pub fn send_twice(brokers: &str, topic: &str, lanes: u16, records: usize) -> anyhow::Result<usize> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "nobody").create()?;
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).set("message.timeout.ms", "5000").create()?;
    let mut sent = 0;
    for lane in 0..i32::from(lanes) {
        let (first, end) = consumer.fetch_watermarks(topic, lane, DEADLINE)?;
        let begin = first.max(end - i64::try_from(records)?);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, lane, Offset::Offset(begin))?;
        consumer.assign(&list)?;
        let deadline = Instant::now() + DEADLINE;
        let mut next = begin;
        while next < end && Instant::now() < deadline {
            let Some(message) = consumer.poll(DEADLINE / 10) else { continue };
            let message = message?;
            next = message.offset() + 1;
            if next <= end {
                produce(&producer, &message)?;
                sent += 1;
            }
        }
    }
    producer.flush(DEADLINE)?;
    Ok(sent)
}

fn produce(producer: &ThreadedProducer<DefaultProducerContext>, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
    let copied = |headers: OwnedHeaders, header: rdkafka::message::Header<'_, &[u8]>| headers.insert(header);
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter()).fold(OwnedHeaders::new(), copied);
    let record = BaseRecord::<[u8], [u8]>::to(message.topic())
        .partition(message.partition())
        .key(message.key().unwrap_or_default())
        .payload(message.payload().unwrap_or_default())
        .headers(headers);
    producer.send(record).map_err(|(error, _)| error)?;
    Ok(())
}

/// Cuts batches off the end of partitions, so many of a hundred, of the topics that carry journals. The broker must not
/// run. How many batches it were.
pub fn lose_tail(data: &Path, system: &str, lanes: u16, percent: usize, random: &mut Random) -> anyhow::Result<usize> {
    let mut lost = 0;
    for topic in Topic::ALL {
        for lane in 0..lanes {
            if random.happens(percent) {
                let folder = data.join(format!("{}-{lane}", topic.name(system)));
                lost += cut_off(&folder, 1 + random.below(LOST_BATCHES))?;
            }
        }
    }
    Ok(lost)
}

/// Cuts so many batches off a partition, as far as its last segment has them.
fn cut_off(partition: &Path, batches: usize) -> anyhow::Result<usize> {
    let Some(segment) = last_segment(partition)? else {
        return Ok(0);
    };
    let mut file = OpenOptions::new().read(true).write(true).open(&segment)?;
    let begins = batch_begins(&mut file)?;
    let kept = begins.len().saturating_sub(batches);
    let Some(end) = begins.get(kept) else {
        return Ok(0);
    };
    file.set_len(*end)?;
    file.sync_all()?;
    // The broker makes them anew. What it remembers of the producers would know of the lost records.
    for entry in fs::read_dir(partition)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| ["index", "timeindex", "snapshot"].iter().any(|known| kind == *known)) {
            fs::remove_file(path)?;
        }
    }
    Ok(begins.len() - kept)
}

fn last_segment(partition: &Path) -> anyhow::Result<Option<PathBuf>> {
    let entries = fs::read_dir(partition).with_context(|| partition.display().to_string())?;
    let mut segments: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    segments.retain(|path| path.extension().is_some_and(|kind| kind == "log"));
    segments.sort();
    Ok(segments.pop())
}

/// Where each batch of a segment begins. What is cut short at its end is no batch.
fn batch_begins(file: &mut File) -> anyhow::Result<Vec<u64>> {
    let end = file.metadata()?.len();
    let (mut begins, mut at) = (Vec::new(), 0);
    let mut head = [0; BATCH_HEAD];
    while at + BATCH_HEAD as u64 <= end {
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
        let length = i32::from_be_bytes(head[8..].try_into()?);
        ensure!(length >= 0, "a batch at {at} has a length of {length}");
        if length == 0 || at + (BATCH_HEAD as u64) + u64::try_from(length)? > end {
            break;
        }
        begins.push(at);
        at += BATCH_HEAD as u64 + u64::try_from(length)?;
    }
    Ok(begins)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A partition of so many batches of 20 bytes each.
    fn partition(batches: usize) -> anyhow::Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        let mut log = File::create(folder.path().join("00000000000000000000.log"))?;
        for _ in 0..batches {
            log.write_all(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])?;
        }
        File::create(folder.path().join("00000000000000000000.index"))?;
        Ok(folder)
    }

    fn length(partition: &Path) -> anyhow::Result<u64> {
        Ok(fs::metadata(partition.join("00000000000000000000.log"))?.len())
    }

    #[test]
    fn whole_batches_are_cut_off() -> anyhow::Result<()> {
        let partition = partition(5)?;
        assert_eq!(cut_off(partition.path(), 2)?, 2);
        assert_eq!(length(partition.path())?, 60);
        assert!(!partition.path().join("00000000000000000000.index").exists());
        Ok(())
    }

    #[test]
    fn no_more_is_cut_off_than_there_is() -> anyhow::Result<()> {
        let partition = partition(1)?;
        assert_eq!(cut_off(partition.path(), 3)?, 1);
        assert_eq!(cut_off(partition.path(), 3)?, 0);
        assert_eq!(length(partition.path())?, 0);
        Ok(())
    }
}
