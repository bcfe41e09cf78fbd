//! 5: an order's money is taken once and exactly, and given back when the order is dead.

use contract::Topic;
use contract::order::{Confirmed, OrderEvent, Paid, PaymentStatus};
use contract::payment::{Amount, PaymentEvent};
use order::order::{Order, Status};
use payment::payment::{Account, Status as Attempt};
use uuid::Uuid;

use super::dossier::{Dossier, Told};
use super::invariant::Invariant::Captures;
use super::moment::Moment;
use super::verdict::Verdicts;

/// Judges one order's money.
pub(super) fn judge(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    let money = Money::of(dossier);
    verdicts.checked(Captures, "orders", usize::from(!dossier.order.is_empty()));
    verdicts.checked(Captures, "captures", money.captures);
    money.judge_attempts(verdicts);
    let Some(order) = &dossier.made else {
        verdicts.expect(Captures, dossier.payment.is_empty(), || {
            format!("order {}: it has payments, and nobody placed it", dossier.id)
        });
        return;
    };
    judge_causes(dossier, order, verdicts);
    money.judge_state(order, verdicts);
    judge_obedience(dossier, &money, moment, verdicts);
    judge_knowledge(dossier, order, moment, verdicts);
    money.judge_progress(dossier, order, moment, verdicts);
}

/// An order's money, by payment's events.
struct Money {
    order: Uuid,
    account: Account,
    live: usize,
    captures: usize,
    captured: i64,
    refunded: i64,
}

impl Money {
    fn of(dossier: &Dossier) -> Self {
        let events = || dossier.payment.iter().map(|told| &told.event);
        let captures = events().filter_map(|event| match event {
            PaymentEvent::Captured(money) => Some(money.amount),
            _ => None,
        });
        let refunds = events().filter_map(|event| match event {
            PaymentEvent::Refunded(money) => Some(money.amount),
            _ => None,
        });
        Self {
            order: dossier.id,
            account: Account::fold(dossier.id, events()),
            live: Account::attempts(dossier.id, events()).iter().filter(|attempt| attempt.status.is_live()).count(),
            captures: captures.clone().count(),
            captured: captures.fold(0, i64::saturating_add),
            refunded: refunds.fold(0, i64::saturating_add),
        }
    }

    /// What we have of it.
    fn net(&self) -> i64 {
        self.captured.saturating_sub(self.refunded)
    }

    fn attempt(&self) -> Option<Attempt> {
        self.account.payment.as_ref().map(|payment| payment.status)
    }

    /// One capture at most, and one live attempt at most.
    fn judge_attempts(&self, verdicts: &mut Verdicts) {
        let Self { order, captures, live, .. } = self;
        verdicts.expect(Captures, *captures <= 1, || format!("order {order}: its money was taken {captures} times"));
        verdicts.expect(Captures, *live <= 1, || format!("order {order}: {live} of its attempts are live"));
    }

    /// What is kept of the money fits what became of the order.
    fn judge_state(&self, order: &Order, verdicts: &mut Verdicts) {
        let (id, net, total) = (self.order, self.net(), order.shown.total);
        let is_paid = order.shown.payment_status == PaymentStatus::Captured;
        let words = match order.shown.status {
            Status::Confirmed if is_paid && net != total => format!("it is paid, and {net} of {total} were taken"),
            Status::Confirmed if net != 0 && net != total => format!("{net} of {total} were taken"),
            Status::Pending | Status::Reserved if net != 0 => format!("{net} were taken before it was confirmed"),
            _ => return,
        };
        verdicts.broken(Captures, || format!("order {id}: {words}"));
    }

    /// What the provider still has to do for a settled order does not take for ever; and once it is done, no money of a
    /// dead order is left.
    fn judge_progress(&self, dossier: &Dossier, order: &Order, moment: &Moment, verdicts: &mut Verdicts) {
        let (id, net) = (self.order, self.net());
        let at_rest = !self.attempt().is_some_and(Attempt::is_open);
        if order.shown.status.is_dead() && at_rest && self.account.closed {
            verdicts.expect(Captures, net == 0, || format!("order {id}: it is dead, and {net} of its money are left"));
        }
        let since = dossier.payment.iter().map(|told| told.record.at).max();
        if let Some(since) = since.filter(|since| moment.is_late(*since)) {
            let settled = !order.shown.status.is_open();
            let is_asked = self.attempt().filter(|attempt| settled && attempt.asks().is_some());
            if let Some(attempt) = is_asked {
                verdicts.broken(Captures, || format!("order {id}: its payment is {} since {since}", attempt.as_str()));
            }
        }
    }
}

