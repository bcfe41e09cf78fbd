//! Which replica works: the one that holds the lease. Who cannot renew it ends before another may take it, so that there is
//! never a second one that still believes itself to be the first.

mod lease;

use std::time::{Duration, Instant};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{Api, Client, api::PostParams};
use process::Process;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{Settings, reconcile::answer};
use lease::{HOLDS, Sight, held, holder, released, unheld};

/// How often the lease is renewed, and looked at by those who wait for it.
const LOOK: Duration = Duration::from_secs(3);
/// How long after its last renewal who holds the lease goes on. The rest of the time that it holds is for what is still on
/// its way.
const GOES_ON: Duration = Duration::from_secs(10);
/// How long an attempt to take it, or to release it in the end, may last.
const ATTEMPT: Duration = Duration::from_secs(5);

const _: () = assert!(GOES_ON.as_secs() < HOLDS.as_secs() && LOOK.as_secs() * 3 < GOES_ON.as_secs());

/// Leadership: `true` as soon as this replica is the one that works.
pub type Leadership = watch::Receiver<bool>;

/// Campaigns for the lease in the background; without a lease this replica leads at once.
pub fn campaign(settings: &Settings, client: &Client, process: &Process) -> Leadership {
    let (leads, leadership) = watch::channel(settings.lease_namespace.is_none());
    let stop = process.stop().clone();
    let candidate = settings.lease_namespace.as_ref().map(|namespace| Candidate {
        leases: Api::namespaced(client.clone(), namespace),
        name: settings.lease_name.clone(),
        identity: settings.identity.clone(),
        sight: Sight::default(),
        renewed: None,
        other: None,
    });
    process.spawn("leader", async move {
        let Some(mut candidate) = candidate else {
            stop.cancelled().await;
            drop(leads);
            return Ok(());
        };
        tokio::select! {
            lost = candidate.run(&leads) => Err(lost),
            () = stop.cancelled() => {
                candidate.release().await;
                Ok(())
            }
        }
    });
    leadership
}

/// One who would hold the lease.
struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    sight: Sight,
    /// When the last renewal that succeeded was sent, if the lease is ours.
    renewed: Option<Instant>,
    /// Who held it when we last looked, if another.
    other: Option<String>,
}

impl Candidate {
    /// Takes the lease as soon as it is free and renews it; ends when it is lost.
    async fn run(&mut self, leads: &watch::Sender<bool>) -> &'static str {
        loop {
            let sent = Instant::now();
            match timeout(self.patience(), self.attempt()).await {
                Ok(Ok(true)) => {
                    if self.renewed.replace(sent).is_none() {
                        tracing::info!(
                            lease = self.name,
                            identity = self.identity,
                            "took the lease: this replica works"
                        );
                        leads.send_replace(true);
                    }
                }
                Ok(Ok(false)) if self.renewed.is_some() => return "the lease is lost; another replica goes on",
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    let error = answer(&error);
                    tracing::warn!(lease = self.name, error, "the lease cannot be taken or renewed");
                }
                Err(_) => tracing::warn!(lease = self.name, "the lease cannot be taken or renewed in time"),
            }
            if self.renewed.is_some_and(|at| at.elapsed() >= GOES_ON) {
                return "the lease could not be renewed for too long; another replica may go on";
            }
            sleep(LOOK.min(self.patience())).await;
        }
    }

    /// How long the next attempt may last.
    fn patience(&self) -> Duration {
        self.renewed.map_or(ATTEMPT, |at| GOES_ON.saturating_sub(at.elapsed()))
    }

    /// Whether the lease is ours, after an attempt to make it so.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let first = held(unheld(&self.name), &self.identity, Timestamp::now());
            return self.leases.create(&PostParams::default(), &first).await.map(|_| true);
        };
        if !self.sight.is_ours_to_take(&lease, &self.identity, Instant::now()) {
            self.waits_for(holder(&lease).unwrap_or_default());
            return Ok(false);
        }
        let ours = held(lease, &self.identity, Timestamp::now());
        self.leases.replace(&self.name, &PostParams::default(), &ours).await.map(|_| true)
    }

    fn waits_for(&mut self, holder: &str) {
        if self.other.as_deref() != Some(holder) {
            tracing::info!(
                lease = self.name,
                identity = self.identity,
                holder,
                "another replica works; waiting for its lease"
            );
            self.other = Some(holder.to_owned());
        }
    }

    /// Lets go of the lease, so that another replica need not wait for its end.
    async fn release(&self) {
        if self.renewed.is_none() {
            return;
        }
        let release = async {
            let lease = self.leases.get(&self.name).await?;
            if holder(&lease) == Some(self.identity.as_str()) {
                self.leases.replace(&self.name, &PostParams::default(), &released(lease)).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(ATTEMPT, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(lease = self.name, error = answer(&error), "the lease was not released"),
            Err(_) => tracing::warn!(lease = self.name, "the lease was not released in time"),
        }
    }
}
