//! smoke
use tests::shop;
use tests::system::{System, Transport, Service};

#[tokio::test]
async fn up_log() -> anyhow::Result<()> { go(System::up(Transport::Log).await?).await }
#[tokio::test]
async fn up_kafka() -> anyhow::Result<()> { go(System::up(Transport::Kafka).await?).await }
#[tokio::test]
async fn services_log() -> anyhow::Result<()> { go(System::services(Transport::Log, 2).await?).await }
#[tokio::test]
async fn services_kafka() -> anyhow::Result<()> { go(System::services(Transport::Kafka, 2).await?).await }

async fn go(system: System) -> anyhow::Result<()> {
    let shop = system.shop();
    shop.put_stock("cup", 10).await?;
    let order = shop.placed(&shop::order(&[("cup", 2)], Some("tok_ok"))).await?;
    let settled = shop.settled(&order).await?;
    println!("{settled} {:?}", shop.history(&order).await?);
    system.replica(Service::Payment, 0).kill_9().await?;
    system.replica(Service::Payment, 0).start_again().await?;
    let order = shop.placed(&shop::order(&[("cup", 2)], Some("tok_ok"))).await?;
    let t = std::time::Instant::now();
    println!("{} {:?}", shop.settled(&order).await?, t.elapsed());
    system.audit().await
}
