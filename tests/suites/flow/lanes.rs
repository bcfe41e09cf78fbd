//! Who owns how many lanes, as the replicas' metrics and the database say.

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use tests::eventually;
use tests::http::Client;
use tests::system::{Replica, Service, System};

use crate::NOTICE_DEADLINE;

/// Lanes of a system that names no other number.
pub const LANES: i64 = 6;

/// The journals that a service keeps, its views among them; each has its own owners.
fn journals(service: Service) -> &'static [&'static str] {
    match service {
        Service::Order => &["orders", "orders_view"],
        Service::Inventory => &["inventory", "inventory_view"],
        Service::Payment => &["payments"],
        Service::Notification => &["notifications"],
    }
}

/// Waits until these replicas of `service` own every lane between them, each at least one, as they say and as the
/// database has it: one that missed that its lanes were taken from it would still speak of them.
pub async fn shared_by(system: &System, service: Service, replicas: &[usize]) -> anyhow::Result<()> {
    let clients = replicas.iter().map(|number| system.replica(service, *number).client());
    let clients: Vec<Client> = clients.collect::<anyhow::Result<_>>()?;
    let database = system.database().connect().await?;
    for journal in journals(service) {
        let by_owner = format!("SELECT count(*) FROM {journal}.lane_head WHERE owner IS NOT NULL GROUP BY owner");
        eventually(NOTICE_DEADLINE, &format!("replicas {replicas:?} share {journal}"), async || {
            let mut owned = try_join_all(clients.iter().map(|client| owned(client, journal))).await?;
            let mut stored: Vec<i64> = database.query(&by_owner, &[]).await?.iter().map(|row| row.get(0)).collect();
            owned.sort_unstable();
            stored.sort_unstable();
            let each = owned.first().is_some_and(|lanes| *lanes > 0) && owned.iter().sum::<i64>() == LANES;
            ensure!(each && owned == stored, "they own {owned:?} of {LANES}, the database says {stored:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// The same for every service.
pub async fn all_shared_by(system: &System, replicas: &[usize]) -> anyhow::Result<()> {
    try_join_all(Service::ALL.map(|service| shared_by(system, service, replicas))).await.map(drop)
}

/// Does something to replica `number` of every service at once.
pub async fn each<'s, F>(system: &'s System, number: usize, what: impl Fn(&'s Replica) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    try_join_all(Service::ALL.map(|service| what(system.replica(service, number)))).await.map(drop)
}

async fn owned(client: &Client, journal: &str) -> anyhow::Result<i64> {
    let metrics = client.get("/actuator/prometheus").await?.expect(200)?.text();
    let name = format!("ordersystem_journal_lanes_owned{{service=\"{journal}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    Ok(line.with_context(|| format!("no lanes of {journal} in its metrics"))?.trim().parse()?)
}
