//! Two replicas of each service, one of which is frozen, or killed.

use tests::system::{Replica, Service, System, Transport};

use crate::books::judge;
use crate::lanes::{all_shared_by, each, shared_by};
use crate::load::{Acknowledged, Load};

/// Orders placed while nothing happens.
const CALM_ORDERS: usize = 200;

/// Orders that are on their way when replicas freeze, beside those that keep coming.
const BURST: usize = 100;

/// Orders of every kind settle; then while one replica of each service after the other is killed; then while one of each
/// is stopped for longer than its session, and goes on with what it has in memory.
pub async fn killed_and_frozen(transport: Transport) -> anyhow::Result<()> {
    let system = System::services(transport, 2).await?;
    let shop = system.shop();
    all_shared_by(&system, &[0, 1]).await?;

    let calm = Load::strict("calm", |service| shop.to(service));
    calm.stock(&shop).await?;
    let orders = calm.place(CALM_ORDERS).await?;
    judge(&system, &calm, &orders).await?;

    let killed = Load::patient("killed", |service| shop.to(service));
    killed.stock(&shop).await?;
    let (orders, ()) = killed.place_while(kill(&system)).await?;
    judge(&system, &killed, &orders).await?;

    let frozen = Load::patient("frozen", |service| shop.to(service));
    let burst = Load::patient("burst", |service| shop.to(service));
    frozen.stock(&shop).await?;
    burst.stock(&shop).await?;
    let (orders, in_burst) = frozen.place_while(freeze(&system, &burst)).await?;
    judge(&system, &frozen, &orders).await?;
    judge(&system, &burst, &in_burst).await
}

/// Kills the first replica of one service after the other, each when the one before has been succeeded; then starts all
/// of them again.
async fn kill(system: &System) -> anyhow::Result<()> {
    for service in Service::ALL {
        system.replica(service, 0).kill_9().await?;
        shared_by(system, service, &[1]).await?;
    }
    each(system, 0, Replica::start_again).await?;
    all_shared_by(system, &[0, 1]).await
}

/// Stops the first replica of every service in the middle of a burst of orders, until the others have taken its lanes
/// over; then lets them go on.
async fn freeze(system: &System, burst: &Load<'_>) -> anyhow::Result<Vec<Acknowledged>> {
    let (orders, ()) = tokio::try_join!(burst.place(BURST), async {
        burst.acknowledged(BURST / 2).await?;
        each(system, 0, Replica::stop).await?;
        all_shared_by(system, &[1]).await?;
        each(system, 0, Replica::cont).await
    })?;
    all_shared_by(system, &[0, 1]).await?;
    Ok(orders)
}

/// One replica of each service is stopped for longer than its session while there is no work that would tell it that its
/// lanes were taken; all are shared again when it goes on.
pub async fn frozen_without_work(transport: Transport) -> anyhow::Result<()> {
    let system = System::services(transport, 2).await?;
    all_shared_by(&system, &[0, 1]).await?;
    each(&system, 0, Replica::stop).await?;
    all_shared_by(&system, &[1]).await?;
    each(&system, 0, Replica::cont).await?;
    all_shared_by(&system, &[0, 1]).await
}
