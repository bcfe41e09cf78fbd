//! The topics of a system: which they are, how they are made and how they are deleted.

use std::time::Duration;

use contract::{Lanes, Topic, topic};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult},
    client::DefaultClientContext,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode as Code},
    types::RDKafkaRespErr,
};
use tokio::runtime::Handle;

use super::{
    Clients, TopicsError,
    client::{Client, is_silence},
};

/// How long the brokers may take to create or delete topics: some hundred partitions, on a broker that is busy.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long events stay. The database is the truth, and what a consumer misses is sent again; this is for a weekend
/// without that, and for people who look.
const EVENTS_STAY: Duration = Duration::from_hours(7 * 24);
/// How long requests to send again stay: who asked asks again much sooner.
const RESEND_STAYS: Duration = Duration::from_hours(1);
/// How long records stay that could not be read or were refused for good: until someone has looked at them.
const DEAD_LETTERS_STAY: Duration = Duration::from_hours(30 * 24);

/// What was done to have all topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsState {
    /// The topics that were missing and are there now.
    pub created: Vec<String>,
}

struct Wanted {
    name: String,
    stays: Duration,
}

fn wanted(prefix: &str) -> Vec<Wanted> {
    let mut all: Vec<Wanted> =
        Topic::ALL.iter().map(|topic| Wanted { name: topic.name(prefix), stays: EVENTS_STAY }).collect();
    all.push(Wanted { name: topic::resend(prefix), stays: RESEND_STAYS });
    all.push(Wanted { name: topic::dead_letters(prefix), stays: DEAD_LETTERS_STAY });
    all
}

impl Wanted {
    fn settings(&self, replication: i32) -> [(&'static str, String); 4] {
        [
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", self.stays.as_millis().to_string()),
            ("compression.type", "producer".to_owned()),
            // One broker may be away.
            ("min.insync.replicas", (replication - 1).max(1).to_string()),
        ]
    }
}

/// Creates what is missing.
pub(super) fn ensure(
    clients: &Clients,
    prefix: &str,
    lanes: Lanes,
    replication: i32,
) -> Result<TopicsState, TopicsError> {
    let expected = usize::from(lanes.count());
    let mut missing = Vec::new();
    for topic in wanted(prefix) {
        match partitions(&clients.client, &topic.name)? {
            None => missing.push(topic),
            // It was created a moment ago, and this broker does not know more.
            Some(0) => {}
            Some(found) if found == expected => {}
            Some(found) => {
                return Err(TopicsError::WrongPartitions { topic: topic.name, found, wanted: expected });
            }
        }
    }
    if missing.is_empty() {
        return Ok(TopicsState::default());
    }
    let created = create(clients, &missing, lanes, replication)?;
    for topic in &missing {
        wait_for(&clients.client, &topic.name)?;
    }
    Ok(TopicsState { created })
}

/// Deletes what is there.
pub(super) fn delete(clients: &Clients, prefix: &str) -> Result<(), TopicsError> {
    let mut names = Vec::new();
    for topic in wanted(prefix) {
        if partitions(&clients.client, &topic.name)?.is_some() {
            names.push(topic.name);
        }
    }
    clients.groups.forget(prefix);
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let admin = admin(clients)?;
    for outcome in done(clients, Handle::current().block_on(admin.delete_topics(&names, &options())))? {
        match outcome {
            Ok(_) | Err((_, Code::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => return Err(refusal(clients, &topic, code)),
        }
    }
    Ok(())
}

/// How many partitions a topic has; `None` if there is no such topic. Asking does not create it.
fn partitions(client: &Client, name: &str) -> Result<Option<usize>, TopicsError> {
    client.ask(&about(name), |consumer, timeout| {
        let metadata = consumer.fetch_metadata(Some(name), timeout)?;
        let Some(topic) = metadata.topics().first() else { return Ok(None) };
        match topic.error() {
            None => Ok(Some(topic.partitions().len())),
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(None),
            Some(error) => Err(KafkaError::MetadataFetch(error.into())),
        }
    })
}

/// Waits until a topic that was just created is known to the brokers, so that whoever asks next finds it.
fn wait_for(client: &Client, name: &str) -> Result<(), TopicsError> {
    client.ask(&about(name), |consumer, timeout| {
        let metadata = consumer.fetch_metadata(Some(name), timeout)?;
        let known = metadata.topics().first().is_some_and(|topic| {
            topic.error().is_none() && topic.partitions().iter().all(|partition| partition.leader() >= 0)
        });
        if known { Ok(()) } else { Err(KafkaError::MetadataFetch(Code::LeaderNotAvailable)) }
    })
}

fn create(clients: &Clients, missing: &[Wanted], lanes: Lanes, replication: i32) -> Result<Vec<String>, TopicsError> {
    let settings: Vec<_> = missing.iter().map(|topic| (topic, topic.settings(replication))).collect();
    let new: Vec<NewTopic<'_>> = settings
        .iter()
        .map(|(topic, settings)| {
            let replicas = TopicReplication::Fixed(replication);
            let new = NewTopic::new(&topic.name, i32::from(lanes.count()), replicas);
            settings.iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let admin = admin(clients)?;
    let mut created = Vec::new();
    for outcome in done(clients, Handle::current().block_on(admin.create_topics(&new, &options())))? {
        match outcome {
            Ok(topic) => created.push(topic),
            // A service was quicker. Whether it has the right partitions is seen at the next look.
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, Code::InvalidReplicationFactor)) => {
                return Err(TopicsError::ReplicationFactor { topic, wanted: replication });
            }
            Err((topic, code)) => return Err(refusal(clients, &topic, code)),
        }
    }
    Ok(created)
}

/// A client that may write; it is needed too seldom to be kept.
fn admin(clients: &Clients) -> Result<AdminClient<DefaultClientContext>, TopicsError> {
    let brokers = clients.access.bootstrap_servers.clone();
    let admin = clients.access.config().create();
    admin.map_err(|error| TopicsError::Settings { brokers, detail: error.to_string() })
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT))
}

fn done(clients: &Clients, outcome: Result<Vec<TopicResult>, KafkaError>) -> Result<Vec<TopicResult>, TopicsError> {
    outcome.map_err(|error| {
        let brokers = clients.access.bootstrap_servers.clone();
        TopicsError::Unreachable { brokers, detail: error.to_string() }
    })
}

fn refusal(clients: &Clients, topic: &str, code: Code) -> TopicsError {
    if is_silence(code) {
        let brokers = clients.access.bootstrap_servers.clone();
        return TopicsError::Unreachable { brokers, detail: code.to_string() };
    }
    TopicsError::answered(&about(topic), code)
}

fn about(topic: &str) -> String {
    format!("topic {topic}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_has_six_topics() {
        let names: Vec<String> = wanted("shop").into_iter().map(|topic| topic.name).collect();
        let expected = ["orders", "inventory", "payments", "notifications", "resend", "dead-letters"];
        assert_eq!(names, expected.map(|name| format!("shop.{name}")));
    }

    #[test]
    fn one_broker_may_be_away_if_there_is_another() {
        let topic = Wanted { name: "shop.orders".to_owned(), stays: EVENTS_STAY };
        let least = |replication| topic.settings(replication)[3].clone();
        assert_eq!(least(1), ("min.insync.replicas", "1".to_owned()));
        assert_eq!(least(2), ("min.insync.replicas", "1".to_owned()));
        assert_eq!(least(3), ("min.insync.replicas", "2".to_owned()));
    }
}
