//! Passwords, payment tokens and card numbers, sought in everything that a system writes at its most talkative.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use contract::{Topic, env, topic};
use ordersystem::postgres::Options;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::json;
use tests::http::Answer;
use tests::kafka::{Kafka, PASSWORD, USER};
use tests::postgres::Server;
use tests::program::Program;
use tests::shop::{Shop, id, order};
use tests::system::{Service, Setup, System, Transport};
use tests::turn;
use tokio_postgres::Client;

/// A card's number, which somebody sends for its token.
const CARD: &str = "4111111111111111";
/// What an order is paid with. It takes its time, and succeeds.
const TOKEN: &str = "tok_timeout_then_ok";
/// A token that the provider does not know.
const STOLEN: &str = "tok_s3cret-token-of-ann";
/// A wrong password that somebody tries.
const WRONG: &str = "wr0ng-and-secret";
/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// Lanes of the system.
const LANES: u16 = 2;
/// Where a payment token has to be kept, for it to be paid with: the journals of orders and payments and their rows, and
/// with the provider.
const TOKEN_KEEPERS: [&str; 5] =
    ["orders.event", "orders.orders", "payments.event", "payments.payment", "provider.charge"];

fn talkative(kafka: &Kafka) -> Setup {
    Setup::from(Transport::Kafka)
        .kafka(kafka.bootstrap())
        .lanes(LANES)
        .variable("RUST_LOG", "trace")
        .variable(env::KAFKA_TLS, "true")
        .variable(env::KAFKA_CA_FILE, kafka.ca_file().to_string_lossy())
        .variable(env::KAFKA_SASL_MECHANISM, "SCRAM-SHA-512")
        .variable(env::KAFKA_SASL_USERNAME, USER)
        .variable(env::KAFKA_SASL_PASSWORD, PASSWORD)
}

#[tokio::test]
async fn secrets_are_only_where_they_belong() -> anyhow::Result<()> {
    let _turn = turn().await?;
    let kafka = Kafka::secured().await?;
    let mut server = Server::start(Options::default()).await?;
    let database = server.create_database().await?;
    let url = database.url().to_owned();
    let password = url.split(['@', ':']).nth(2).context("a URL has a password")?.to_owned();
    let system = System::up(talkative(kafka).database(database)).await?;
    let shop = system.shop();

    let mut answers = lived(&shop).await?;
    answers.extend(mistaken(&shop).await?);
    server.kill().await?;
    answers.extend(failed(&shop).await?);
    server.start_again().await?;
    system.process().wait_until_ready().await?;
    let paid = shop.placed(&order(&[("kettle", 1)], Some("tok_ok"))).await?;
    shop.until_payment(&paid, "captured").await?;
    let refusals = refused(&url, &password).await?;
    system.at_rest().await?;

    let everywhere = [CARD, PASSWORD, &password, WRONG];
    let logs = [system.process().log().await, refusals];
    ensure!(logs[0].contains(" TRACE ") && logs[0].contains(" DEBUG "), "the log is not talkative");
    for secret in everywhere.iter().chain(&[STOLEN, TOKEN]) {
        for log in &logs {
            let line = log.lines().find(|line| line.contains(secret));
            ensure!(line.is_none(), "a log tells {secret}: {line:?}");
        }
        let told = answers
            .iter()
            .find(|answer| answer.text().contains(secret) || format!("{:?}", answer.headers).contains(secret));
        ensure!(told.is_none(), "an answer tells {secret}: {told:?}");
    }
    let client = system.database().connect().await?;
    for secret in everywhere {
        ensure!(keepers(&client, secret).await?.is_empty(), "{:?} keep {secret}", keepers(&client, secret).await?);
    }
    for token in [STOLEN, TOKEN] {
        let keepers = keepers(&client, token).await?;
        ensure!(keepers.iter().all(|table| TOKEN_KEEPERS.contains(&table.as_str())), "{keepers:?} keep {token}");
        ensure!(!keepers.is_empty(), "the search does not find what is there");
    }
    let records = records(kafka, system.name())?;
    for secret in everywhere {
        let found: Vec<&String> =
            records.iter().filter(|(_, text)| text.contains(secret)).map(|(topic, _)| topic).collect();
        ensure!(found.is_empty(), "{found:?} carry {secret}");
    }
    let carriers: Vec<&String> =
        records.iter().filter(|(_, text)| text.contains(STOLEN)).map(|(topic, _)| topic).collect();
    let may = [Topic::Orders, Topic::Payments].map(|topic| topic.name(system.name()));
    ensure!(!carriers.is_empty() && carriers.iter().all(|topic| may.contains(topic)), "{carriers:?} carry {STOLEN}");
    Ok(())
}

