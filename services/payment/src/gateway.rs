//! The payment provider, behind the one trait that everything here knows it by.

pub mod simulated;

use std::future::Future;

use crate::payment::{Call, CallError, Reply};

/// A payment provider.
///
/// It knows a request again by its key: the same request, sent any number of times and from any number of processes, is
/// done once and answered alike. After [`Step::Void`](crate::payment::Step::Void) nothing is held under the key, nor ever
/// will be, not even when the request to hold it is still on its way.
pub trait Gateway: Send + Sync + 'static {
    /// Asks the provider. Whoever asks bounds how long it waits and how much it asks at once.
    fn ask(&self, call: &Call) -> impl Future<Output = Result<Reply, CallError>> + Send;
}
