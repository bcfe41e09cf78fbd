//! Makes the requests, many at once, and takes the answers back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{Journal, Refused};
use process::metrics::{Histograms, Metrics, SECONDS};
use prometheus_client::encoding::EncodeLabelSet;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{CALL_TIMEOUT, Ticket};
use crate::gateway::Gateway;
use crate::payment::{Call, CallError, Command, Outcome, Step};
use crate::store::{Accounts, Request};

/// Requests that are made at once. A provider that answers in a tenth of a second serves ten thousand a second by it.
const MAX_AT_ONCE: usize = 1024;
/// When an answer is brought back again that found the journal's queue full.
const JOURNAL_PAUSE: Duration = Duration::from_millis(100);

/// Makes the requests to one provider.
pub(crate) struct Caller<G> {
    gateway: G,
    journal: Journal<Accounts>,
    seconds: Histograms<Asked>,
}

/// Labels of the histogram of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    step: &'static str,
    outcome: &'static str,
}

impl<G: Gateway> Caller<G> {
    /// Asks `gateway`, brings the answers to `journal`, and counts in `metrics`.
    pub fn new(gateway: G, journal: Journal<Accounts>, metrics: &Metrics) -> Self {
        let help = "Time of one request to the payment provider, by what came of it";
        Self { gateway, journal, seconds: metrics.histograms("provider_call_seconds", help, SECONDS) }
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
        let result = self.ask(call).await;
        let command = Command::Answer { payment: call.key, step: call.step, result };
        let lane = self.journal.lanes().of_order(call.order);
        self.bring(Request::of(lane, call.order, command)).await;
    }

    /// Asks the provider. One that never heard of a request gets it again under the same key if it is wanted still.
    async fn ask(&self, call: &Call) -> Result<Outcome, CallError> {
        match self.ask_once(call).await {
            Ok(Outcome::NotFound) if call.step == Step::Inquire && call.wanted => {
                self.ask_once(&Call { step: Step::Authorize, ..call.clone() }).await
            }
            answer => answer,
        }
    }

    async fn ask_once(&self, call: &Call) -> Result<Outcome, CallError> {
        let began = Instant::now();
        let result = timeout(CALL_TIMEOUT, self.gateway.ask(call)).await.unwrap_or(Err(CallError::Timeout));
        let asked = Asked { step: call.step.as_str(), outcome: named(&result) };
        self.seconds.get_or_create(&asked).observe(began.elapsed().as_secs_f64());
        let (order, payment, step) = (call.order, call.key, call.step.as_str());
        match &result {
            Err(refused @ CallError::Refused(_)) => error!(%order, %payment, step, error = %refused, "payment is stuck"),
            // Whoever is connected to the provider says so once; these come by the thousand.
            Err(error) => debug!(%order, %payment, step, %error, "payment provider did not answer"),
            Ok(_) => {}
        }
        result
    }

    async fn bring(&self, request: Request) {
        loop {
            match self.journal.submit(request.lane, request.clone(), None).await {
                Err(Refused::Overloaded) => sleep(JOURNAL_PAUSE).await,
                Err(error) => {
                    let order = request.order;
                    warn!(%order, %error, "an answer of the payment provider is lost; it will be asked again");
                    return;
                }
                Ok(_) => return,
            }
        }
    }
}

/// The name of what came of a request, in metrics.
fn named(result: &Result<Outcome, CallError>) -> &'static str {
    match result {
        Ok(Outcome::Authorized) => "authorized",
        Ok(Outcome::Declined { .. }) => "declined",
        Ok(Outcome::NotFound) => "not_found",
        Ok(Outcome::Captured) => "captured",
        Ok(Outcome::Voided) => "voided",
        Ok(Outcome::Refunded) => "refunded",
        Err(CallError::Timeout) => "timeout",
        Err(CallError::Unavailable) => "unavailable",
        Err(CallError::Refused(_)) => "refused",
    }
}
