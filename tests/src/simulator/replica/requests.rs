//! What a replica asks the payment provider, as `payment`'s caller does.

use std::collections::{BTreeMap, BTreeSet};

use payment::payment::{Call, CallError, Outcome, Reply};
use uuid::Uuid;

use super::super::parts::Part;
use super::super::provider::ask;
use super::super::world::Env;
use super::{Replica, Submission};

/// How often an answer that nobody waits for any more is heard by someone, of a thousand times: another process may have
/// asked the same.
const OVERHEARD: u64 = 300;

/// The requests that are under way.
#[derive(Default)]
pub struct Requests {
    asking: BTreeSet<(Uuid, &'static str)>,
    /// By its number, what was to be asked.
    open: BTreeMap<u64, Call>,
    last: u64,
}

impl<P: Part> Replica<P> {
    /// Asks the provider, unless that is being asked already.
    pub(super) fn offer(&mut self, call: &Call, env: &mut Env) {
        if self.requests.asking.insert((call.key, call.step.as_str())) {
            self.ask(call.clone(), call, env);
        }
    }

    fn ask(&mut self, about: Call, call: &Call, env: &mut Env) {
        self.requests.last += 1;
        self.requests.open.insert(self.requests.last, about);
        ask(call, self.life, self.requests.last, env);
    }

    /// The provider answers a request, or time is up.
    pub(super) fn answered(&mut self, number: u64, call: &Call, result: Result<Reply, CallError>, env: &mut Env) {
        let is_reply = result.is_ok();
        let result = result.and_then(|reply| call.understand(reply));
        let Some(about) = self.requests.open.remove(&number) else {
            if is_reply && env.random.chance(OVERHEARD) {
                self.bring(call, result, env);
            }
            return;
        };
        if let Some(again) = call.again(&result) {
            return self.ask(about, &again, env);
        }
        self.requests.asking.remove(&(about.key, about.step.as_str()));
        self.bring(&about, result, env);
    }

    fn bring(&mut self, call: &Call, result: Result<Outcome, CallError>, env: &mut Env) {
        let lane = env.lanes.of_order(call.order);
        if let Some(command) = P::answer(lane, call, result) {
            self.submit(Submission { lane, command, answer: None }, env);
        }
    }
}
