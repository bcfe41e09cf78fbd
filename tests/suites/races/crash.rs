//! The whole system is killed while orders flow.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;
use futures_util::future::try_join_all;
use tests::eventually;
use tests::shop::{self, Shop};
use tests::system::{Service, System, Transport};

/// Orders that flow, over so many connections.
const ORDERS: usize = 160;
const CONNECTIONS: usize = 8;

/// How often the system is killed meanwhile.
const KILLS: usize = 2;

#[tokio::test]
async fn orders_that_flow_while_the_system_is_killed_are_all_settled_and_none_twice() -> anyhow::Result<()> {
    let system = System::up(Transport::Log).await?;
    let shop = system.shop();
    shop.put_stock("flowing", 10_000).await?;
    let slow = shop.placed(&shop::order(&[("flowing", 1)], Some("tok_slow"))).await?;
    shop.until_payment(&slow, "authorizing").await?;
    let placed = AtomicUsize::new(0);

    let (orders, killed) = tokio::join!(flow(&shop, &placed), kill(&system, &placed));
    killed?;
    let orders = orders?;

    for order in &orders {
        assert_eq!(shop.settled(order).await?["status"], "confirmed");
    }
    // Its provider was being asked when the system was killed.
    shop.until_payment(&slow, "captured").await?;
    let sold = i64::try_from(ORDERS)? + 1;
    shop.until_counts("flowing", [10_000 - sold, 0, sold]).await?;
    let count = "SELECT count(*) FROM orders.event WHERE kind = 'order.placed.v1'";
    let streams: i64 = system.database().connect().await?.query_one(count, &[]).await?.try_get(0)?;
    assert_eq!(streams, sold);
    system.audit().await
}

/// Places all orders, each under a key and again until it is acknowledged.
async fn flow(shop: &Shop, placed: &AtomicUsize) -> anyhow::Result<Vec<String>> {
    let next = AtomicUsize::new(0);
    let connection = async || {
        let mut orders = Vec::new();
        while let number = next.fetch_add(1, Ordering::Relaxed)
            && number < ORDERS
        {
            orders.push(acknowledged(shop, &format!("flowing-{number}")).await?);
            placed.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(orders)
    };
    Ok(try_join_all((0..CONNECTIONS).map(|_| connection())).await?.concat())
}

async fn acknowledged(shop: &Shop, key: &str) -> anyhow::Result<String> {
    let order = shop::order(&[("flowing", 1)], Some("tok_ok"));
    eventually(shop::SETTLE_DEADLINE, "an order is acknowledged", async || {
        let place = shop.to(Service::Order)?.post("/orders").header("Idempotency-Key", key);
        shop::id(&place.json(&order).await?.expect(201)?.json()?)
    })
    .await
}

/// Kills the system whenever another part of the orders is placed, and starts it again.
async fn kill(system: &System, placed: &AtomicUsize) -> anyhow::Result<()> {
    for kill in 1..=KILLS {
        let enough = kill * ORDERS / (KILLS + 2);
        eventually(shop::SETTLE_DEADLINE, "orders flow", async || {
            let placed = placed.load(Ordering::Relaxed);
            ensure!(placed >= enough, "{placed} so far");
            Ok(())
        })
        .await?;
        system.process().kill_9().await?;
        system.process().start_again().await?;
    }
    Ok(())
}
