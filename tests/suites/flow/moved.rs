//! A system that is run without Kafka at first, then with it, and without it again, on the same database.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use tests::http::Client;
use tests::kafka::Kafka;
use tests::postgres::TestDatabase;
use tests::program::Program;
use tests::{Folder, eventually, shop, unique_name};

use crate::books::balanced;

/// Orders that are settled under each transport, and orders that are left over for the next.
const ORDERS: usize = 20;

/// What the program says when it is ready, before its address.
const READY: &str = "ordersystem is ready: ";

/// How long it may take until then.
const READY_DEADLINE: Duration = Duration::from_mins(1);

/// How long an order may take to be settled after a move.
const SETTLE_DEADLINE: Duration = Duration::from_mins(1);

/// Orders are settled after each move, those too that were taken before it.
pub async fn there_and_back() -> anyhow::Result<()> {
    let system = Movable::new().await?;
    let kafka = Some(Kafka::shared().await?.bootstrap());
    let mut left_over = Vec::new();
    for transport in [None, kafka, None, kafka] {
        let (mut program, client) = system.start(transport).await?;
        client.put("/inventory/cup").json(&serde_json::json!({"onHand": 1000})).await?;
        confirmed(&client, &left_over).await?;
        confirmed(&client, &place(&client).await?).await?;
        left_over = place(&client).await?;
        let ended = program.terminate().await?;
        ensure!(ended.success(), "it ended with {ended}");
    }
    let (_program, client) = system.start(None).await?;
    confirmed(&client, &left_over).await?;
    balanced(&system.database).await
}

/// A system that can be run over either transport.
struct Movable {
    database: TestDatabase,
    folder: Folder,
}

impl Movable {
    async fn new() -> anyhow::Result<Self> {
        let folder = Folder::new("moved")?;
        let name = unique_name();
        let manifest = format!(
            "apiVersion: ordersystem.dev/v1alpha1\nkind: OrderSystem\nmetadata: {{name: {name}}}\nspec: {{}}\n"
        );
        fs::write(folder.path().join("system.yaml"), manifest)?;
        Ok(Self { database: TestDatabase::create().await?, folder })
    }

    async fn start(&self, kafka: Option<&str>) -> anyhow::Result<(Program, Client)> {
        let mut program = Program::start("up", |up| {
            up.arg("--file").arg(self.folder.path().join("system.yaml"));
            up.args(["--listen", "127.0.0.1:0", "--database", self.database.url()]);
            up.args(kafka.iter().flat_map(|brokers| ["--kafka", *brokers]))
        })?;
        let line = program.says(READY, READY_DEADLINE).await?;
        let address = line.split(READY).nth(1).and_then(|rest| rest.split_whitespace().next());
        Ok((program, Client::new(address.context("it says where it is")?)))
    }
}

/// Places orders, and hands on their ids.
async fn place(client: &Client) -> anyhow::Result<Vec<String>> {
    let order = shop::order(&[("cup", 1)], Some("tok_ok"));
    let place = async || shop::id(&client.post("/orders").json(&order).await?.expect(201)?.json()?);
    try_join_all((0..ORDERS).map(|_| place())).await
}

async fn confirmed(client: &Client, orders: &[String]) -> anyhow::Result<()> {
    for id in orders {
        eventually(SETTLE_DEADLINE, &format!("order {id} is confirmed"), async || {
            let order = client.get(&format!("/orders/{id}")).await?.expect(200)?.json()?;
            ensure!(order["status"] == "confirmed", "it is {order}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
