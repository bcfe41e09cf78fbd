//! What customers are told of their orders: the rules, and nothing else.
//!
//! A notice is raised once for each order, kind and channel, however often the order gives a reason for it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use contract::event::UnreadableData;
use contract::notice::{Channel, Kind, NoticeEvent, Raised};
use contract::{CustomerId, Lane, Record};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::messages;

/// Every channel, in the order in which a customer is told.
const CHANNELS: [Channel; 1] = [Channel::Inbox];

/// The version of a notice's first event.
pub(crate) const FIRST_VERSION: i32 = 1;

/// The command: a customer is to be told something of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tell {
    /// The lane of the order, and so of its notices.
    pub lane: Lane,
    /// The order.
    pub order_id: Uuid,
    /// Who ordered.
    pub customer_id: CustomerId,
    /// What.
    pub kind: Kind,
}

/// What an order's customer was told already, and how.
pub type Told = BTreeSet<(Kind, Channel)>;

/// What there is one notice of.
pub type Key = (Uuid, Kind, Channel);

/// A notice as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its own id; later notices have greater ones.
    pub id: Uuid,
    /// The lane of its order.
    pub lane: Lane,
    /// The order it is about.
    pub order_id: Uuid,
    /// Who is told.
    pub customer_id: CustomerId,
    /// What.
    pub kind: Kind,
    /// How.
    pub channel: Channel,
    /// Whether it has reached the customer.
    pub status: Status,
    /// How often it was sent.
    pub attempts: i32,
    /// When it was raised.
    pub created_at: DateTime<Utc>,
}

/// Whether a notice has reached the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NoticeStatus)]
pub enum Status {
    /// It has.
    Delivered,
}

impl Status {
    /// Its name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
        }
    }
}

/// What is new to the customer: an event for each channel that has not carried it yet.
pub fn decide(told: &Told, tell: &Tell) -> Vec<NoticeEvent> {
    let raised =
        |channel| Raised { order_id: tell.order_id, customer_id: tell.customer_id.clone(), kind: tell.kind, channel };
    let new = CHANNELS.into_iter().filter(|channel| !told.contains(&(tell.kind, *channel)));
    new.map(|channel| NoticeEvent::Raised(raised(channel))).collect()
}

/// The notice `id` after its first event, decided `at` this time in this lane. An inbox delivers by keeping.
pub fn evolve(id: Uuid, lane: Lane, at: DateTime<Utc>, event: &NoticeEvent) -> Notice {
    let NoticeEvent::Raised(Raised { order_id, customer_id, kind, channel }) = event.clone();
    let status = match channel {
        Channel::Inbox => Status::Delivered,
    };
    Notice { id, lane, order_id, customer_id, kind, channel, status, attempts: 1, created_at: at }
}

impl Notice {
    /// What there is one notice of.
    pub fn key(&self) -> Key {
        (self.order_id, self.kind, self.channel)
    }
}

/// Every notice that these events of orders must have raised, and whom it tells.
///
/// An auditor compares it with the rows. The records of an order may come in any order and be spread over several calls,
/// whose maps are then extended by each other: a notice has the same customer whichever event raised it.
pub fn project<'r>(orders: impl IntoIterator<Item = &'r Record>) -> Result<BTreeMap<Key, CustomerId>, UnreadableData> {
    let mut expected = BTreeMap::new();
    for record in orders {
        let Some(tell) = messages::read(record)? else {
            continue;
        };
        let channels = CHANNELS.into_iter().map(|channel| (tell.order_id, tell.kind, channel));
        expected.extend(channels.map(|key| (key, tell.customer_id.clone())));
    }
    Ok(expected)
}

/// The notices that these events of notification's own journal amount to; an auditor compares them with the rows.
pub fn fold<'r>(own: impl IntoIterator<Item = &'r Record>) -> Result<Vec<Notice>, UnreadableData> {
    let notice = |record: &Record| {
        let event = NoticeEvent::decode(&record.kind, &record.data)?;
        Ok(event.map(|event| evolve(record.stream, record.lane, record.at, &event)))
    };
    own.into_iter().filter_map(|record| notice(record).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::tests::{cancelled, confirmed, payment_declined, record};

    const ORDER: Uuid = Uuid::from_u128(7);

    fn tell(kind: Kind) -> Tell {
        Tell { lane: Lane(3), order_id: ORDER, customer_id: customer(), kind }
    }

    fn customer() -> CustomerId {
        "ann".parse().expect("is an id")
    }

    #[test]
    fn what_is_new_is_told_in_every_channel() {
        // given a customer who was told nothing, when the order is confirmed
        let events = decide(&Told::new(), &tell(Kind::OrderConfirmed));
        // then
        let raised =
            Raised { order_id: ORDER, customer_id: customer(), kind: Kind::OrderConfirmed, channel: Channel::Inbox };
        assert_eq!(events, [NoticeEvent::Raised(raised)]);
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        // given a customer who was told of one declined payment, when another is declined
        let told = Told::from([(Kind::PaymentDeclined, Channel::Inbox)]);
        // then
        assert_eq!(decide(&told, &tell(Kind::PaymentDeclined)), []);
        assert_eq!(decide(&told, &tell(Kind::OrderExpired)).len(), 1);
    }

    #[test]
    fn a_notice_in_the_inbox_is_delivered_at_once() {
        let at = DateTime::UNIX_EPOCH;
        let events = decide(&Told::new(), &tell(Kind::OrderCancelled));
        let notice = evolve(Uuid::from_u128(9), Lane(3), at, &events[0]);
        assert_eq!((notice.status, notice.attempts, notice.created_at), (Status::Delivered, 1, at));
        assert_eq!(notice.key(), (ORDER, Kind::OrderCancelled, Channel::Inbox));
    }

    #[test]
    fn the_projection_has_each_notice_once_whatever_comes_twice() {
        let records =
            [payment_declined(), payment_declined(), cancelled(), confirmed()].map(|event| record(ORDER, &event));
        let expected = project(records.iter().chain(&records)).expect("can be read");
        let kinds: Vec<_> = expected.keys().map(|(order, kind, _)| (*order, *kind)).collect();
        assert_eq!(
            kinds,
            [(ORDER, Kind::OrderConfirmed), (ORDER, Kind::OrderCancelled), (ORDER, Kind::PaymentDeclined)]
        );
    }

    #[test]
    fn the_fold_of_what_is_decided_is_what_was_stored() {
        let event = &decide(&Told::new(), &tell(Kind::OrderRejected))[0];
        let record = record(Uuid::from_u128(9), event);
        let stored = evolve(record.stream, record.lane, record.at, event);
        assert_eq!(fold([&record]).expect("can be read"), [stored]);
    }
}
