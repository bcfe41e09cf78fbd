//! What the operator does with Kafka, on a real broker: the topics of a system, and how far its services are in them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use contract::{Lanes, Topic};
use operator::{
    backlog::Positions,
    kafka::{Access, Cluster, SaslAccess, TlsAccess, TopicsError},
    resource::SaslMechanism,
    service::ServiceName,
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tests::{eventually, free_port, kafka::Kafka, unique_name};
use tokio::{io::AsyncWriteExt, net::TcpListener};

/// How long the broker may take for one thing, on a machine that tests load.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long it may take to say that there is no broker: what the operator allows for an answer, and a little.
const NO_ANSWER: Duration = Duration::from_secs(15);

const ALL: [&str; 6] = ["orders", "inventory", "payments", "notifications", "resend", "dead-letters"];

struct System {
    brokers: String,
    cluster: Cluster,
    prefix: String,
    lanes: Lanes,
}

async fn system() -> anyhow::Result<System> {
    system_at(Kafka::shared().await?)
}

fn system_at(kafka: &Kafka) -> anyhow::Result<System> {
    let brokers = kafka.bootstrap().to_owned();
    let cluster = Cluster::new(&access(&brokers))?;
    Ok(System { brokers, cluster, prefix: unique_name(), lanes: Lanes::new(3)? })
}

fn access(brokers: &str) -> Access {
    Access { bootstrap_servers: brokers.to_owned(), tls: None, sasl: None }
}

impl System {
    async fn ensure(&self) -> Result<Vec<String>, TopicsError> {
        Ok(self.cluster.ensure_topics(&self.prefix, self.lanes, 1).await?.created)
    }

    async fn positions(&self, service: ServiceName) -> anyhow::Result<Positions> {
        let all = self.cluster.positions(&self.prefix, self.lanes).await?;
        all.get(&service).copied().context("it is asked about")
    }

    fn name(&self, topic: &str) -> String {
        format!("{}.{topic}", self.prefix)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        client
    }

    fn group(&self, group: &str) -> anyhow::Result<BaseConsumer> {
        let mut client = self.client();
        client.set("group.id", format!("{}-{group}", self.prefix)).set("enable.auto.commit", "false");
        Ok(client.create()?)
    }

    /// Writes so many records to a lane.
    fn write(&self, topic: Topic, lane: i32, records: usize) -> anyhow::Result<()> {
        let producer: BaseProducer = self.client().set("acks", "all").create()?;
        let name = topic.name(&self.prefix);
        for _ in 0..records {
            let record = BaseRecord::<(), str>::to(&name).partition(lane).payload("{}");
            producer.send(record).map_err(|(error, _)| error)?;
        }
        Ok(producer.flush(DEADLINE)?)
    }

    /// Tells Kafka that a group has read so many records of a lane.
    fn tell(&self, group: &str, topic: Topic, lane: i32, read: i64) -> anyhow::Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic.name(&self.prefix), lane, Offset::Offset(read))?;
        Ok(self.group(group)?.commit(&list, CommitMode::Sync)?)
    }

    async fn create(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for created in admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(DEADLINE))).await? {
            created.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
        }
        Ok(())
    }

    async fn setting(&self, topic: &str, setting: &str) -> anyhow::Result<String> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let name = self.name(topic);
        let found = admin.describe_configs([&ResourceSpecifier::Topic(&name)], &AdminOptions::new()).await?;
        let found = found.into_iter().next().context("it is described")??;
        let entry = found.get(setting).with_context(|| format!("{topic} has no {setting}"))?;
        entry.value.clone().context("it has a value")
    }

    /// The partitions of each topic that there is.
    fn partitions(&self) -> anyhow::Result<Vec<usize>> {
        let consumer: BaseConsumer = self.client().create()?;
        let metadata = consumer.fetch_metadata(None, DEADLINE)?;
        let ours = ALL.map(|topic| self.name(topic));
        let found = metadata.topics().iter().filter(|topic| ours.iter().any(|name| name == topic.name()));
        Ok(found.map(|topic| topic.partitions().len()).collect())
    }
}

#[tokio::test]
async fn missing_topics_are_created_with_a_partition_per_lane() -> anyhow::Result<()> {
    let system = system().await?;
    assert_eq!(system.ensure().await?, ALL.map(|topic| system.name(topic)));
    assert_eq!(system.partitions()?, [3; 6]);

    for (topic, hours) in [("orders", 7 * 24_u32), ("resend", 1), ("dead-letters", 30 * 24)] {
        assert_eq!(system.setting(topic, "retention.ms").await?, (u64::from(hours) * 3_600_000).to_string());
        assert_eq!(system.setting(topic, "cleanup.policy").await?, "delete");
        assert_eq!(system.setting(topic, "compression.type").await?, "producer");
        assert_eq!(system.setting(topic, "min.insync.replicas").await?, "1");
    }
    Ok(())
}

