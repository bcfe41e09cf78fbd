//! Stock for the orders of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail};
use hyper::{Method, StatusCode};
use tokio::task::JoinSet;

use super::client::{Call, Connection};
use super::plan::{ON_HAND, Plan};
use super::target::Target;

/// Puts every product on hand, over several connections at once.
pub(super) async fn put(target: &Arc<Target>, products: u32, connections: u16) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU32::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(put_some(Connection::new(target), Arc::clone(&next), products));
    }
    while let Some(worker) = workers.join_next().await {
        worker?.with_context(|| format!("cannot put stock on hand at {target}"))?;
    }
    Ok(())
}

async fn put_some(mut connection: Connection, next: Arc<AtomicU32>, products: u32) -> anyhow::Result<()> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= products {
            return Ok(());
        }
        put_one(&mut connection, &Plan::product(number)).await?;
    }
}

async fn put_one(connection: &mut Connection, product: &str) -> anyhow::Result<()> {
    let body = format!(r#"{{"onHand": {ON_HAND}}}"#);
    let call = Call::new("put stock", Method::PUT, format!("/inventory/{product}")).json(body.into());
    // Not repeated: a system that is not there before the load begins is not worth waiting for.
    let answer = connection.once(&call).await?;
    match answer.status {
        StatusCode::OK | StatusCode::CREATED => Ok(()),
        other => bail!("`PUT /inventory/{product}` was answered {other}: {}", String::from_utf8_lossy(&answer.body)),
    }
}
