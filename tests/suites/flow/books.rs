//! The judge: what the client was told is what is there, and the system's own books balance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::ensure;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use tests::eventually;
use tests::postgres::TestDatabase;
use tests::shop::{self, Shop};
use tests::system::{Service, System};

use crate::load::{Acknowledged, Kind, Load, ON_HAND, PRODUCTS};

/// Orders that are looked at once.
const LOOKS: usize = 8;

/// How long the list of orders may take to show what happened, on a busy machine.
const LIST_DEADLINE: Duration = Duration::from_secs(30);

/// How long the audit may wait until nothing is on its way, in seconds.
const AUDIT_WAIT_SECONDS: u64 = 60;

/// Waits until every order of a load is settled and judges them, the stock and the system's books.
pub async fn judge(system: &System, load: &Load<'_>, orders: &[Acknowledged]) -> anyhow::Result<()> {
    let shop = system.shop();
    let ids: BTreeSet<&str> = orders.iter().map(|order| order.id.as_str()).collect();
    ensure!(ids.len() == orders.len(), "{} orders have {} ids", orders.len(), ids.len());
    stream::iter(orders).map(|order| ended_well(&shop, order)).buffer_unordered(LOOKS).try_collect::<()>().await?;
    listed(&shop, load.customer, orders.len()).await?;
    counted(&shop, load, orders).await?;
    balanced(system.database()).await
}

/// An order ends as its kind has to, with an answer to every question that was open.
async fn ended_well(shop: &Shop, order: &Acknowledged) -> anyhow::Result<()> {
    let id = &order.id;
    let settled = shop.settled(id).await?;
    let (status, reason, revision) = match order.kind {
        Kind::Plain | Kind::Twice => ("confirmed", None, Some(1)),
        // A request that was repeated may have amended it more than once.
        Kind::Amended => ("confirmed", None, None),
        Kind::Declined => ("rejected", Some("payment_declined"), Some(1)),
        Kind::Short => ("rejected", Some("out_of_stock"), Some(1)),
        Kind::Cancelled => ("cancelled", Some("changed my mind"), Some(1)),
    };
    ensure!(settled["status"] == status, "{:?} order ended otherwise: {settled}", order.kind);
    ensure!(reason.is_none_or(|reason| settled["reason"] == reason), "{:?} order: {settled}", order.kind);
    ensure!(revision.is_none_or(|revision| settled["revision"] == revision), "{:?} order: {settled}", order.kind);
    if status == "confirmed" {
        shop.until_payment(id, "captured").await?;
        let payments = shop.payments(id).await?;
        let taken: Vec<&Value> = payments.iter().filter(|payment| payment["status"] == "captured").collect();
        ensure!(taken.len() == 1 && taken[0]["amount"] == settled["total"], "{settled} is paid by {payments:?}");
    }
    Ok(())
}

/// The list comes to show as many orders of the customer as were acknowledged: none is lost and none is there twice. Their
/// ids.
pub async fn listed(shop: &Shop, customer: &str, orders: usize) -> anyhow::Result<BTreeSet<String>> {
    eventually(LIST_DEADLINE, &format!("{orders} orders are listed"), async || {
        let listed = list(shop, customer).await?;
        ensure!(listed.len() == orders, "there are {}", listed.len());
        Ok(listed)
    })
    .await
}

/// The ids of a customer's orders.
async fn list(shop: &Shop, customer: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    let mut page = format!("/orders?customerId={customer}&limit=200");
    loop {
        let answer = shop.to(Service::Order)?.get(&page).await?.expect(200)?;
        for order in shop::data(&answer)? {
            ids.insert(shop::id(&order)?);
        }
        match &answer.json()?["nextCursor"] {
            Value::String(cursor) => page = format!("/orders?customerId={customer}&limit=200&cursor={cursor}"),
            _ => return Ok(ids),
        }
    }
}

/// What is sold of each product is what the confirmed orders ask for; nothing is held any more.
async fn counted(shop: &Shop, load: &Load<'_>, orders: &[Acknowledged]) -> anyhow::Result<()> {
    let mut sold: BTreeMap<usize, i64> = (0..PRODUCTS).map(|product| (product, 0)).collect();
    let confirmed = orders.iter().filter(|order| matches!(order.kind, Kind::Plain | Kind::Twice | Kind::Amended));
    for (product, quantity) in confirmed.flat_map(|order| &order.lines) {
        *sold.entry(*product).or_default() += quantity;
    }
    for (product, sold) in sold {
        shop.until_counts(&load.product(product), [ON_HAND - sold, 0, sold]).await?;
    }
    Ok(())
}

/// `ordersystem audit` says that the books balance, and there was nothing that a consumer could not read or settle.
pub async fn balanced(database: &TestDatabase) -> anyhow::Result<()> {
    tests::books::balanced(database, AUDIT_WAIT_SECONDS).await
}
