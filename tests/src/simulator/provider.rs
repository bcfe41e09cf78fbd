//! The payment provider: its books are honest, what it says is not always.

use std::collections::BTreeMap;

use payment::gateway::simulated::{Charge, settle};
use payment::payment::{Call, CallError, Reply};
use uuid::Uuid;

use super::world::{Deed, Env, Event, Life};
use contract::Topic;

/// The payment provider.
#[derive(Default)]
pub struct Provider {
    /// What it keeps, by key.
    pub charges: BTreeMap<Uuid, Charge>,
}

impl Provider {
    /// A request arrives, and is answered, or not, or late, or twice, or wrongly.
    pub fn asked(&mut self, call: &Call, life: Life, number: u64, env: &mut Env) {
        let (after, answer) = settle(self.charges.remove(&call.key), call);
        self.charges.extend(after.map(|charge| (call.key, charge)));
        if env.strikes("provider dumb", |rates| rates.provider_dumb) {
            return;
        }
        let lies = env.strikes("provider lies", |rates| rates.provider_lies);
        let amount = if lies { call.amount + 1 } else { call.amount };
        let reply = answer.map(|outcome| Reply { outcome, amount });
        let times = if env.strikes("provider twice", |rates| rates.provider_twice) { 2 } else { 1 };
        for _ in 0..times {
            let delay = delay(env);
            let answered = Deed::Answered(number, Box::new(call.clone()), reply.clone());
            env.after(delay, Event::Deed(Topic::Payments, life, answered));
        }
    }
}

/// Sends a request to the provider, numbered by its asker, who waits for 5 s.
pub fn ask(call: &Call, life: Life, number: u64, env: &mut Env) {
    let answered = |result| Event::Deed(Topic::Payments, life, Deed::Answered(number, Box::new(call.clone()), result));
    env.after(TIMEOUT, answered(Err(CallError::Timeout)));
    if env.strikes("provider away", |rates| rates.provider_away) {
        env.after(1, answered(Err(CallError::Unavailable)));
        return;
    }
    if env.strikes("provider deaf", |rates| rates.provider_deaf) {
        return;
    }
    let times = if env.strikes("provider asked twice", |rates| rates.provider_twice) { 2 } else { 1 };
    for _ in 0..times {
        let delay = delay(env);
        env.after(delay, Event::Asked(Box::new(call.clone()), life, number));
    }
}

/// How long anyone waits for an answer, in milliseconds, as payment's own bound has it.
const TIMEOUT: u64 = 5_000;

fn delay(env: &mut Env) -> u64 {
    if env.strikes("provider late", |rates| rates.provider_late) {
        env.random.between(TIMEOUT / 2, 3 * TIMEOUT)
    } else {
        env.random.between(1, 60)
    }
}
