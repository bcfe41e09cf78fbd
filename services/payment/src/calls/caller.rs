//! Makes the requests, many at once, and takes the answers back.

use std::sync::Arc;
use std::time::Duration;

use journal::{Journal, Refused};
use process::metrics::Metrics;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::Ticket;
use super::provider::Provider;
use crate::gateway::Gateway;
use crate::payment::Command;
use crate::store::{Accounts, Request};

/// Requests that are made at once. A provider that answers in a tenth of a second serves ten thousand a second by it.
const MAX_AT_ONCE: usize = 1024;
/// When an answer is brought back again that found the journal's queue full.
const JOURNAL_PAUSE: Duration = Duration::from_millis(100);

/// Makes the requests to one provider.
pub(crate) struct Caller<G> {
    provider: Provider<G>,
    journal: Journal<Accounts>,
}

impl<G: Gateway> Caller<G> {
    /// Asks `gateway`, brings the answers to `journal`, and counts in `metrics`.
    pub fn new(gateway: G, journal: Journal<Accounts>, metrics: &Metrics) -> Self {
        Self { provider: Provider::new(gateway, metrics), journal }
    }

    /// Makes what is handed in until `stop`. What is cut short then is open still, and is asked again by whoever has its
    /// lane next.
    pub async fn run(self, mut tickets: mpsc::Receiver<Ticket>, stop: CancellationToken) {
        let caller = Arc::new(self);
        let mut calls = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(ticket) = tickets.recv(), if calls.len() < MAX_AT_ONCE => {
                    calls.spawn(Arc::clone(&caller).make(ticket));
                }
                Some(made) = calls.join_next() => {
                    if let Err(error) = made {
                        error!(%error, "a request to the payment provider ended early");
                    }
                }
            }
        }
    }

    async fn make(self: Arc<Self>, ticket: Ticket) {
        let call = ticket.call();
        let result = self.provider.ask(call).await;
        let command = Command::Answer { payment: call.key, step: call.step, result };
        let lane = self.journal.lanes().of_order(call.order);
        self.bring(Request::of(lane, call.order, command), ticket.trace()).await;
    }

    async fn bring(&self, request: Request, trace: Option<&str>) {
        while let Err(refused) = self.journal.submit(request.lane, request.clone(), trace.map(Into::into)).await {
            if refused != Refused::Overloaded {
                // The journal says why, once; here it comes by the thousand. What is open is asked again.
                debug!(order = %request.order, error = %refused, "an answer of the payment provider is lost");
                return;
            }
            sleep(JOURNAL_PAUSE).await;
        }
    }
}
