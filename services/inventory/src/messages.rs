//! The border: what the orders' events ask of stock.

use std::collections::BTreeMap;

use contract::order::{Line, OrderEvent};
use contract::{ProductId, Record};
use journal::Unreadable;

use crate::stock::{Command, Units};

/// The revision of an order that was just placed.
const FIRST_REVISION: i32 = 1;

/// The kinds of event that move no stock.
pub const PASSES: &[&str] =
    &["order.reserved.v1", "order.payment-declined.v1", "order.payment-updated.v1", "order.paid.v1"];

/// What this record of the orders' topic asks of stock, if anything.
pub fn read(record: &Record) -> Result<Option<Command>, Unreadable> {
    let order = record.stream;
    let Some(event) = OrderEvent::decode(&record.kind, &record.data)? else { return Ok(None) };
    Ok(Some(match event {
        OrderEvent::Placed(placed) => {
            Command::Reserve { order, revision: FIRST_REVISION, needs: needs(&placed.lines)? }
        }
        OrderEvent::Amended(amended) => {
            Command::Reserve { order, revision: amended.revision, needs: needs(&amended.lines)? }
        }
        OrderEvent::Confirmed(confirmed) => Command::Sell { order, revision: confirmed.revision },
        OrderEvent::Rejected(_) | OrderEvent::Expired(_) | OrderEvent::Cancelled(_) => Command::GiveBack { order },
        OrderEvent::Reserved(_)
        | OrderEvent::PaymentDeclined(_)
        | OrderEvent::PaymentUpdated(_)
        | OrderEvent::Paid(_) => return Ok(None),
    }))
}

/// What an order of these lines needs: each product once, however many lines want it, in the products' order.
pub fn needs(lines: &[Line]) -> Result<Vec<Units>, Unreadable> {
    let mut sums: BTreeMap<&ProductId, i64> = BTreeMap::new();
    for line in lines {
        if line.quantity < 1 {
            return Err(Unreadable::Senseless("a line wants no units"));
        }
        let sum = sums.entry(&line.product_id).or_default();
        *sum = sum.checked_add(line.quantity).ok_or(Unreadable::Senseless("the lines want too many units"))?;
    }
    Ok(sums.into_iter().map(|(product, quantity)| Units { product: product.clone(), quantity }).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use chrono::DateTime;
    use contract::order::{Amended, Cancelled, Confirmed, Expired, Paid, Placed, Rejected, RejectionReason};
    use contract::{CustomerId, Event, Lane};
    use journal::Decision;
    use uuid::Uuid;

    pub(crate) const ORDER: Uuid = Uuid::from_u128(7);

    pub(crate) fn record(stream: Uuid, event: &impl Event) -> Record {
        let mut appended = Vec::new();
        Decision::new(DateTime::UNIX_EPOCH, Lane(3), &mut appended).append(stream, 1, event);
        appended.remove(0)
    }

    fn customer_id() -> CustomerId {
        "ann".parse().expect("is an id")
    }

    fn line(product: &str, quantity: i64) -> Line {
        Line { product_id: product.parse().expect("is an id"), quantity, unit_price: 100 }
    }

    fn units(product: &str, quantity: i64) -> Units {
        Units { product: product.parse().expect("is an id"), quantity }
    }

    pub(crate) fn placed(lines: &[(&str, i64)]) -> OrderEvent {
        OrderEvent::Placed(Placed {
            customer_id: customer_id(),
            currency: "EUR".try_into().expect("is a currency"),
            lines: lines.iter().map(|(product, quantity)| line(product, *quantity)).collect(),
            total: 1,
            payment: None,
            expires_at: DateTime::UNIX_EPOCH,
        })
    }

    pub(crate) fn confirmed() -> OrderEvent {
        let payment_id = Uuid::from_u128(2);
        OrderEvent::Confirmed(Confirmed { revision: 1, payment_id, customer_id: customer_id() })
    }

    fn asked(event: &OrderEvent) -> Option<Command> {
        read(&record(ORDER, event)).expect("can be read")
    }

    #[test]
    fn two_lines_of_one_product_are_summed() {
        let needs = vec![units("a", 5), units("b", 1)];
        let reserve = Command::Reserve { order: ORDER, revision: 1, needs };
        assert_eq!(asked(&placed(&[("a", 2), ("b", 1), ("a", 3)])), Some(reserve));
    }

    #[test]
    fn an_amended_order_asks_for_its_new_revision() {
        let amended = OrderEvent::Amended(Amended { revision: 2, lines: vec![line("a", 4)], total: 400 });
        let reserve = Command::Reserve { order: ORDER, revision: 2, needs: vec![units("a", 4)] };
        assert_eq!(asked(&amended), Some(reserve));
    }

    #[test]
    fn a_confirmed_order_is_sold_and_a_dead_one_given_back() {
        let reason = RejectionReason::PaymentDeclined;
        let rejected = OrderEvent::Rejected(Rejected { reason, shortages: vec![], customer_id: customer_id() });
        let expired = OrderEvent::Expired(Expired { customer_id: customer_id() });
        let cancelled = OrderEvent::Cancelled(Cancelled { reason: "late".to_owned(), customer_id: customer_id() });
        assert_eq!(asked(&confirmed()), Some(Command::Sell { order: ORDER, revision: 1 }));
        for dead in [rejected, expired, cancelled] {
            assert_eq!(asked(&dead), Some(Command::GiveBack { order: ORDER }));
        }
    }

    #[test]
    fn what_happens_to_the_payment_alone_moves_no_stock() {
        let paid = OrderEvent::Paid(Paid { payment_id: Uuid::from_u128(2), amount: 5 });
        assert_eq!(asked(&paid), None);
    }

    #[test]
    fn lines_that_make_no_sense_are_refused() {
        for lines in [[("a", 1), ("b", 0)], [("a", i64::MAX), ("a", 1)], [("a", 5), ("a", -1)]] {
            let asked = read(&record(ORDER, &placed(&lines)));
            assert!(matches!(asked, Err(Unreadable::Senseless(_))), "{lines:?}");
        }
    }

    #[test]
    fn an_unknown_kind_is_passed_over_and_spoilt_data_refused() {
        let mut record = record(ORDER, &confirmed());
        record.data = "{}".into();
        assert!(read(&record).is_err());
        record.kind = "order.confirmed.v2".into();
        assert_eq!(read(&record).expect("is no error"), None);
    }
}