/// Nothing is confirmed without its money being held, nor paid without its being taken.
fn judge_causes(dossier: &Dossier, order: &Order, verdicts: &mut Verdicts) {
    let id = dossier.id;
    for told in &dossier.order {
        match &told.event {
            OrderEvent::Confirmed(confirmed) => verdicts.expect(Captures, is_held(dossier, confirmed, order), || {
                format!("order {id}: it was confirmed by {}, which does not hold its total", confirmed.payment_id)
            }),
            OrderEvent::Paid(paid) => verdicts.expect(Captures, is_taken(dossier, paid, order), || {
                format!("order {id}: it was paid {} by {}, which was not taken", paid.amount, paid.payment_id)
            }),
            _ => {}
        }
    }
}

/// What the order's events that payment has applied ask for was begun: the capture of a confirmed order's money, the
/// return of a dead one's.
fn judge_obedience(dossier: &Dossier, money: &Money, moment: &Moment, verdicts: &mut Verdicts) {
    let heard = dossier.heard(payment::SCHEMA, moment);
    let Some(status) = heard.map(|order| order.shown.status) else { return };
    let id = dossier.id;
    let attempt = money.attempt().map_or("absent", Attempt::as_str);
    match status {
        Status::Confirmed => {
            let obeyed = matches!(money.attempt(), Some(Attempt::Capturing | Attempt::Captured));
            verdicts.expect(Captures, obeyed, || format!("order {id}: it is confirmed, and its payment is {attempt}"));
        }
        status if status.is_dead() => {
            let kept = matches!(money.attempt(), Some(Attempt::Authorized | Attempt::Captured));
            verdicts.expect(Captures, !kept && money.account.closed, || {
                let closed = if money.account.closed { "closed" } else { "open" };
                format!("order {id}: it is {}, its account {closed} and its payment {attempt}", status.as_str())
            });
        }
        _ => {}
    }
}

/// An order that has heard of its money being taken, or held, says so.
fn judge_knowledge(dossier: &Dossier, order: &Order, moment: &Moment, verdicts: &mut Verdicts) {
    let heard = moment.applied(order::SCHEMA, Topic::Payments, &dossier.payment);
    let latest = heard.iter().rev().find_map(|told| match &told.event {
        PaymentEvent::Captured(money) => Some((PaymentStatus::Captured, money)),
        PaymentEvent::Authorized(money) => Some((PaymentStatus::Authorized, money)),
        _ => None,
    });
    let Some((news, money)) = latest.filter(|(_, money)| money.revision == order.shown.revision) else { return };
    let (status, payment_status) = (order.shown.status, order.shown.payment_status);
    let knows = match (status, news) {
        (Status::Confirmed, PaymentStatus::Captured) => payment_status == PaymentStatus::Captured,
        (Status::Reserved, PaymentStatus::Authorized) => !is_total(money, order),
        _ => true,
    };
    verdicts.expect(Captures, knows, || {
        let (status, payment_status, news) = (status.as_str(), payment_status.as_str(), news.as_str());
        format!("order {}: its payment is {news}, and it is {status} and believes {payment_status}", dossier.id)
    });
}

fn is_total(money: &Amount, order: &Order) -> bool {
    (money.amount, money.currency) == (order.shown.total, order.shown.currency)
}

/// Whether the provider held the order's total under the payment that confirmed it.
fn is_held(dossier: &Dossier, confirmed: &Confirmed, order: &Order) -> bool {
    any(&dossier.payment, |event| match event {
        PaymentEvent::Authorized(money) => money.payment_id == confirmed.payment_id && is_total(money, order),
        _ => false,
    })
}

/// Whether what the order says was paid was taken under the payment that it names, in its currency.
fn is_taken(dossier: &Dossier, paid: &Paid, order: &Order) -> bool {
    any(&dossier.payment, |event| match event {
        PaymentEvent::Captured(money) => {
            let taken = (money.payment_id, money.amount, money.currency);
            taken == (paid.payment_id, paid.amount, order.shown.currency)
        }
        _ => false,
    })
}

fn any(told: &[Told<PaymentEvent>], is: impl Fn(&PaymentEvent) -> bool) -> bool {
    told.iter().any(|told| is(&told.event))
}
