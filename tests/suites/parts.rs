//! The real parts that everything else is tested on: each starts, is found again with its data, recovers from a crash,
//! and is gone when it is stopped.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use ordersystem::postgres::{Binaries, Error, Options, Postgres};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tests::http::Client;
use tests::kafka::Kafka;
use tests::postgres::{Server, TestDatabase, connect};
use tests::program::Program;
use tests::{Folder, unique_name};

/// How long a broker may take for one request: a moment, or more while it recovers.
const BROKER_DEADLINE: Duration = Duration::from_secs(30);

/// How long a process may take to be seen gone.
const GONE_DEADLINE: Duration = Duration::from_secs(10);

mod postgresql {
    use super::*;

    #[tokio::test]
    async fn its_data_is_found_again_at_its_address_after_a_stop() -> anyhow::Result<()> {
        let mut server = Server::start(Options::default()).await?;
        write(server.url(), "kept").await?;
        let process = server.process_id().context("it runs")?;

        server.stop().await?;
        ensure!(!is_alive(process), "it runs after its stop");
        ensure!(connect(server.url()).await.is_err(), "something answers after its stop");

        server.start_again().await?;
        assert_eq!(read(server.url()).await?, "kept");
        Ok(())
    }

    #[tokio::test]
    async fn what_was_committed_survives_a_crash() -> anyhow::Result<()> {
        let mut server = Server::start(Options::default()).await?;
        write(server.url(), "kept").await?;
        server.kill().await?;
        server.start_again().await?;
        assert_eq!(read(server.url()).await?, "kept");
        Ok(())
    }

    #[tokio::test]
    async fn it_starts_after_its_first_process_was_killed_under_open_sessions() -> anyhow::Result<()> {
        let mut server = Server::start(Options::default()).await?;
        write(server.url(), "kept").await?;
        let session = connect(server.url()).await?;
        let busy = tokio::spawn(async move { session.batch_execute("SELECT pg_sleep(600)").await });

        signal(server.process_id(), Signal::KILL)?;
        server.stop().await?;
        server.start_again().await?;

        assert_eq!(read(server.url()).await?, "kept");
        ensure!(busy.await?.is_err(), "a session outlived its server");
        Ok(())
    }

    #[tokio::test]
    async fn one_left_behind_by_a_killed_owner_is_replaced() -> anyhow::Result<()> {
        let folder = Folder::new("postgres")?;
        let orphan = Postgres::start(folder.path(), &Options::default()).await?;
        let (url, process) = (orphan.url(), orphan.process_id().context("it runs")?);
        write(&url, "kept").await?;
        // What the system does for an owner that is killed: it gives the lock back, and the server goes on.
        fs::remove_file(folder.path().join("postgres/lock"))?;
        let session = connect(&url).await?;

        let heir = Postgres::start(folder.path(), &Options::default()).await?;

        ensure!(!is_alive(process), "the orphan runs beside its heir");
        ensure!(session.batch_execute("SELECT").await.is_err(), "the orphan's session lives");
        assert_eq!(heir.url(), url);
        assert_eq!(read(&url).await?, "kept");
        heir.stop().await?;
        Ok(())
    }

    #[tokio::test]
    async fn one_with_a_living_owner_is_shared_but_neither_started_nor_stopped() -> anyhow::Result<()> {
        let folder = Folder::new("postgres")?;
        let owner = Postgres::start(folder.path(), &Options::default()).await?;

        let second = Postgres::start(folder.path(), &Options::default()).await;
        ensure!(matches!(second, Err(Error::InUse { .. })), "a second owner was let in");
        let guest = Postgres::attach(folder.path(), &Options::default()).await?;
        assert_eq!(guest.url(), owner.url());
        guest.stop().await?;

        write(&owner.url(), "still there").await?;
        owner.stop().await?;
        Ok(())
    }

    #[tokio::test]
    async fn attaching_to_a_stopped_one_runs_it_meanwhile() -> anyhow::Result<()> {
        let mut server = Server::start(Options::default()).await?;
        write(server.url(), "kept").await?;
        server.stop().await?;

        let attached = Postgres::attach(server.folder().path(), &Options::default()).await?;
        assert_eq!(read(&attached.url()).await?, "kept");
        let process = attached.process_id().context("it runs")?;
        attached.stop().await?;
        ensure!(!is_alive(process), "it runs after it was let go");
        Ok(())
    }

