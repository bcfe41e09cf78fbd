//! One request to the provider: how long it may take, what to do when the provider never heard of it, and what is counted.

use std::time::{Duration, Instant};

use journal::faults::{self, CrashPoint};
use process::metrics::{Histograms, Metrics, SECONDS};
use prometheus_client::encoding::EncodeLabelSet;
use tokio::time::timeout;
use tracing::{debug, error};

use crate::SCHEMA;
use crate::gateway::Gateway;
use crate::payment::{Call, CallError, Outcome};

/// How long one request may take: half as long as an open attempt is left alone.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A provider, as those who ask it see it.
pub(super) struct Provider<G> {
    gateway: G,
    seconds: Histograms<Asked>,
}

/// Labels of the histogram of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    step: &'static str,
    outcome: &'static str,
}

impl<G: Gateway> Provider<G> {
    /// Asks `gateway`, and counts in `metrics`.
    pub fn new(gateway: G, metrics: &Metrics) -> Self {
        let help = "Time of one request to the payment provider, by what came of it";
        Self { gateway, seconds: metrics.histograms("provider_call_seconds", help, SECONDS) }
    }

    /// Asks the provider. One that never heard of a request gets it again under the same key if it is wanted still.
    pub async fn ask(&self, call: &Call) -> Result<Outcome, CallError> {
        let answer = self.ask_once(call).await;
        match call.again(&answer) {
            Some(again) => self.ask_once(&again).await,
            None => answer,
        }
    }

    async fn ask_once(&self, call: &Call) -> Result<Outcome, CallError> {
        let began = Instant::now();
        faults::reached(CrashPoint::BeforeAsking, SCHEMA, || [call.step.as_str()]);
        let reply = timeout(CALL_TIMEOUT, self.gateway.ask(call)).await.unwrap_or(Err(CallError::Timeout));
        faults::reached(CrashPoint::AfterAsking, SCHEMA, || [call.step.as_str()]);
        let result = reply.and_then(|reply| call.understand(reply));
        let asked = Asked { step: call.step.as_str(), outcome: named(&result) };
        self.seconds.get_or_create(&asked).observe(began.elapsed().as_secs_f64());
        let (order, payment, step) = (call.order, call.key, call.step.as_str());
        match &result {
            Err(refused @ (CallError::Refused(_) | CallError::OtherAmount)) => {
                error!(%order, %payment, step, error = %refused, "payment is stuck");
            }
            // Whoever is connected to the provider says so once; these come by the thousand.
            Err(error) => debug!(%order, %payment, step, %error, "payment provider did not answer"),
            Ok(_) => {}
        }
        result
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
        Err(CallError::OtherAmount) => "other_amount",
        Err(CallError::Refused(_)) => "refused",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use contract::Currency;
    use process::Process;
    use uuid::Uuid;

    use super::*;
    use crate::payment::{Reply, Step};

    /// A provider that never got a request until it was inquired about.
    #[derive(Default)]
    struct Forgetful(Mutex<Vec<(Step, Uuid)>>);

    impl Gateway for Forgetful {
        async fn ask(&self, call: &Call) -> Result<Reply, CallError> {
            self.0.lock().expect("nobody panicked").push((call.step, call.key));
            let outcome = if call.step == Step::Inquire { Outcome::NotFound } else { Outcome::Authorized };
            Ok(Reply { outcome, amount: call.amount })
        }
    }

    /// What comes of an inquiry, and what was asked for it.
    async fn inquired(wanted: bool) -> (Result<Outcome, CallError>, Vec<(Step, Uuid)>) {
        let provider = Provider::new(Forgetful::default(), Process::new("test").metrics());
        let currency = Currency::try_from("EUR").expect("is a currency");
        let (key, order, token) = (Uuid::from_u128(1), Uuid::from_u128(2), "tok_ok".to_owned());
        let call = Call { step: Step::Inquire, key, order, amount: 5, currency, token, wanted };
        let answer = provider.ask(&call).await;
        (answer, provider.gateway.0.into_inner().expect("nobody panicked"))
    }

    #[tokio::test]
    async fn a_request_that_never_arrived_is_sent_again_under_the_same_key() {
        let key = Uuid::from_u128(1);
        let asked = vec![(Step::Inquire, key), (Step::Authorize, key)];
        assert_eq!(inquired(true).await, (Ok(Outcome::Authorized), asked));
    }

    #[tokio::test]
    async fn a_request_that_never_arrived_is_not_sent_again_for_a_dead_order() {
        let asked = vec![(Step::Inquire, Uuid::from_u128(1))];
        assert_eq!(inquired(false).await, (Ok(Outcome::NotFound), asked));
    }
}
