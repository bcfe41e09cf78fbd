//! 3, for orders: a hold is what its order says, as far as each has heard of the other. 4: a hold has every line.

use contract::Topic;
use contract::order::{Line, OrderEvent, RejectionReason};
use contract::stock::{Held, StockEvent};
use inventory::stock::{Hold, HoldStatus, Units};
use order::order::{Order, Status};
use uuid::Uuid;

use super::dossier::{Dossier, Told};
use super::invariant::Invariant::{AllOrNothing, Holds};
use super::moment::Moment;
use super::verdict::Verdicts;

/// Judges what is held for one order.
pub(super) fn judge(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    judge_state(dossier, moment, verdicts);
    judge_causes(dossier, verdicts);
    judge_answer(dossier, moment, verdicts);
    judge_lines(dossier, verdicts);
}

/// A hold is what the order's events that inventory has applied ask for.
fn judge_state(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    let heard = dossier.heard(inventory::SCHEMA, moment);
    let hold = dossier.hold.first();
    verdicts.checked(Holds, "holds", usize::from(hold.is_some()));
    let words = match (heard, hold) {
        (None, None) => return,
        (None, Some(_)) => Some("there is a hold, and no order that asked for it".to_owned()),
        (Some(_), None) => Some("inventory knows the order and has decided nothing".to_owned()),
        (Some(order), Some(hold)) => disagreement(&order, hold),
    };
    if let Some(words) = words {
        verdicts.broken(Holds, || format!("order {}: {words}", dossier.id));
    }
}

/// How a hold contradicts its order.
fn disagreement(order: &Order, hold: &Hold) -> Option<String> {
    use HoldStatus::{Closed, Held, Rejected, Sold};
    let agrees = match order.shown.status {
        Status::Pending | Status::Reserved => matches!(hold.status, Held | Rejected),
        Status::Confirmed => hold.status == Sold,
        Status::Rejected | Status::Cancelled | Status::Expired => matches!(hold.status, Closed | Rejected),
    };
    let in_revision = order.shown.status.is_dead() || hold.revision == order.shown.revision;
    (!agrees || !in_revision).then(|| {
        let (status, revision) = (order.shown.status.as_str(), order.shown.revision);
        let (is, of) = (hold.status.as_str(), hold.revision);
        format!("the hold is {is} for revision {of}, and the order is {status} in revision {revision}")
    })
}

/// What the order says of its stock, inventory has decided before.
fn judge_causes(dossier: &Dossier, verdicts: &mut Verdicts) {
    let id = dossier.id;
    for told in &dossier.order {
        match &told.event {
            OrderEvent::Reserved(reserved) => {
                let revision = reserved.revision;
                verdicts.expect(Holds, answer(&dossier.stock, revision) == Some(true), || {
                    format!("order {id}: it is reserved in revision {revision}, and inventory never held that")
                });
            }
            OrderEvent::Rejected(rejected) if rejected.reason == RejectionReason::OutOfStock => {
                let revision = dossier.made.as_ref().map_or(FIRST_REVISION, |order| order.shown.revision);
                verdicts.expect(Holds, answer(&dossier.stock, revision) == Some(false), || {
                    format!("order {id}: it is rejected as out of stock, and inventory never said so")
                });
            }
            _ => {}
        }
    }
}

/// Whether inventory could hold a revision, if it has decided about it.
fn answer(told: &[Told<StockEvent>], wanted: i32) -> Option<bool> {
    told.iter().find_map(|told| match &told.event {
        StockEvent::Reserved(held) if held.revision == wanted => Some(true),
        StockEvent::Rejected(rejected) if rejected.revision == wanted => Some(false),
        _ => None,
    })
}

/// An order that has heard of inventory's answer does not wait for it.
fn judge_answer(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    let Some(order) = dossier.made.as_ref().filter(|order| order.shown.status == Status::Pending) else { return };
    let waits_for = order.shown.revision;
    let heard = answer(moment.applied(order::SCHEMA, Topic::Inventory, &dossier.stock), waits_for);
    verdicts.expect(Holds, heard.is_none(), || {
        format!("order {}: it waits for stock in revision {waits_for}, and knows what inventory decided", dossier.id)
    });
}

/// Every movement of a hold, and its row, has the revision's lines, all of them and nothing else.
fn judge_lines(dossier: &Dossier, verdicts: &mut Verdicts) {
    for told in &dossier.stock {
        if let StockEvent::Reserved(held)
        | StockEvent::Sold(held)
        | StockEvent::Released(held)
        | StockEvent::Returned(held) = &told.event
        {
            let what = format_args!("event {} of inventory", told.record.version).to_string();
            judge_units(dossier, &what, held.revision, &moved(held), verdicts);
        }
    }
    if let Some(hold) = dossier.hold.first().filter(|hold| matches!(hold.status, HoldStatus::Held | HoldStatus::Sold)) {
        judge_units(dossier, "the hold", hold.revision, &hold.units, verdicts);
    }
}

fn judge_units(dossier: &Dossier, what: &str, revision: i32, units: &[Units], verdicts: &mut Verdicts) {
    verdicts.checked(AllOrNothing, "holdings", 1);
    let needs = lines(&dossier.order, revision).and_then(|lines| inventory::messages::needs(lines).ok());
    let Some(needs) = needs else {
        verdicts.broken(AllOrNothing, || {
            format!("order {}: {what} is for revision {revision}, which it has not", dossier.id)
        });
        return;
    };
    verdicts.expect(AllOrNothing, needs == units, || mismatch(dossier.id, what, revision, &needs, units));
}

fn mismatch(order: Uuid, what: &str, revision: i32, needs: &[Units], units: &[Units]) -> String {
    let has = |side: &[Units], wanted: &Units| side.iter().any(|units| units == wanted);
    let told = |side: &[Units], other: &[Units]| {
        let only: Vec<String> = side
            .iter()
            .filter(|units| !has(other, units))
            .map(|units| format!("{} × {}", units.quantity, units.product))
            .collect();
        if only.is_empty() { "nothing".to_owned() } else { only.join(" + ") }
    };
    let (has, wants) = (told(units, needs), told(needs, units));
    format!("order {order}: {what} has {has} where revision {revision} wants {wants}")
}

/// The lines of a revision.
fn lines(told: &[Told<OrderEvent>], revision: i32) -> Option<&[Line]> {
    told.iter().find_map(|told| match &told.event {
        OrderEvent::Placed(placed) if revision == FIRST_REVISION => Some(placed.lines.as_slice()),
        OrderEvent::Amended(amended) if revision == amended.revision => Some(amended.lines.as_slice()),
        _ => None,
    })
}

/// The revision that an order is placed with.
const FIRST_REVISION: i32 = 1;

fn moved(held: &Held) -> Vec<Units> {
    let units = held.movements.iter();
    units.map(|moved| Units { product: moved.product_id.clone(), quantity: moved.quantity }).collect()
}