/// Orders that go their way, and everything that can be read about them.
async fn lived(shop: &Shop) -> anyhow::Result<Vec<Answer>> {
    shop.put_stock("kettle", 100).await?;
    let mut answers = Vec::new();
    for token in [TOKEN, STOLEN] {
        let placed = shop.place(&order(&[("kettle", 1)], Some(token))).await?.expect(201)?;
        let id = id(&placed.json()?)?;
        let declined = token == STOLEN;
        shop.until_payment(&id, if declined { "declined" } else { "captured" }).await?;
        if declined {
            answers.push(shop.pay(&id, "tok_ok").await?.expect(201)?);
        }
        answers.push(placed);
        for path in [format!("/orders/{id}"), format!("/orders/{id}/events"), "/orders".to_owned()] {
            answers.push(shop.to(Service::Order)?.get(&path).await?.expect(200)?);
        }
        answers.push(shop.to(Service::Payment)?.get(&format!("/payments?orderId={id}")).await?.expect(200)?);
        answers.push(shop.to(Service::Notification)?.get(&format!("/notifications?orderId={id}")).await?.expect(200)?);
    }
    for path in ["/actuator/health", "/actuator/info", "/actuator/prometheus", "/openapi.json"] {
        answers.push(shop.to(Service::Order)?.get(path).await?.expect(200)?);
    }
    Ok(answers)
}

/// A card's number where its token belongs, where nothing belongs, and in what is not even JSON.
async fn mistaken(shop: &Shop) -> anyhow::Result<Vec<Answer>> {
    let order = order(&[("kettle", 1)], Some(CARD));
    let client = shop.to(Service::Order)?;
    let mut unknown = order.clone();
    unknown["payment"] = json!({"token": "tok_ok", "cvc": CARD});
    let answers = vec![
        shop.place(&order).await?.problem_of(422)?,
        shop.pay("018f0000-0000-7000-8000-000000000000", CARD).await?.problem_of(422)?,
        client.post("/orders").json(&unknown).await?.problem_of(422)?,
        client
            .post("/orders")
            .header("content-type", "application/json")
            .body(format!("{{\"customerId\": \"{CARD}"))
            .await?
            .problem_of(400)?,
    ];
    Ok(answers)
}

/// Requests while the database is away.
async fn failed(shop: &Shop) -> anyhow::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let began = Instant::now();
    while answers.len() < 5 && began.elapsed() < DEADLINE {
        let answer = shop.place(&order(&[("kettle", 1)], Some(STOLEN))).await?;
        ensure!(answer.status == 503, "{} {}", answer.status, answer.text());
        answers.push(answer);
        answers.push(shop.to(Service::Order)?.get("/orders").await?);
    }
    Ok(answers)
}

/// What programs say that cannot get at the database: with a wrong password, and with URLs that are none.
async fn refused(url: &str, password: &str) -> anyhow::Result<String> {
    let urls = [
        url.replace(password, WRONG),
        url.replace("postgres://", "postgres:/"),
        url.replace("127.0.0.1:", "127.0.0.1:9"),
        format!("{url}?sslmode=none"),
        format!("{url}?password={WRONG}&unknown=1"),
    ];
    let mut said = String::new();
    for url in urls {
        for subcommand in ["payment", "audit"] {
            let mut program = Program::start(subcommand, |command| {
                command.env("RUST_LOG", "trace").env(env::DATABASE_URL, &url);
                if subcommand == "payment" { command.args(["--listen", "127.0.0.1:0"]) } else { command }
            })?;
            ensure!(!program.ended(DEADLINE).await?.success(), "`{subcommand}` gets on with a bad URL");
            said += &program.log();
        }
    }
    Ok(said)
}

/// The tables with `secret` somewhere in a row, as text or as bytes.
async fn keepers(client: &Client, secret: &str) -> anyhow::Result<Vec<String>> {
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
                  WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    let hex: String = secret.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let mut keepers = Vec::new();
    for row in client.query(tables, &[]).await? {
        let table: String = row.get(0);
        let sql = format!("SELECT count(*) FROM {table} t WHERE strpos(t::text, $1) > 0 OR strpos(t::text, $2) > 0");
        if client.query_one(&sql, &[&secret, &hex]).await?.get::<_, i64>(0) > 0 {
            keepers.push(table);
        }
    }
    Ok(keepers)
}

/// Everything that is in the system's topics, as text.
fn records(kafka: &Kafka, system: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "searcher")
        .set("security.protocol", "SASL_SSL")
        .set("ssl.ca.location", kafka.ca_file().to_string_lossy())
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", USER)
        .set("sasl.password", PASSWORD)
        .create()?;
    let topics = Topic::ALL.map(|topic| topic.name(system)).into_iter();
    let topics = topics.chain([topic::resend(system), topic::dead_letters(system)]);
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(&topic), DEADLINE)?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        for partition in 0..i32::try_from(partitions)? {
            let text = found.entry(topic.clone()).or_default();
            let (mut next, end) = consumer.fetch_watermarks(&topic, partition, DEADLINE)?;
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, partition, Offset::Offset(next))?;
            consumer.assign(&list)?;
            let deadline = Instant::now() + DEADLINE;
            while next < end {
                ensure!(Instant::now() < deadline, "{topic} cannot be read to its end");
                let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
                let message = message?;
                next = message.offset() + 1;
                let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                let parts = headers.filter_map(|header| header.value).chain(message.payload()).chain(message.key());
                parts.for_each(|part| text.push_str(&String::from_utf8_lossy(part)));
            }
        }
    }
    Ok(found)
}
