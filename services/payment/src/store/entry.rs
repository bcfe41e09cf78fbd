//! An account within a batch: where it stands, and what of it has to be written.

use chrono::{DateTime, Utc};
use contract::Lane;
use contract::payment::PaymentEvent;
use journal::Decision;
use uuid::Uuid;

use crate::calls::PATIENCE;
use crate::payment::{Account, Command, Payment, Step, concerns_terms, pause, payment_of};

/// An account within a batch.
pub struct Entry {
    /// The account as it stands.
    pub account: Account,
    /// Whether the account has no row yet.
    pub is_new: bool,
    /// Whether the account's own row changes.
    pub account_changed: bool,
    /// The trace context of what made the provider be asked what it is asked.
    pub trace: Option<Box<str>>,
    latest: Option<Latest>,
    ended: Vec<(Payment, Latest)>,
    asked_before: Option<(Uuid, Step)>,
}

/// What is known of the latest attempt beside the account.
struct Latest {
    work: Work,
    is_new: bool,
    is_changed: bool,
}

/// What an attempt's row holds beside the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The order's lane.
    pub lane: Lane,
    /// The number in the order's stream of the latest event about the attempt.
    pub version: i32,
    /// When somebody should look at it again, as long as it is open.
    pub due_at: DateTime<Utc>,
    /// How often the request that is open brought nothing.
    pub tries: i16,
    /// When it began.
    pub created_at: DateTime<Utc>,
}

/// An attempt whose row changes.
pub struct Changed<'e> {
    /// The order it pays.
    pub order: Uuid,
    /// The attempt.
    pub payment: &'e Payment,
    /// What its row holds beside it.
    pub work: &'e Work,
    /// Whether it has no row yet.
    pub is_new: bool,
}

impl Entry {
    /// An account that was read, and what its latest attempt's row holds beside the attempt.
    pub fn stored(account: Account, work: Option<Work>) -> Self {
        let latest = work.map(|work| Latest { work, is_new: false, is_changed: false });
        let asked_before = asked(&account);
        Self { account, is_new: false, account_changed: false, trace: None, latest, ended: Vec::new(), asked_before }
    }

    /// An account that is not there.
    pub fn absent(order: Uuid) -> Self {
        Self { is_new: true, ..Self::stored(Account::unheard(order), None) }
    }

    /// Applies the next event of the order's stream.
    pub fn apply(&mut self, event: &PaymentEvent, lane: Lane, decision: &Decision<'_>) {
        if matches!(event, PaymentEvent::Started(_)) {
            self.begin(lane, decision.now());
        }
        let before = asked(&self.account);
        self.account.evolve(event);
        self.account_changed |= concerns_terms(event);
        let Some(latest) = self.latest.as_mut().filter(|_| payment_of(event).is_some()) else { return };
        latest.is_changed = true;
        latest.work.version = self.account.version;
        if asked(&self.account) != before {
            latest.work.await_answer(decision.now());
            self.trace = decision.trace().map(Into::into);
        }
    }

    fn begin(&mut self, lane: Lane, now: DateTime<Utc>) {
        let work = Work { lane, version: 0, due_at: now + PATIENCE, tries: 0, created_at: now };
        let before = self.latest.replace(Latest { work, is_new: true, is_changed: true });
        self.ended.extend(self.account.payment.take().zip(before));
    }

    /// Puts off the request that a command answers, if it is open still: the answer brought nothing.
    pub fn postpone(&mut self, command: &Command, now: DateTime<Utc>) -> bool {
        let Command::Answer { payment, step, .. } = command else { return false };
        let is_open = asked(&self.account) == Some((*payment, *step));
        let Some(latest) = self.latest.as_mut().filter(|_| is_open) else { return false };
        latest.work.tries = latest.work.tries.saturating_add(1);
        latest.work.due_at = now + pause(*payment, latest.work.tries);
        latest.is_changed = true;
        true
    }

    /// Whether the account has a row once the batch is durable.
    pub fn is_stored(&self) -> bool {
        !self.is_new || self.account_changed
    }

    /// What would be read of it then.
    pub fn into_stored(self) -> (Account, Option<Work>) {
        (self.account, self.latest.map(|latest| latest.work))
    }

    /// What the latest attempt's row holds beside the attempt.
    pub fn work(&self) -> Option<&Work> {
        self.latest.as_ref().map(|latest| &latest.work)
    }

    /// Whether the provider is to be asked something that it was not being asked before the batch.
    pub fn asks_anew(&self) -> bool {
        let asked = asked(&self.account);
        asked.is_some() && asked != self.asked_before
    }

    /// The attempts whose rows change, in order.
    pub fn changed_payments(&self) -> impl Iterator<Item = Changed<'_>> {
        let ended = self.ended.iter().map(|(payment, latest)| (payment, latest));
        let all = ended.chain(self.account.payment.as_ref().zip(self.latest.as_ref()));
        let changed = all.filter(|(_, latest)| latest.is_changed);
        let order = self.account.order;
        changed.map(move |(payment, Latest { work, is_new, .. })| Changed { order, payment, work, is_new: *is_new })
    }
}

impl Work {
    /// The provider is asked something new, which somebody should look after unless an answer comes. The time stays when
    /// it is near enough: the column is indexed, and a row whose indexed columns stay is cheaper to write.
    fn await_answer(&mut self, now: DateTime<Utc>) {
        self.tries = 0;
        let latest = now + PATIENCE;
        if !(latest - PATIENCE / 2..=latest).contains(&self.due_at) {
            self.due_at = latest;
        }
    }
}

/// What the provider is being asked, and about which attempt.
fn asked(account: &Account) -> Option<(Uuid, Step)> {
    let payment = account.payment.as_ref()?;
    payment.status.asks().map(|step| (payment.id, step))
}