    #[tokio::test]
    async fn attaching_to_nothing_makes_nothing() -> anyhow::Result<()> {
        let folder = Folder::new("nothing")?;
        let attached = Postgres::attach(folder.path(), &Options::default()).await;
        ensure!(matches!(attached, Err(Error::NoData { .. })), "it was let in");
        assert_eq!(fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }

    #[tokio::test]
    async fn it_says_why_it_ended() -> anyhow::Result<()> {
        let folder = Folder::new("postgres")?;
        let mut postgres = Postgres::start(folder.path(), &Options::default()).await?;
        signal(postgres.process_id(), Signal::QUIT)?;
        let reason = tokio::time::timeout(GONE_DEADLINE, postgres.ended()).await?;
        let words = reason.to_string();
        ensure!(words.contains("immediate shutdown request"), "{words}");
        Ok(())
    }

    #[tokio::test]
    async fn the_fetched_one_runs_as_well_and_is_fetched_once() -> anyhow::Result<()> {
        let options = Options { binaries: Binaries::Fetched, ..Options::default() };
        let first = Server::start(options.clone()).await?;
        let version: String = value(first.url(), "SHOW server_version").await?;
        ensure!(version.starts_with("18."), "it is {version}");
        let second = Server::start(options).await?;
        let program = |server: &Server| {
            let process = server.process_id().context("it runs")?;
            anyhow::Ok(fs::metadata(format!("/proc/{process}/exe"))?.ino())
        };
        ensure!(program(&first)? == program(&second)?, "the second start fetched it again");
        Ok(())
    }

    #[tokio::test]
    async fn data_is_run_by_the_version_that_wrote_it() -> anyhow::Result<()> {
        let mut options = Options { binaries: Binaries::Fetched, ..Options::default() };
        let folder = Folder::new("postgres")?;
        Postgres::start(folder.path(), &options).await?.stop().await?;

        options.binaries = Binaries::PathElseFetched;
        let again = Postgres::start(folder.path(), &options).await?;
        let version = value(&again.url(), "SHOW server_version").await?;
        ensure!(version.starts_with("18."), "it is {version}");
        again.stop().await?;
        Ok(())
    }

    #[tokio::test]
    async fn it_runs_in_a_folder_that_only_root_can_enter() -> anyhow::Result<()> {
        let folder = Folder::new("closed")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700))?;
        let postgres = Postgres::start(folder.path(), &Options::default()).await?;
        let _elsewhere = Elsewhere(fs::canonicalize(folder.path().join("postgres"))?);
        write(&postgres.url(), "kept").await?;
        postgres.stop().await?;

        let postgres = Postgres::start(folder.path(), &Options::default()).await?;
        assert_eq!(read(&postgres.url()).await?, "kept");
        postgres.stop().await?;
        Ok(())
    }

    /// Data that may lie outside the test's folder, and is removed with this value.
    struct Elsewhere(PathBuf);

    impl Drop for Elsewhere {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn what_was_acknowledged_is_on_the_disk() -> anyhow::Result<()> {
        let url = Server::shared().await?.url();
        for setting in ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"] {
            assert_eq!(value(url, &format!("SHOW {setting}")).await?, "on", "{setting}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn every_test_has_a_database_of_its_own_that_goes_with_it() -> anyhow::Result<()> {
        let (first, second) = (TestDatabase::create().await?, TestDatabase::create().await?);
        write(first.url(), "first").await?;
        write(second.url(), "second").await?;
        assert_eq!(read(first.url()).await?, "first");

        let (url, left) = (first.url().to_owned(), first.connect().await?);
        drop(first);
        ensure!(left.batch_execute("SELECT").await.is_err(), "its sessions live");
        ensure!(connect(&url).await.is_err(), "it is still there");
        Ok(())
    }

    async fn write(url: &str, word: &str) -> anyhow::Result<()> {
        let statements = format!("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('{word}')");
        Ok(connect(url).await?.batch_execute(&statements).await?)
    }

    async fn read(url: &str) -> anyhow::Result<String> {
        value(url, "SELECT word FROM kept").await
    }

    async fn value(url: &str, query: &str) -> anyhow::Result<String> {
        let client = connect(url).await?;
        Ok(client.query_one(query, &[]).await?.try_get(0)?)
    }
}

mod kafka {
    use super::*;

    #[tokio::test]
    async fn it_takes_records_from_every_test_at_once() -> anyhow::Result<()> {
        let kafka = Kafka::shared().await?;
        let topics = [unique_name(), unique_name()];
        for topic in &topics {
            create_topic(kafka, topic).await?;
            produce(kafka, topic, topic)?;
        }
        for topic in &topics {
            assert_eq!(&consume(kafka, topic)?, topic);
        }
        Ok(())
    }

    #[tokio::test]
    async fn its_records_are_found_again_at_its_address() -> anyhow::Result<()> {
        let kafka = Kafka::start().await?;
        let process = kafka.process_id()?.cast_unsigned();
        create_topic(&kafka, "kept").await?;
        produce(&kafka, "kept", "before the crash")?;

        kafka.kill().await?;
        ensure!(!is_alive(process), "it runs after kill -9");
        kafka.start_again().await?;
        assert_eq!(consume(&kafka, "kept")?, "before the crash");

        let process = kafka.process_id()?.cast_unsigned();
        kafka.stop().await?;
        ensure!(!is_alive(process), "it runs after its stop");
        kafka.start_again().await?;
        assert_eq!(consume(&kafka, "kept")?, "before the crash");
        Ok(())
    }

    #[tokio::test]
    async fn it_is_gone_with_its_data_when_the_test_lets_go_of_it() -> anyhow::Result<()> {
        let kafka = Kafka::start().await?;
        let process = kafka.process_id()?.cast_unsigned();
        let data = kafka.folder().path().join("data");
        ensure!(data.is_dir(), "it has no data");
        drop(kafka);
        ensure!(!is_alive(process), "it runs");
        ensure!(!data.exists(), "its data is there");
        Ok(())
    }

    fn client(kafka: &Kafka) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", kafka.bootstrap());
        client
    }

    async fn create_topic(kafka: &Kafka, topic: &str) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = client(kafka).create()?;
        let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(BROKER_DEADLINE));
        for created in admin.create_topics([&topic], &options).await? {
            created.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
        }
        Ok(())
    }

    fn produce(kafka: &Kafka, topic: &str, value: &str) -> anyhow::Result<()> {
        let producer: BaseProducer = client(kafka).set("acks", "all").create()?;
        let record = BaseRecord::<(), str>::to(topic).payload(value);
        producer.send(record).map_err(|(error, _)| error)?;
        Ok(producer.flush(BROKER_DEADLINE)?)
    }

    fn consume(kafka: &Kafka, topic: &str) -> anyhow::Result<String> {
        let consumer: BaseConsumer = client(kafka).set("group.id", unique_name()).create()?;
        let mut beginning = TopicPartitionList::new();
        beginning.add_partition_offset(topic, 0, Offset::Beginning)?;
        consumer.assign(&beginning)?;
        let end = std::time::Instant::now() + BROKER_DEADLINE;
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            match consumer.poll(left).context("no record came")? {
                Ok(record) => {
                    let value = record.payload().context("it has no value")?;
                    return Ok(String::from_utf8(value.to_vec())?);
                }
                // While the broker comes back, errors are news rather than the end.
                Err(error) => println!("{error}"),
            }
        }
    }
}

