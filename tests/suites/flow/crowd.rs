//! Three replicas of each service: a crowd for the last units, a crowd with one key, and replicas that come and go.

use std::cell::Cell;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use tests::http::{Answer, Client};
use tests::shop::{self, Shop};
use tests::system::{Replica, Service, System, Transport};

use crate::books::{balanced, judge, listed};
use crate::lanes::{all_shared_by, each};
use crate::load::Load;

/// Units of the product that everyone wants.
const UNITS: i64 = 10;

/// Orders for one of them each.
const WANTED: usize = 200;

/// How often a request with one key is sent.
const REPEATS: usize = 100;

/// What three replicas of each service share.
pub async fn shared(transport: Transport) -> anyhow::Result<()> {
    let system = System::services(transport, 3).await?;
    let shop = system.shop();
    all_shared_by(&system, &[0, 1, 2]).await?;
    last_units(&shop).await?;
    one_key(&shop).await?;
    balanced(system.database()).await?;
    come_and_go(&system).await
}

/// As many orders are confirmed as there are units, and every other one is rejected.
async fn last_units(shop: &Shop) -> anyhow::Result<()> {
    shop.put_stock("last", UNITS).await?;
    let order = shop::order(&[("last", 1)], Some("tok_ok"));
    let orders = try_join_all((0..WANTED).map(|_| shop.placed(&order))).await?;
    let (mut confirmed, mut rejected) = (0, 0);
    for id in &orders {
        let settled = shop.settled(id).await?;
        match (settled["status"].as_str(), settled["reason"].as_str()) {
            (Some("confirmed"), _) => confirmed += 1,
            (Some("rejected"), Some("out_of_stock")) => rejected += 1,
            _ => anyhow::bail!("order {id} ended otherwise: {settled}"),
        }
    }
    assert_eq!((confirmed, rejected), (UNITS, i64::try_from(WANTED)? - UNITS), "confirmed and rejected");
    shop.until_counts("last", [0, 0, UNITS]).await
}

/// A request that is sent many times at once makes one order and is answered alike, every repeat saying that it is one.
async fn one_key(shop: &Shop) -> anyhow::Result<()> {
    shop.put_stock("one", UNITS).await?;
    let mut order = shop::order(&[("one", 1)], Some("tok_ok"));
    order["customerId"] = json!("impatient");
    let send = async || {
        let place = shop.to(Service::Order)?.post("/orders").header("Idempotency-Key", "one-key").json(&order);
        place.await?.expect(201)
    };
    let answers = try_join_all((0..REPEATS).map(|_| send())).await?;
    let first = answers.first().context("there are answers")?;
    let told = |answer: &Answer| (answer.text(), answer.header("Location").map(str::to_owned));
    for answer in &answers {
        ensure!(told(answer) == told(first), "{:?} and {:?}", told(answer), told(first));
    }
    let replayed = answers.iter().filter(|answer| answer.header("Idempotent-Replayed") == Some("true")).count();
    assert_eq!(replayed, REPEATS - 1, "answers that say they are repeated");
    let id = shop::id(&first.json()?)?;
    shop.until_status(&id, "confirmed").await?;
    shop.until_counts("one", [UNITS - 1, 0, 1]).await?;
    let listed = listed(shop, "impatient", 1).await?;
    ensure!(listed.contains(&id), "{listed:?} is listed, not {id}");
    Ok(())
}

/// The third replica of each service leaves and another comes, while every request to the others succeeds.
async fn come_and_go(system: &System) -> anyhow::Result<()> {
    let stayers = Stayers::of(system)?;
    let load = Load::strict("steady", |service| Ok(stayers.next(service)));
    load.stock(&system.shop()).await?;
    let (orders, ()) = load
        .place_while(async {
            each(system, 2, Replica::terminate).await?;
            all_shared_by(system, &[0, 1]).await?;
            each(system, 2, Replica::start_again).await?;
            all_shared_by(system, &[0, 1, 2]).await
        })
        .await?;
    judge(system, &load, &orders).await
}

/// The replicas that stay, in turn.
struct Stayers {
    clients: [Vec<Client>; 4],
    turn: Cell<usize>,
}

impl Stayers {
    fn of(system: &System) -> anyhow::Result<Self> {
        let mut clients: [Vec<Client>; 4] = Default::default();
        for service in Service::ALL {
            for number in 0..2 {
                clients[service as usize].push(system.replica(service, number).client()?);
            }
        }
        Ok(Self { clients, turn: Cell::new(0) })
    }

    fn next(&self, service: Service) -> Client {
        let turn = self.turn.replace(self.turn.get() + 1);
        let clients = &self.clients[service as usize];
        clients[turn % clients.len()].clone()
    }
}
