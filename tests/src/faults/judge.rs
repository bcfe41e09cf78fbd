//! The judge: what the clients remember against what the system wrote down. Pure; `facts` reads what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, OrderFacts};
use super::history::{History, Requests, Sent};
use super::script::customer;

/// How each order's end is told to its customer.
const NOTICES: [(&str, &str); 4] = [
    ("confirmed", "order-confirmed"),
    ("rejected", "order-rejected"),
    ("cancelled", "order-cancelled"),
    ("expired", "order-expired"),
];

/// Everything in which the clients' memory and the books disagree.
pub fn contradictions(history: &History, facts: &Facts) -> Vec<String> {
    let mut found: Vec<String> = history.contradictions().to_vec();
    let by_customer: BTreeMap<&str, Vec<&String>> =
        facts.orders.iter().fold(BTreeMap::new(), |mut all, (id, order)| {
            all.entry(order.customer.as_str()).or_insert_with(Vec::new).push(id);
            all
        });
    for (number, sent) in &history.orders {
        let name = customer(*number);
        let ids = by_customer.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
        found.extend(of_client(sent, ids, facts).into_iter().map(|what| format!("{name}: {what}")));
    }
    let known: BTreeSet<String> = history.orders.keys().map(|number| customer(*number)).collect();
    let strangers = facts.orders.values().filter(|order| !known.contains(&order.customer));
    found.extend(strangers.map(|order| format!("nobody sent the order of {}", order.customer)));
    found.extend(of_adjustments(&history.adjustments, &facts.adjustments));
    found
}

fn of_client(sent: &Sent, ids: &[&String], facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    for id in &sent.ids {
        if !ids.contains(&id) {
            found.push(format!("order {id} was acknowledged and is not there"));
        }
    }
    match ids {
        [] => {}
        [id] => found.extend(facts.orders.get(*id).into_iter().flat_map(|order| of_order(sent, order))),
        several => found.push(format!("one order was sent, and there are {several:?}")),
    }
    found
}

fn of_order(sent: &Sent, order: &OrderFacts) -> Vec<String> {
    let mut found = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            found.push(format!("{what}: {sent:?}, {order:?}"));
        }
    };
    expect(order.placed_total == sent.total, "it was placed with another total than was sent");
    expect(NOTICES.iter().any(|(status, _)| order.status == *status), "it is not settled");
    expect(happened(sent.amends, order.amended), "amendments are not what was sent");
    expect(order.cancelled <= 1 && (order.cancelled == 0 || sent.cancels.sent > 0), "nobody called it off");
    expect(sent.cancels.acknowledged == 0 || order.status == "cancelled", "its cancellation was acknowledged");
    let by_itself = if sent.has_token { 1 + order.amended } else { 0 };
    expect(order.attempts <= by_itself + sent.pays.sent, "nobody asked for so many payments");
    for seen in sent.seen.values() {
        let is_final = ["rejected", "cancelled", "expired"].contains(&seen.status.as_str());
        expect(order.version >= seen.version, "it was seen in a later version");
        expect(!is_final || seen.status == order.status, "it was seen settled otherwise");
    }
    // The provider's own list.
    let kept = order.taken - order.given_back;
    let due = if order.status == "confirmed" { order.total } else { 0 };
    expect(kept == due, "the provider has another sum than is due");
    // What the customer was told.
    for (status, kind) in NOTICES {
        let told = order.notices.get(kind).copied().unwrap_or_default();
        let was = order.status == status || status == "confirmed" && order.was_confirmed;
        expect(told == u32::from(was), &format!("{kind} was told {told} times"));
    }
    found
}

/// Whether so many of these requests may have come about: each that was acknowledged, and none that was not sent.
fn happened(requests: Requests, times: u32) -> bool {
    (requests.acknowledged.min(1)..=requests.sent).contains(&times)
}