mod program {
    use super::*;

    #[tokio::test]
    async fn one_that_was_killed_finds_its_data_again() -> anyhow::Result<()> {
        let mut system = start()?;
        let client = client(&mut system).await?;
        client.put("/inventory/tea").json(&json!({"onHand": 3})).await?.expect(201)?;

        system.kill_9().await?;
        ensure!(client.get("/inventory/tea").await.is_err(), "it answers after kill -9");
        system.start_again()?;
        let stock = self::client(&mut system).await?.get("/inventory/tea").await?.expect(200)?;
        assert_eq!(stock.json()?["onHand"], 3);

        ensure!(system.terminate().await?.success(), "it did not end in good order");
        ensure!(!anything_works_in(system.folder()), "its PostgreSQL outlived it");
        Ok(())
    }

    #[tokio::test]
    async fn one_that_is_stopped_does_not_answer_until_it_goes_on() -> anyhow::Result<()> {
        let mut system = start()?;
        let client = client(&mut system).await?;
        system.stop()?;
        let mut answer = client.get("/actuator/health").into_future();
        let early = tokio::time::timeout(SILENCE, &mut answer).await;
        ensure!(early.is_err(), "it answered while it was stopped");
        system.cont()?;
        answer.await?.expect(200)?;
        Ok(())
    }

    #[tokio::test]
    async fn one_that_ends_is_not_waited_for() -> anyhow::Result<()> {
        let mut system = Program::start("up", |up| up.arg("--no-such-option"))?;
        let waited = system.says(READY, READY_DEADLINE).await;
        let error = waited.expect_err("it is ready").to_string();
        ensure!(error.contains("ended before"), "{error}");
        ensure!(system.log().contains("--no-such-option"), "its log does not say why");
        Ok(())
    }

    /// What it says when it takes orders, before its address.
    const READY: &str = "ordersystem is ready: ";

    /// How long it may take until then: its PostgreSQL may have a log to replay, on a machine that tests load.
    const READY_DEADLINE: Duration = Duration::from_mins(2);

    /// Long enough for an answer, had it been able to give one.
    const SILENCE: Duration = Duration::from_millis(500);

    fn start() -> anyhow::Result<Program> {
        Program::start("up", |up| up.args(["--listen", "127.0.0.1:0"]))
    }

    async fn client(system: &mut Program) -> anyhow::Result<Client> {
        let line = system.says(READY, READY_DEADLINE).await?;
        let address = line.split(READY).nth(1).and_then(|rest| rest.split_whitespace().next());
        Ok(Client::new(address.context("it says where it is")?))
    }

    fn anything_works_in(folder: &Folder) -> bool {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut folders = processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
        folders.any(|works_in| works_in.starts_with(folder.path()))
    }
}

fn signal(process: Option<u32>, signal: Signal) -> anyhow::Result<()> {
    let pid = process.and_then(|id| Pid::from_raw(id.cast_signed())).context("it runs")?;
    Ok(kill_process(pid, signal)?)
}

fn is_alive(process: u32) -> bool {
    // A process that has ended but was not waited for has no folder any more.
    fs::read_link(format!("/proc/{process}/cwd")).is_ok()
}
