//! 10: one notice for each occasion, and one order, payment or adjustment for each idempotency key.

use contract::Topic;
use contract::order::OrderEvent;
use contract::payment::PaymentEvent;
use notification::notice::project;

use super::dossier::{Dossier, Told};
use super::invariant::Invariant::Once;
use super::moment::Moment;
use super::sequences::records;
use super::tables::Key;
use super::verdict::Verdicts;

/// Judges the notices and keys of one order.
pub(super) fn judge(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    judge_notices(dossier, moment, verdicts);
    judge_order_keys(dossier, moment, verdicts);
    let is_started = |event: &PaymentEvent| matches!(event, PaymentEvent::Started(_));
    judge_keys("order", &dossier.id, &dossier.payment_keys, &dossier.payment, is_started, verdicts);
}

/// What the order's events that notification has applied give occasion for is told, once; and nothing else.
fn judge_notices(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    let id = dossier.id;
    verdicts.checked(Once, "notices", dossier.notices.len());
    let applied = moment.applied(notification::SCHEMA, Topic::Orders, &dossier.order);
    let mut expected = match project(records(applied)) {
        Ok(expected) => expected,
        Err(error) => return verdicts.broken(Once, || format!("order {id}: {error}")),
    };
    for notice in &dossier.notices {
        let (kind, channel) = (notice.kind.as_str(), notice.channel.as_str());
        let customer = expected.remove(&notice.key());
        verdicts.expect(Once, customer.as_ref() == Some(&notice.customer_id), || {
            format!("order {id}: notice {} of {kind} by {channel} to {} is one too many", notice.id, notice.customer_id)
        });
    }
    for ((_, kind, channel), customer) in expected {
        verdicts.broken(Once, || {
            format!("order {id}: {customer} has no notice of {} by {}", kind.as_str(), channel.as_str())
        });
    }
}

/// An order was placed under one key at most, which led to its lane: there equal keys come one after the other.
fn judge_order_keys(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    let (id, keys) = (dossier.id, &dossier.order_keys);
    let is_placed = |event: &OrderEvent| matches!(event, OrderEvent::Placed(_));
    judge_keys("order", &id, keys, &dossier.order, is_placed, verdicts);
    for key in keys {
        verdicts.expect(Once, moment.lanes.of_key(&key.text) == moment.lanes.of_order(id), || {
            format!("order {id}: it is not in the lane of its idempotency key {:?}", key.text)
        });
    }
}

/// Every key stands for an event of its stream that `is` the one, and no two keys for the same.
pub(super) fn judge_keys<E>(
    what: &str,
    id: &impl std::fmt::Display,
    keys: &[Key],
    told: &[Told<E>],
    is: impl Fn(&E) -> bool,
    verdicts: &mut Verdicts,
) {
    verdicts.checked(Once, "keys", keys.len());
    for (place, key) in keys.iter().enumerate() {
        let Key { scope, text, version } = key;
        let found = told.iter().any(|told| told.record.version == *version && is(&told.event));
        verdicts.expect(Once, found, || {
            format!("{what} {id}: idempotency key {text:?} of {scope} stands for event {version}, which is not what it asked for")
        });
        verdicts.expect(Once, keys[..place].iter().all(|other| other.version != *version), || {
            format!("{what} {id}: idempotency key {text:?} of {scope} is not the only one for event {version}")
        });
    }
}
