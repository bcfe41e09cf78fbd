//! The border: which of the orders' events a customer is told of.

use contract::event::UnreadableData;
use contract::notice::Kind;
use contract::order::{OrderEvent, PaymentStatus, PaymentUpdated};
use contract::{CustomerId, Record};

use crate::notice::Tell;

/// The kinds of event that nobody is told of.
pub const PASSES: &[&str] = &["order.placed.v1", "order.amended.v1", "order.reserved.v1", "order.paid.v1"];

/// What a customer is to be told because of this record of the orders' topic, if anything.
pub fn read(record: &Record) -> Result<Option<Tell>, UnreadableData> {
    let event = OrderEvent::decode(&record.kind, &record.data)?;
    Ok(event.and_then(reason).map(|(kind, customer_id)| Tell {
        lane: record.lane,
        order_id: record.stream,
        customer_id,
        kind,
    }))
}

fn reason(event: OrderEvent) -> Option<(Kind, CustomerId)> {
    Some(match event {
        OrderEvent::Confirmed(confirmed) => (Kind::OrderConfirmed, confirmed.customer_id),
        OrderEvent::Rejected(rejected) => (Kind::OrderRejected, rejected.customer_id),
        OrderEvent::Cancelled(cancelled) => (Kind::OrderCancelled, cancelled.customer_id),
        OrderEvent::Expired(expired) => (Kind::OrderExpired, expired.customer_id),
        OrderEvent::PaymentDeclined(declined) => (Kind::PaymentDeclined, declined.customer_id),
        OrderEvent::PaymentUpdated(PaymentUpdated { status: PaymentStatus::Refunded, customer_id, .. }) => {
            (Kind::PaymentRefunded, customer_id)
        }
        OrderEvent::Placed(_)
        | OrderEvent::Amended(_)
        | OrderEvent::Reserved(_)
        | OrderEvent::PaymentUpdated(_)
        | OrderEvent::Paid(_) => return None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use chrono::DateTime;
    use contract::order::{Cancelled, Confirmed, Expired, Paid, PaymentDeclined, Rejected, RejectionReason};
    use contract::{Event, Lane};
    use journal::Decision;
    use uuid::Uuid;

    pub(crate) fn record(stream: Uuid, event: &impl Event) -> Record {
        let mut appended = Vec::new();
        Decision::new(DateTime::UNIX_EPOCH, Lane(3), &mut appended).append(stream, 1, event);
        appended.remove(0)
    }

    fn customer_id() -> CustomerId {
        "ann".parse().expect("is an id")
    }

    pub(crate) fn confirmed() -> OrderEvent {
        let payment_id = Uuid::from_u128(2);
        OrderEvent::Confirmed(Confirmed { revision: 1, payment_id, customer_id: customer_id() })
    }

    pub(crate) fn cancelled() -> OrderEvent {
        OrderEvent::Cancelled(Cancelled { reason: "changed my mind".to_owned(), customer_id: customer_id() })
    }

    pub(crate) fn payment_declined() -> OrderEvent {
        let code = "insufficient_funds".to_owned();
        OrderEvent::PaymentDeclined(PaymentDeclined {
            payment_id: Uuid::from_u128(2),
            code,
            customer_id: customer_id(),
        })
    }

    fn payment_updated(status: PaymentStatus) -> OrderEvent {
        let payment_id = Uuid::from_u128(2);
        OrderEvent::PaymentUpdated(PaymentUpdated { payment_id, status, customer_id: customer_id() })
    }

    fn told(event: &OrderEvent) -> Option<Kind> {
        let tell = read(&record(Uuid::from_u128(7), event)).expect("can be read");
        tell.map(|tell| {
            assert_eq!((tell.order_id, tell.lane), (Uuid::from_u128(7), Lane(3)));
            assert_eq!(tell.customer_id, customer_id());
            tell.kind
        })
    }

    #[test]
    fn an_orders_end_is_told() {
        let reason = RejectionReason::OutOfStock;
        let rejected = OrderEvent::Rejected(Rejected { reason, shortages: vec![], customer_id: customer_id() });
        let expired = OrderEvent::Expired(Expired { customer_id: customer_id() });
        assert_eq!(told(&confirmed()), Some(Kind::OrderConfirmed));
        assert_eq!(told(&rejected), Some(Kind::OrderRejected));
        assert_eq!(told(&cancelled()), Some(Kind::OrderCancelled));
        assert_eq!(told(&expired), Some(Kind::OrderExpired));
    }

    #[test]
    fn of_payments_only_a_refusal_and_a_refund_are_told() {
        assert_eq!(told(&payment_declined()), Some(Kind::PaymentDeclined));
        assert_eq!(told(&payment_updated(PaymentStatus::Refunded)), Some(Kind::PaymentRefunded));
        assert_eq!(told(&payment_updated(PaymentStatus::Voided)), None);
        assert_eq!(told(&OrderEvent::Paid(Paid { payment_id: Uuid::from_u128(2), amount: 5 })), None);
    }

    #[test]
    fn an_unknown_kind_is_passed_over_and_spoilt_data_refused() {
        let mut record = record(Uuid::from_u128(7), &confirmed());
        record.data = "{}".into();
        assert!(read(&record).is_err());
        record.kind = "order.confirmed.v2".into();
        assert_eq!(read(&record).expect("is no error"), None);
    }
}
