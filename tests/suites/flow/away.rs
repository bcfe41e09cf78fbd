//! What everything rests on goes away and comes back: the database, and the broker.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use ordersystem::postgres::Options;
use serde_json::json;
use tests::http::{Answer, Call, Client};
use tests::kafka::{FencedKafka, Kafka};
use tests::postgres::Server;
use tests::shop;
use tests::system::{Replica, Setup, System, Transport};
use tests::{Folder, eventually};
use tokio::time::{sleep, timeout};

use crate::NOTICE_DEADLINE;
use crate::books::{balanced, judge};
use crate::load::Load;

/// Orders that are acknowledged before anything happens.
const BEFORE: usize = 30;

/// Room that is left on a disk that is filled, in bytes.
const LAST_ROOM: u64 = 64 * 1024;

/// Products that are counted at most until the disk is full: each takes some hundred bytes of the room.
const COUNTS: usize = 5_000;

/// How long a broker is fenced: longer than any client goes without asking.
const FENCED: Duration = Duration::from_secs(12);

/// How long a request may take that is refused: it waits for nothing, but the machine may be busy.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);

/// The database goes without a word. The system says that it is not ready and refuses at once what it cannot do; when
/// the database is back it goes on by itself, and every order that was ever acknowledged is settled.
pub async fn database(transport: Transport) -> anyhow::Result<()> {
    let mut server = Server::start(Options::default()).await?;
    let system = System::up(Setup::from(transport).database(server.create_database().await?)).await?;
    let shop = system.shop();
    let load = Load::patient("patient", |service| shop.to(service));
    load.stock(&shop).await?;
    let known = shop.placed(&shop::order(&[("nothing", 1)], None)).await?;
    let happens = async {
        load.acknowledged(BEFORE).await?;
        server.kill().await?;
        let client = is_not_ready(system.process(), "db").await?;
        refused(client.post("/orders").json(&shop::order(&[("cup", 1)], None))).await?;
        refused(client.post(&format!("/orders/{known}/cancel")).json(&json!({"reason": "too late"}))).await?;
        refused(client.put("/inventory/cup").json(&json!({"onHand": 1}))).await?;
        refused(client.post("/payments").json(&json!({"orderId": known, "token": "tok_ok"}))).await?;
        for path in ["/orders", &format!("/orders/{known}"), "/inventory/cup", "/notifications"] {
            refused(client.get(path)).await?;
        }
        server.start_again().await?;
        system.process().wait_until_ready().await
    };
    let (orders, ()) = load.place_while(happens).await?;
    judge(&system, &load, &orders).await
}

/// The database's disk is full. The system says that it is not ready; nothing that was on its way is given up, nobody is
/// answered otherwise than with 503, and when there is room again it goes on by itself.
pub async fn full(transport: Transport) -> anyhow::Result<()> {
    let mut server = Server::start_in(Folder::volume("postgres")?, Options::default()).await?;
    let system = System::up(Setup::from(transport).database(server.create_database().await?)).await?;
    let shop = system.shop();
    let load = Load::patient("patient", |service| shop.to(service));
    load.stock(&shop).await?;
    let happens = async {
        load.acknowledged(BEFORE).await?;
        server.folder().fill(LAST_ROOM)?;
        is_not_ready(system.process(), "db").await?;
        server.folder().make_room()?;
        server.revive().await?;
        system.process().wait_until_ready().await
    };
    let (orders, ()) = load.place_while(happens).await?;
    judge(&system, &load, &orders).await
}

/// The disk is full when nothing is on its way but what callers ask for. They are refused, so that nothing is left to be
/// tried again; when there is room, whoever asks next is served all the same.
pub async fn full_for_callers(transport: Transport) -> anyhow::Result<()> {
    let mut server = Server::start_in(Folder::volume("postgres")?, Options::default()).await?;
    let system = System::up(Setup::from(transport).database(server.create_database().await?)).await?;
    let client = system.process().client()?;
    let count =
        async |product: usize| client.put(&format!("/inventory/product-{product}")).json(&json!({"onHand": 1})).await;
    server.folder().fill(LAST_ROOM)?;
    let mut products = 0..COUNTS;
    loop {
        let product = products.next().context("everything was counted on a full disk")?;
        if count(product).await?.expect(503).is_ok() {
            break;
        }
    }
    server.folder().make_room()?;
    server.revive().await?;
    system.process().wait_until_ready().await?;
    eventually(NOTICE_DEADLINE, "stock is counted", async || count(COUNTS).await?.expect(200).map(drop)).await?;
    balanced(system.database()).await
}

/// The broker goes without a word. Reads are answered still, and what cannot be passed on is refused at once; when the
/// broker is back, what had been accepted is settled.
pub async fn broker() -> anyhow::Result<()> {
    let kafka = Kafka::start().await?;
    let system = System::up(Setup::from(Transport::Kafka).kafka(kafka.bootstrap())).await?;
    let shop = system.shop();
    let load = Load::patient("patient", |service| shop.to(service));
    load.stock(&shop).await?;
    let known = shop.placed(&shop::order(&[("nothing", 1)], None)).await?;
    let happens = async {
        load.acknowledged(BEFORE).await?;
        kafka.kill().await?;
        let client = is_not_ready(system.process(), "kafka").await?;
        // Each service finds out by itself, and does until then what it is asked for.
        let place = async || refused(client.post("/orders").json(&shop::order(&[("nothing", 1)], None))).await;
        eventually(NOTICE_DEADLINE, "orders are refused", place).await?;
        let adjust = async || refused(client.put("/inventory/spare").json(&json!({"onHand": 1}))).await;
        eventually(NOTICE_DEADLINE, "stock is not adjusted", adjust).await?;
        client.get(&format!("/orders/{known}")).await?.expect(200)?;
        kafka.start_again().await?;
        system.process().wait_until_ready().await
    };
    let (orders, ()) = load.place_while(happens).await?;
    judge(&system, &load, &orders).await
}

/// The broker is fenced for a while, as when it is stopped in good order: who asks it for brokers is told of none, and
/// librdkafka then forgets even those that it was configured with. When the broker is let in again it is found again.
pub async fn fenced() -> anyhow::Result<()> {
    let kafka = FencedKafka::start().await?;
    let system = System::up(Setup::from(Transport::Kafka).kafka(&kafka.bootstrap())).await?;
    let shop = system.shop();
    let load = Load::patient("patient", |service| shop.to(service));
    load.stock(&shop).await?;
    let happens = async {
        load.acknowledged(BEFORE).await?;
        kafka.fence(true);
        is_not_ready(system.process(), "kafka").await?;
        sleep(FENCED).await;
        kafka.fence(false);
        system.process().wait_until_ready().await
    };
    let (orders, ()) = load.place_while(happens).await?;
    judge(&system, &load, &orders).await
}

/// Waits until a process says that it is not ready because of `component`; it is alive all the same.
async fn is_not_ready(process: &Replica, component: &str) -> anyhow::Result<Client> {
    let client = process.client()?;
    eventually(NOTICE_DEADLINE, &format!("it is not ready without its {component}"), async || {
        let health = client.get("/actuator/health/readiness").await?.expect(503)?.json()?;
        ensure!(health["components"][component]["status"] == "DOWN", "{health}");
        Ok(())
    })
    .await?;
    client.get("/actuator/health/liveness").await?.expect(200)?;
    Ok(client)
}

/// A request is refused at once, with a problem that says so.
async fn refused(call: Call) -> anyhow::Result<()> {
    let answer: Answer = timeout(REFUSAL_DEADLINE, call.into_future()).await??;
    answer.problem(503, "unavailable").map(drop)
}
