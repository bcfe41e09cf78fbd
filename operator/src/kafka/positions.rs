//! How far services are in what they read.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use contract::{Lanes, Topic};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::{Clients, TopicsError, client::Client, groups};
use crate::{backlog::Positions, service::ServiceName};

/// An offset of each lane of some topics; `None` where there is none.
type Offsets = BTreeMap<(Topic, i32), Option<i64>>;

/// A consumer group that has not read everything.
struct Behind {
    service: ServiceName,
    group: String,
    topics: &'static [Topic],
    written: i64,
}

/// How far every service is. Ends first: what is read of what is written after that does not count.
pub(super) fn of_all(
    clients: &Clients,
    prefix: &str,
    lanes: Lanes,
) -> Result<BTreeMap<ServiceName, Positions>, TopicsError> {
    let reads = || ServiceName::ALL.into_iter().flat_map(|service| service.reads().iter().map(move |it| (service, it)));
    let topics: BTreeSet<Topic> = reads().flat_map(|(_, (_, topics))| topics.iter().copied()).collect();
    let system = System { prefix, lanes };
    let ends = system.of_log(&clients.client, &topics, Offset::End)?;
    let mut all: BTreeMap<ServiceName, Positions> = BTreeMap::new();
    let mut behind = Vec::new();
    for (service, (group, topics)) in reads() {
        let (group, written) = (groups::name(prefix, group), total(&ends, topics));
        let positions = all.entry(service).or_default();
        positions.written += written;
        if clients.groups.is_caught_up(&group, written) {
            positions.read += written;
        } else {
            behind.push(Behind { service, group, topics, written });
        }
    }
    if !behind.is_empty() {
        let starts = system.of_log(&clients.client, &topics, Offset::Beginning)?;
        for (service, read) in system.read_by(clients, &behind, &starts, &ends)? {
            all.entry(service).or_default().read += read;
        }
    }
    clients.groups.tidy();
    Ok(all)
}

struct System<'a> {
    prefix: &'a str,
    lanes: Lanes,
}

impl System<'_> {
    /// What each of these groups has read.
    fn read_by(
        &self,
        clients: &Clients,
        behind: &[Behind],
        starts: &Offsets,
        ends: &Offsets,
    ) -> Result<Vec<(ServiceName, i64)>, TopicsError> {
        // They connect all at once, and are asked one after the other.
        let open = behind.iter().map(|behind| clients.groups.client(&behind.group));
        let open: Vec<_> = open.collect::<Result<_, _>>()?;
        let mut all = Vec::with_capacity(behind.len());
        for (client, behind) in open.iter().zip(behind) {
            let told = self.told_by(client, behind)?;
            let read =
                told.iter().map(|(lane, offset)| read(*offset, offset_at(starts, *lane), offset_at(ends, *lane)));
            let read = read.sum();
            clients.groups.note(&behind.group, behind.written, read);
            all.push((behind.service, read));
        }
        Ok(all)
    }

    /// Where the topics begin or end.
    fn of_log(&self, client: &Client, topics: &BTreeSet<Topic>, which: Offset) -> Result<Offsets, TopicsError> {
        client.ask(&format!("topics {}.*", self.prefix), |consumer, timeout| {
            let asked = self.partitions(topics.iter().copied(), which)?;
            let found = self.offsets(&consumer.offsets_for_times(asked, timeout)?)?;
            // A log always has both; where there is none yet, the partition is being made.
            let made =
                found.len() == topics.len() * usize::from(self.lanes.count()) && found.values().all(Option::is_some);
            if made { Ok(found) } else { Err(KafkaError::OffsetFetch(RDKafkaErrorCode::LeaderNotAvailable)) }
        })
    }

    /// What a group told Kafka.
    fn told_by(&self, client: &Client, behind: &Behind) -> Result<Offsets, TopicsError> {
        client.ask(&format!("group {}", behind.group), |consumer, timeout: Duration| {
            let asked = self.partitions(behind.topics.iter().copied(), Offset::Invalid)?;
            self.offsets(&consumer.committed_offsets(asked, timeout)?)
        })
    }

    fn partitions(&self, topics: impl Iterator<Item = Topic>, offset: Offset) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for topic in topics {
            let name = topic.name(self.prefix);
            for lane in self.lanes.all() {
                list.add_partition_offset(&name, lane.as_i32(), offset)?;
            }
        }
        Ok(list)
    }

    fn offsets(&self, list: &TopicPartitionList) -> KafkaResult<Offsets> {
        let names = Topic::ALL.map(|topic| (topic, topic.name(self.prefix)));
        let mut offsets = Offsets::new();
        for element in list.elements() {
            element.error()?;
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            if let Some((topic, _)) = names.iter().find(|(_, name)| name == element.topic()) {
                offsets.insert((*topic, element.partition()), offset);
            }
        }
        Ok(offsets)
    }
}

/// What was read of a log from `start` to `end`, when the reader told `told`. Who told nothing has read nothing of it, and
/// nobody can read what is not there any more.
fn read(told: Option<i64>, start: i64, end: i64) -> i64 {
    told.unwrap_or(start).max(start).min(end)
}

fn offset_at(offsets: &Offsets, lane: (Topic, i32)) -> i64 {
    offsets.get(&lane).copied().flatten().unwrap_or_default()
}

fn total(offsets: &Offsets, topics: &[Topic]) -> i64 {
    offsets.iter().filter(|((topic, _), _)| topics.contains(topic)).filter_map(|(_, offset)| *offset).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_told_nothing_has_read_nothing_of_what_is_there() {
        assert_eq!(read(None, 0, 100), 0);
        assert_eq!(read(None, 40, 100), 40);
    }

    #[test]
    fn what_is_deleted_counts_as_read_and_what_came_since_does_not() {
        assert_eq!(read(Some(10), 40, 100), 40);
        assert_eq!(read(Some(70), 40, 100), 70);
        assert_eq!(read(Some(105), 40, 100), 100);
    }

    #[test]
    fn offsets_are_summed_over_the_lanes_of_the_topics() {
        let lane = |topic, lane, offset| ((topic, lane), Some(offset));
        let offsets = Offsets::from([
            lane(Topic::Orders, 0, 10),
            lane(Topic::Orders, 1, 20),
            lane(Topic::Inventory, 0, 300),
            lane(Topic::Payments, 0, 4_000),
        ]);
        assert_eq!(total(&offsets, &[Topic::Orders]), 30);
        assert_eq!(total(&offsets, &[Topic::Inventory, Topic::Payments]), 4_300);
    }
}