#[tokio::test]
async fn topics_that_are_there_are_left_alone() -> anyhow::Result<()> {
    let system = system().await?;
    system.create(&system.name("resend"), 3).await?;
    let before = system.setting("resend", "retention.ms").await?;
    assert_eq!(system.ensure().await?.len(), ALL.len() - 1, "the others are created");
    assert_eq!(system.setting("resend", "retention.ms").await?, before);
    assert_eq!(system.ensure().await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_topic_with_other_partitions_is_named_and_nothing_is_created() -> anyhow::Result<()> {
    let system = system().await?;
    system.create(&system.name("payments"), 2).await?;
    let error = system.ensure().await.expect_err("it has 2 partitions");
    assert_eq!(error, TopicsError::WrongPartitions { topic: system.name("payments"), found: 2, wanted: 3 });
    assert_eq!(error.reason(), "WrongPartitions");
    assert_eq!(system.partitions()?, [2]);
    Ok(())
}

#[tokio::test]
async fn more_replicas_than_brokers_are_refused() -> anyhow::Result<()> {
    let system = system().await?;
    let error = system.cluster.ensure_topics(&system.prefix, system.lanes, 3).await.expect_err("there is one broker");
    assert_eq!(error.reason(), "ReplicationFactor");
    ensure!(error.to_string().contains("3 replicas"), "{error}");
    assert_eq!(system.partitions()?, [0; 0]);
    Ok(())
}

#[tokio::test]
async fn brokers_that_do_not_answer_are_unreachable_within_bounds() -> anyhow::Result<()> {
    let brokers = format!("127.0.0.1:{}", free_port()?);
    let cluster = Cluster::new(&access(&brokers))?;
    let lanes = Lanes::new(3)?;
    let begin = Instant::now();
    let (topics, positions, deleted) = tokio::join!(
        cluster.ensure_topics("shop", lanes, 1),
        cluster.positions("shop", lanes),
        cluster.delete_topics("shop")
    );
    ensure!(begin.elapsed() < NO_ANSWER, "it took {:?}", begin.elapsed());
    for error in [topics.err(), positions.err(), deleted.err()] {
        let error = error.context("nobody is there")?;
        assert_eq!(error.reason(), "Unreachable");
        ensure!(error.to_string().contains(&brokers) && error.to_string().contains("refused"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn brokers_that_come_back_are_found_again() -> anyhow::Result<()> {
    let kafka = Kafka::start().await?;
    let system = system_at(&kafka)?;
    system.ensure().await?;
    system.write(Topic::Orders, 0, 5)?;
    system.tell("payments", Topic::Orders, 0, 3)?;
    let before = system.positions(ServiceName::Payment).await?;
    assert_eq!(before, Positions { written: 5, read: 3 });

    kafka.kill().await?;
    let error = system.ensure().await.expect_err("the broker is gone");
    assert_eq!(error.reason(), "Unreachable", "{error}");

    kafka.start_again().await?;
    let after = eventually(DEADLINE, "the broker is back", async || {
        system.ensure().await?;
        system.positions(ServiceName::Payment).await
    });
    assert_eq!(after.await?, before);
    Ok(())
}

#[tokio::test]
async fn a_host_without_a_name_is_unreachable_and_named() -> anyhow::Result<()> {
    let cluster = Cluster::new(&access("no-such-broker.invalid:9092"))?;
    let error = cluster.ensure_topics("shop", Lanes::new(3)?, 1).await.expect_err("nobody is there");
    assert_eq!(error.reason(), "Unreachable");
    ensure!(error.to_string().contains("resolve"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_log_in_that_is_refused_is_told_from_silence_at_once() -> anyhow::Result<()> {
    let kafka = Kafka::shared().await?;
    let sasl = SaslAccess {
        mechanism: SaslMechanism::ScramSha512,
        username: "shop".to_owned(),
        password: "hunter2".to_owned(),
    };
    let cluster = Cluster::new(&Access { sasl: Some(sasl), ..access(kafka.bootstrap()) })?;
    let error = cluster.ensure_topics("shop", Lanes::new(3)?, 1).await.expect_err("it knows no log-in");
    assert_eq!(error.reason(), "AuthenticationFailed", "{error}");
    ensure!(!error.to_string().contains("hunter2"), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_tls_is_told_from_silence_at_once() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let brokers = listener.local_addr()?.to_string();
    let talker = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
        }
        anyhow::Ok(())
    });
    let tls = TlsAccess { ca: None, client: None };
    let cluster = Cluster::new(&Access { tls: Some(tls), ..access(&brokers) })?;
    let error = cluster.ensure_topics("shop", Lanes::new(3)?, 1).await.expect_err("it speaks no TLS");
    assert_eq!(error.reason(), "TlsFailed", "{error}");
    talker.abort();
    Ok(())
}

#[tokio::test]
async fn an_error_reads_the_same_each_time() -> anyhow::Result<()> {
    let port = free_port()?;
    let cluster = Cluster::new(&access(&format!("127.0.0.1:{port},127.0.0.2:{port}")))?;
    let first = cluster.ensure_topics("shop", Lanes::new(3)?, 1).await.expect_err("nobody is there");
    let second = cluster.ensure_topics("shop", Lanes::new(3)?, 1).await.expect_err("nobody is there");
    assert_eq!(first, second);
    Ok(())
}

#[tokio::test]
async fn a_service_that_never_told_has_read_nothing() -> anyhow::Result<()> {
    let system = system().await?;
    system.ensure().await?;
    system.write(Topic::Orders, 0, 5)?;
    system.write(Topic::Orders, 2, 2)?;
    assert_eq!(system.positions(ServiceName::Payment).await?, Positions { written: 7, read: 0 });
    assert_eq!(system.positions(ServiceName::Notification).await?, Positions { written: 7, read: 0 });
    // The order service's view reads its own topic; what it decides from is elsewhere.
    assert_eq!(system.positions(ServiceName::Order).await?, Positions { written: 7, read: 0 });
    system.write(Topic::Payments, 1, 3)?;
    assert_eq!(system.positions(ServiceName::Order).await?, Positions { written: 10, read: 0 });
    Ok(())
}

#[tokio::test]
async fn what_a_service_told_is_what_it_has_read() -> anyhow::Result<()> {
    let system = system().await?;
    system.ensure().await?;
    system.write(Topic::Orders, 0, 5)?;
    system.tell("payments", Topic::Orders, 0, 3)?;
    assert_eq!(system.positions(ServiceName::Payment).await?, Positions { written: 5, read: 3 });
    assert_eq!(system.positions(ServiceName::Notification).await?, Positions { written: 5, read: 0 });

    system.tell("payments", Topic::Orders, 0, 5)?;
    assert_eq!(system.positions(ServiceName::Payment).await?, Positions { written: 5, read: 5 });
    assert_eq!(system.positions(ServiceName::Payment).await?, Positions { written: 5, read: 5 });

    system.write(Topic::Orders, 1, 4)?;
    assert_eq!(system.positions(ServiceName::Payment).await?, Positions { written: 9, read: 5 });
    Ok(())
}

#[tokio::test]
async fn without_topics_there_are_no_positions() -> anyhow::Result<()> {
    let system = system().await?;
    let error = system.cluster.positions(&system.prefix, system.lanes).await.expect_err("there are no topics");
    assert_eq!(error.reason(), "TopicMissing", "{error}");
    Ok(())
}

#[tokio::test]
async fn a_service_is_settled_when_each_of_its_groups_has_agreed() -> anyhow::Result<()> {
    let system = system().await?;
    system.ensure().await?;
    let settled = async || anyhow::Ok(system.cluster.group_stable(&system.prefix, ServiceName::Inventory).await?);
    ensure!(!settled().await?, "nobody is there");

    let groups = [("inventory", Topic::Orders), ("inventory_view", Topic::Inventory)];
    let mut members = Vec::new();
    for (group, topic) in groups {
        ensure!(!settled().await?, "{group} has no member");
        let member = system.group(group)?;
        member.subscribe(&[&topic.name(&system.prefix)])?;
        members.push(member);
        eventually(DEADLINE, "each member has its lanes", async || {
            for member in &members {
                member.poll(Duration::from_millis(10)).transpose()?;
                ensure!(member.assignment()?.count() == 3);
            }
            Ok(())
        })
        .await?;
    }
    eventually(DEADLINE, "the service is settled", async || {
        for member in &members {
            member.poll(Duration::from_millis(10)).transpose()?;
        }
        ensure!(settled().await?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn deleted_topics_are_gone_and_can_be_made_anew() -> anyhow::Result<()> {
    let system = system().await?;
    system.ensure().await?;
    system.write(Topic::Orders, 0, 5)?;
    system.tell("payments", Topic::Orders, 0, 5)?;
    assert_eq!(system.positions(ServiceName::Payment).await?, Positions { written: 5, read: 5 });

    system.cluster.delete_topics(&system.prefix).await?;
    assert_eq!(system.partitions()?, [0; 0]);
    system.cluster.delete_topics(&system.prefix).await?;

    assert_eq!(system.ensure().await?.len(), ALL.len());
    assert_eq!(system.positions(ServiceName::Payment).await?, Positions::default());
    Ok(())
}
