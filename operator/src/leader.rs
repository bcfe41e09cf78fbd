//! Which replica works: the one that holds the lease. Losing it ends the process, so that there is never a second one
//! that still believes itself to be the first.

use kube::Client;
use kube_lease_manager::LeaseManagerBuilder;
use process::Process;
use tokio::sync::watch;

use crate::{OperatorError, Settings};

/// How long a lease holds without being renewed, and how long before its end it is renewed, in seconds.
const LEASE_SECONDS: u64 = 15;
const GRACE_SECONDS: u64 = 8;

/// Leadership: `true` as soon as this replica is the one that works.
pub type Leadership = watch::Receiver<bool>;

/// Campaigns for the lease in the background; without a lease this replica leads at once.
pub async fn campaign(settings: &Settings, client: &Client, process: &Process) -> Result<Leadership, OperatorError> {
    let (leads, leadership) = watch::channel(settings.lease_namespace.is_none());
    let Some(namespace) = &settings.lease_namespace else {
        process.spawn("leader", {
            let stop = process.stop().clone();
            async move {
                stop.cancelled().await;
                drop(leads);
            }
        });
        return Ok(leadership);
    };
    let manager = LeaseManagerBuilder::new(client.clone(), &settings.lease_name)
        .with_namespace(namespace)
        .with_identity(&settings.identity)
        .with_duration(LEASE_SECONDS)
        .with_grace(GRACE_SECONDS)
        .build()
        .await?;
    let (mut held, task) = manager.watch().await;
    let stop = process.stop().clone();
    process.spawn("leader", async move {
        loop {
            let now = *held.borrow_and_update();
            if *leads.borrow() && !now {
                return Err("the lease is lost; another replica goes on");
            }
            leads.send_if_modified(|leads| !std::mem::replace(leads, now) && now);
            tokio::select! {
                changed = held.changed() => if changed.is_err() {
                    return Err("the lease is not looked after any more");
                },
                () = stop.cancelled() => break,
            }
        }
        // The lease is released when nobody watches it, so that another replica need not wait for its end.
        drop(held);
        let _ = task.await;
        Ok(())
    });
    Ok(leadership)
}
