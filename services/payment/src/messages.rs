//! The border: what the orders' events ask of their accounts.

use contract::Record;
use contract::order::OrderEvent;
use journal::Unreadable;

use crate::payment::Command;
use crate::store::Request;

/// The kinds of event that ask for nothing: what the order has learned from here.
pub const PASSES: &[&str] = &["order.payment-declined.v1", "order.payment-updated.v1", "order.paid.v1"];

/// What this record of the orders' topic asks for, if anything.
pub fn read(record: &Record) -> Result<Option<Request>, Unreadable> {
    let Some(event) = OrderEvent::decode(&record.kind, &record.data)? else { return Ok(None) };
    let Some(command) = command(event) else { return Ok(None) };
    if has_debt(&command) {
        return Err(Unreadable::Senseless("a total is below zero"));
    }
    Ok(Some(Request::of(record.lane, record.stream, command)))
}

fn command(event: OrderEvent) -> Option<Command> {
    Some(match event {
        // One that brings its method is told of when its stock is held, with all that there is to know.
        OrderEvent::Placed(placed) if placed.payment.is_some() => return None,
        OrderEvent::Placed(placed) => Command::Expect { amount: placed.total, currency: placed.currency },
        OrderEvent::Amended(amended) => Command::Amend { revision: amended.revision, amount: amended.total },
        OrderEvent::Reserved(reserved) => Command::Collect {
            revision: reserved.revision,
            amount: reserved.total,
            currency: reserved.currency,
            token: reserved.payment.map(|method| method.token),
        },
        OrderEvent::Confirmed(confirmed) => Command::Capture { payment: confirmed.payment_id },
        OrderEvent::Rejected(_) | OrderEvent::Expired(_) | OrderEvent::Cancelled(_) => Command::Close,
        OrderEvent::PaymentDeclined(_) | OrderEvent::PaymentUpdated(_) | OrderEvent::Paid(_) => return None,
    })
}

fn has_debt(command: &Command) -> bool {
    match command {
        Command::Expect { amount, .. } | Command::Amend { amount, .. } | Command::Collect { amount, .. } => *amount < 0,
        Command::Pay { .. } | Command::Capture { .. } | Command::Close | Command::Answer { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use contract::order::{Amended, Cancelled, Confirmed, Paid, PaymentMethod, Placed, Reserved};
    use contract::{Currency, CustomerId, Event, Lane};
    use journal::Decision;
    use uuid::Uuid;

    const ORDER: Uuid = Uuid::from_u128(7);

    fn record(event: &impl Event) -> Record {
        let mut appended = Vec::new();
        Decision::new(DateTime::UNIX_EPOCH, Lane(3), &mut appended).append(ORDER, 1, event);
        appended.remove(0)
    }

    fn asked(event: &OrderEvent) -> Option<Command> {
        let request = read(&record(event)).expect("can be read");
        request.map(|request| {
            assert_eq!((request.order, request.lane), (ORDER, Lane(3)));
            request.command
        })
    }

    fn euro() -> Currency {
        Currency::try_from("EUR").expect("is a currency")
    }

    fn customer_id() -> CustomerId {
        "ann".parse().expect("is an id")
    }

    fn method() -> PaymentMethod {
        PaymentMethod { token: "tok_ok".to_owned() }
    }

    fn placed(payment: Option<PaymentMethod>) -> OrderEvent {
        let (customer_id, currency, expires_at) = (customer_id(), euro(), DateTime::UNIX_EPOCH);
        OrderEvent::Placed(Placed { customer_id, currency, lines: vec![], total: 500, payment, expires_at })
    }

    fn reserved(payment: Option<PaymentMethod>) -> OrderEvent {
        OrderEvent::Reserved(Reserved { revision: 2, total: 500, currency: euro(), payment })
    }

    #[test]
    fn only_an_order_without_a_method_is_expected_to_be_paid_from_outside() {
        assert_eq!(asked(&placed(None)), Some(Command::Expect { amount: 500, currency: euro() }));
        assert_eq!(asked(&placed(Some(method()))), None);
    }

    #[test]
    fn held_stock_asks_for_the_money() {
        let collect = |token| Command::Collect { revision: 2, amount: 500, currency: euro(), token };
        assert_eq!(asked(&reserved(Some(method()))), Some(collect(Some("tok_ok".to_owned()))));
        assert_eq!(asked(&reserved(None)), Some(collect(None)));
    }

    #[test]
    fn an_order_that_changes_stands_or_dies_says_so() {
        let payment_id = Uuid::from_u128(2);
        let amended = OrderEvent::Amended(Amended { revision: 2, lines: vec![], total: 400 });
        let confirmed = OrderEvent::Confirmed(Confirmed { revision: 1, payment_id, customer_id: customer_id() });
        let cancelled = OrderEvent::Cancelled(Cancelled { reason: "why".to_owned(), customer_id: customer_id() });
        assert_eq!(asked(&amended), Some(Command::Amend { revision: 2, amount: 400 }));
        assert_eq!(asked(&confirmed), Some(Command::Capture { payment: payment_id }));
        assert_eq!(asked(&cancelled), Some(Command::Close));
        assert_eq!(asked(&OrderEvent::Paid(Paid { payment_id, amount: 500 })), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_an_unknown_kind_passed_over() {
        let amended = OrderEvent::Amended(Amended { revision: 2, lines: vec![], total: -1 });
        assert!(matches!(read(&record(&amended)), Err(Unreadable::Senseless(_))));
        let mut spoilt = record(&reserved(None));
        spoilt.data = "{}".into();
        assert!(matches!(read(&spoilt), Err(Unreadable::Data(_))));
        spoilt.kind = "order.reserved.v2".into();
        assert!(read(&spoilt).expect("is no error").is_none());
    }
}
