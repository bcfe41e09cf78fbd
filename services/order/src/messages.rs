//! The border to the other services: which of their events concern an order, and what they say about it.

use contract::{Record, Topic, payment::PaymentEvent, stock::StockEvent};
use journal::Unreadable;

use crate::order::{Fact, News};
use crate::store::Command;

/// The kinds of event that do not concern an order: what it has asked for itself, and what payment intends.
pub const PASSES: &[&str] = &[
    "stock.released.v1",
    "stock.sold.v1",
    "stock.returned.v1",
    "stock.counted.v1",
    "stock.adjusted.v1",
    "payment.expected.v1",
    "payment.capture-requested.v1",
    "payment.void-requested.v1",
    "payment.refund-requested.v1",
    "payment.closed.v1",
];

/// The command that a consumed record stands for; nothing when it does not concern an order.
pub fn read(source: Topic, record: &Record) -> Result<Option<Command>, Unreadable> {
    let fact = match source {
        Topic::Inventory => StockEvent::decode(&record.kind, &record.data)?.and_then(of_stock),
        Topic::Payments => PaymentEvent::decode(&record.kind, &record.data)?.and_then(of_payment),
        Topic::Orders | Topic::Notifications => None,
    };
    Ok(fact.map(|fact| Command::Learn { order: record.stream, fact }))
}

/// What inventory did on its own account. That it gave back or sold what it held, the order has asked for itself.
fn of_stock(event: StockEvent) -> Option<Fact> {
    let (revision, news) = match event {
        StockEvent::Reserved(held) => (held.revision, News::StockReserved),
        StockEvent::Rejected(rejected) => (rejected.revision, News::StockRejected(rejected.shortages)),
        StockEvent::Released(_)
        | StockEvent::Sold(_)
        | StockEvent::Returned(_)
        | StockEvent::Counted(_)
        | StockEvent::Adjusted(_) => return None,
    };
    Some(Fact { revision, news })
}

/// What the provider answered. What payment intends concerns only itself.
fn of_payment(event: PaymentEvent) -> Option<Fact> {
    let (revision, news) = match event {
        PaymentEvent::Started(started) => (started.revision, News::PaymentStarted(started.payment_id)),
        PaymentEvent::Authorized(held) => {
            let (payment, amount, currency) = (held.payment_id, held.amount, held.currency);
            (held.revision, News::PaymentAuthorized { payment, amount, currency })
        }
        PaymentEvent::Declined(declined) => {
            let (payment, code, for_good) = (declined.payment_id, declined.code, declined.for_good);
            (declined.revision, News::PaymentDeclined { payment, code, for_good })
        }
        PaymentEvent::Unknown(attempt) => (attempt.revision, News::PaymentUnknown(attempt.payment_id)),
        PaymentEvent::Captured(taken) => {
            (taken.revision, News::PaymentCaptured { payment: taken.payment_id, amount: taken.amount })
        }
        PaymentEvent::Voided(let_go) => (let_go.revision, News::PaymentVoided(let_go.payment_id)),
        PaymentEvent::Refunded(given) => (given.revision, News::PaymentRefunded(given.payment_id)),
        PaymentEvent::Expected(_)
        | PaymentEvent::CaptureRequested(_)
        | PaymentEvent::VoidRequested(_)
        | PaymentEvent::RefundRequested(_)
        | PaymentEvent::Closed(_) => return None,
    };
    Some(Fact { revision, news })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use contract::{
        Currency, Event, Lane,
        payment::{Amount, Attempt, Closed, Declined, Started},
        stock::{Held, Rejected, Shortage},
    };
    use journal::Decision;
    use uuid::Uuid;

    const ORDER: Uuid = Uuid::from_u128(1);
    const PAYMENT: Uuid = Uuid::from_u128(2);

    fn record(event: &impl Event) -> Record {
        let mut appended = Vec::new();
        Decision::new(DateTime::UNIX_EPOCH, Lane(3), &mut appended).append(ORDER, 1, event);
        appended.remove(0)
    }

    /// What is read of an event, about revision 4 of the order.
    fn news(source: Topic, event: &impl Event) -> Option<News> {
        match read(source, &record(event)).expect("can be read")? {
            Command::Learn { order: ORDER, fact: Fact { revision: 4, news } } => Some(news),
            _ => panic!("another order or revision"),
        }
    }

    fn eur() -> Currency {
        Currency::try_from("EUR").expect("three letters")
    }

    fn amount() -> Amount {
        Amount { payment_id: PAYMENT, revision: 4, amount: 500, currency: eur() }
    }

    fn attempt() -> Attempt {
        Attempt { payment_id: PAYMENT, revision: 4 }
    }

    #[test]
    fn the_answer_about_stock_concerns_the_order() {
        let of = |event: StockEvent| news(Topic::Inventory, &event);
        let shortages = vec![Shortage { product_id: "SKU-1".parse().expect("visible"), requested: 2, available: 1 }];
        let held = || Held { revision: 4, movements: vec![] };
        assert_eq!(of(StockEvent::Reserved(held())), Some(News::StockReserved));
        let rejected = StockEvent::Rejected(Rejected { revision: 4, shortages: shortages.clone() });
        assert_eq!(of(rejected), Some(News::StockRejected(shortages)));
        assert_eq!(of(StockEvent::Sold(held())), None);
        assert_eq!(of(StockEvent::Released(held())), None);
        assert_eq!(of(StockEvent::Returned(held())), None);
    }

    #[test]
    fn the_providers_answers_concern_the_order() {
        let of = |event: PaymentEvent| news(Topic::Payments, &event);
        let (payment, code, token) = (PAYMENT, "do_not_honor".to_owned(), "tok_ok".to_owned());
        let started = Started { payment_id: PAYMENT, attempt: 1, revision: 4, amount: 500, currency: eur(), token };
        assert_eq!(of(PaymentEvent::Started(started)), Some(News::PaymentStarted(payment)));
        let authorized = News::PaymentAuthorized { payment, amount: 500, currency: eur() };
        assert_eq!(of(PaymentEvent::Authorized(amount())), Some(authorized));
        let declined = Declined { payment_id: PAYMENT, revision: 4, code: code.clone(), for_good: true };
        assert_eq!(of(PaymentEvent::Declined(declined)), Some(News::PaymentDeclined { payment, code, for_good: true }));
        assert_eq!(of(PaymentEvent::Unknown(attempt())), Some(News::PaymentUnknown(payment)));
        assert_eq!(of(PaymentEvent::Captured(amount())), Some(News::PaymentCaptured { payment, amount: 500 }));
        assert_eq!(of(PaymentEvent::Voided(amount())), Some(News::PaymentVoided(payment)));
        assert_eq!(of(PaymentEvent::Refunded(amount())), Some(News::PaymentRefunded(payment)));
    }

    #[test]
    fn what_payment_intends_does_not_concern_the_order() {
        for event in [
            PaymentEvent::CaptureRequested(attempt()),
            PaymentEvent::VoidRequested(attempt()),
            PaymentEvent::RefundRequested(attempt()),
            PaymentEvent::Closed(Closed {}),
        ] {
            assert_eq!(news(Topic::Payments, &event), None);
        }
    }

    #[test]
    fn an_unknown_kind_is_passed_over_and_spoilt_data_refused() {
        let mut record = record(&PaymentEvent::Voided(amount()));
        record.data = "{}".into();
        assert!(read(Topic::Payments, &record).is_err());
        record.kind = "payment.voided.v2".into();
        assert!(matches!(read(Topic::Payments, &record), Ok(None)));
    }
}