fn of_adjustments(sent: &BTreeMap<u32, Requests>, made: &BTreeMap<String, u32>) -> Vec<String> {
    let name = |number: &u32| format!("adjustment-{number}");
    let wrong = sent.iter().filter_map(|(number, requests)| {
        let times = made.get(&name(number)).copied().unwrap_or_default();
        let right = times <= 1 && (times == 1 || requests.acknowledged == 0);
        (!right).then(|| format!("{} was made {times} times: {requests:?}", name(number)))
    });
    let known: Vec<String> = sent.keys().map(name).collect();
    let strangers = made.keys().filter(|reference| !known.contains(reference));
    wrong.chain(strangers.map(|reference| format!("nobody sent {reference}"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::faults::history::Reader;

    /// A client whose order was acknowledged, paid and confirmed.
    fn agreed() -> (History, Facts) {
        let mut history = History::default();
        *history.order(1) = Sent { total: 250, has_token: true, ..Sent::default() };
        history.order(1).places.sent = 1;
        history.placed(1, &json!({"id": "a"}));
        let order = OrderFacts {
            customer: "client-1".to_owned(),
            placed_total: 250,
            total: 250,
            status: "confirmed".to_owned(),
            was_confirmed: true,
            version: 4,
            attempts: 1,
            taken: 250,
            notices: [("order-confirmed".to_owned(), 1)].into(),
            ..OrderFacts::default()
        };
        let facts = Facts { orders: [("a".to_owned(), order)].into(), adjustments: BTreeMap::new() };
        (history, facts)
    }

    /// What is found when the facts are changed like this.
    fn found(change: impl FnOnce(&mut History, &mut Facts)) -> Vec<String> {
        let (mut history, mut facts) = agreed();
        change(&mut history, &mut facts);
        contradictions(&history, &facts)
    }

    fn found_of_order(change: impl FnOnce(&mut OrderFacts)) -> usize {
        found(|_, facts| change(facts.orders.get_mut("a").expect("it is there"))).len()
    }

    #[test]
    fn what_agrees_is_no_contradiction() {
        assert_eq!(found(|_, _| ()), Vec::<String>::new());
    }

    #[test]
    fn an_acknowledged_order_has_to_exist() {
        assert_eq!(found(|_, facts| facts.orders.clear()).len(), 1);
    }

    #[test]
    fn nothing_exists_that_nobody_sent() {
        let stranger = |_: &mut History, facts: &mut Facts| {
            let order = OrderFacts { customer: "mallory".to_owned(), ..facts.orders["a"].clone() };
            facts.orders.insert("b".to_owned(), order);
        };
        assert_eq!(found(stranger).len(), 1);
        assert_eq!(found(|_, facts| _ = facts.adjustments.insert("adjustment-7".to_owned(), 1)).len(), 1);
    }

    #[test]
    fn one_request_makes_one_order() {
        let twice =
            |_: &mut History, facts: &mut Facts| drop(facts.orders.insert("b".into(), facts.orders["a"].clone()));
        assert_eq!(found(twice).len(), 1);
    }

    #[test]
    fn an_order_is_settled_paid_and_told_once() {
        assert!(found_of_order(|order| order.status = "reserved".to_owned()) > 0);
        assert_eq!(found_of_order(|order| order.taken = 500), 1);
        assert_eq!(found_of_order(|order| order.given_back = 250), 1);
        assert_eq!(found_of_order(|order| order.notices.clear()), 1);
        assert_eq!(found_of_order(|order| _ = order.notices.insert("order-expired".to_owned(), 1)), 1);
        assert_eq!(found_of_order(|order| order.attempts = 2), 1);
        assert_eq!(found_of_order(|order| order.amended = 1), 1);
    }

    #[test]
    fn what_a_client_saw_stays_true() {
        let seen = |version, status| {
            found(|history, _| history.read(1, Reader::Watcher, &json!({"version": version, "status": status})))
        };
        assert_eq!(seen(4, "confirmed").len(), 0);
        assert_eq!(seen(5, "confirmed").len(), 1);
        assert_eq!(seen(3, "expired").len(), 1);
    }

    #[test]
    fn an_adjustment_is_made_once_and_not_forgotten() {
        let sent = |acknowledged| BTreeMap::from([(1, Requests { sent: 2, acknowledged })]);
        let made = |times| BTreeMap::from([("adjustment-1".to_owned(), times)]);
        assert!(of_adjustments(&sent(2), &made(1)).is_empty());
        assert!(of_adjustments(&sent(0), &BTreeMap::new()).is_empty());
        assert_eq!(of_adjustments(&sent(1), &BTreeMap::new()).len(), 1);
        assert_eq!(of_adjustments(&sent(1), &made(2)).len(), 1);
    }
}
