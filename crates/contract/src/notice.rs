//! What a customer was told. The stream is the notice.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{CustomerId, event::events};

events! {
    /// An event of notification's journal.
    NoticeEvent {
        /// A customer is told. In the inbox it is delivered by being kept.
        Raised(Raised) = "notice.raised.v1",
    }
}

/// What the notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The order stands.
    OrderConfirmed,
    /// The order cannot be fulfilled.
    OrderRejected,
    /// The order was called off.
    OrderCancelled,
    /// The order was not paid in time.
    OrderExpired,
    /// A payment was declined, and another may come.
    PaymentDeclined,
    /// The money was given back.
    PaymentRefunded,
}

impl Kind {
    /// Its name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OrderConfirmed => "order-confirmed",
            Self::OrderRejected => "order-rejected",
            Self::OrderCancelled => "order-cancelled",
            Self::OrderExpired => "order-expired",
            Self::PaymentDeclined => "payment-declined",
            Self::PaymentRefunded => "payment-refunded",
        }
    }
}

/// How it reaches the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// It is kept where the customer, or the shop for the customer, reads it: `GET /notifications`.
    Inbox,
}

impl Channel {
    /// Its name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
        }
    }
}

/// Data of `notice.raised.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Raised {
    /// The order it is about.
    pub order_id: Uuid,
    /// Who is told.
    pub customer_id: CustomerId,
    /// What.
    pub kind: Kind,
    /// How.
    pub channel: Channel,
}
