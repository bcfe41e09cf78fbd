//! What happened to an order. The stream is the order; the subject is its id.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Currency, CustomerId, ProductId, event::events, stock::Shortage};

events! {
    /// An event of an order's stream.
    OrderEvent {
        /// A customer wants these lines.
        Placed(Placed) = "order.placed.v1",
        /// The lines were replaced; what was held for the revision before is void.
        Amended(Amended) = "order.amended.v1",
        /// Stock is held for every line; payment may start.
        Reserved(Reserved) = "order.reserved.v1",
        /// One payment was declined, and another may come.
        PaymentDeclined(PaymentDeclined) = "order.payment-declined.v1",
        /// Something else happened to the payment that the order tells its readers.
        PaymentUpdated(PaymentUpdated) = "order.payment-updated.v1",
        /// Stock is held and payment authorized: the order stands.
        Confirmed(Confirmed) = "order.confirmed.v1",
        /// The payment was captured.
        Paid(Paid) = "order.paid.v1",
        /// It cannot be fulfilled.
        Rejected(Rejected) = "order.rejected.v1",
        /// Its deadline passed before it was confirmed.
        Expired(Expired) = "order.expired.v1",
        /// It was called off.
        Cancelled(Cancelled) = "order.cancelled.v1",
    }
}

/// So many of one product at one price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The product.
    pub product_id: ProductId,
    /// How many units.
    pub quantity: i64,
    /// The price of one unit, in the currency's minor unit.
    pub unit_price: i64,
}

/// How the customer pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentMethod {
    /// The provider's token for the customer's card or account.
    pub token: String,
}

/// Data of `order.placed.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placed {
    /// Who ordered.
    pub customer_id: CustomerId,
    /// The currency of every price.
    pub currency: Currency,
    /// What was ordered, revision 1.
    pub lines: Vec<Line>,
    /// The sum of quantity times price, in the minor unit.
    pub total: i64,
    /// How it will be paid, when that is known already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentMethod>,
    /// When it expires unless it is confirmed before.
    pub expires_at: DateTime<Utc>,
}

/// Data of `order.amended.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Amended {
    /// The number of this line set, 2 or more.
    pub revision: i32,
    /// The new lines.
    pub lines: Vec<Line>,
    /// The new total, in the minor unit.
    pub total: i64,
}

/// Data of `order.reserved.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reserved {
    /// The revision that stock is held for.
    pub revision: i32,
    /// What is to be paid, in the minor unit.
    pub total: i64,
    /// Its currency.
    pub currency: Currency,
    /// How it will be paid; without it, a payment is expected from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentMethod>,
}

/// Data of `order.payment-declined.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentDeclined {
    /// The payment that was declined.
    pub payment_id: Uuid,
    /// The provider's reason.
    pub code: String,
    /// Who ordered.
    pub customer_id: CustomerId,
}

/// Where an order's payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PaymentStatus {
    /// None was begun.
    None,
    /// The provider is being asked.
    Authorizing,
    /// The provider holds the money for us.
    Authorized,
    /// We have the money.
    Captured,
    /// The provider refused.
    Declined,
    /// The provider let the money go before we took it.
    Voided,
    /// We gave the money back.
    Refunded,
    /// The provider did not answer; it is being asked what became of it.
    Unknown,
}

impl PaymentStatus {
    /// Its name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Authorizing => "authorizing",
            Self::Authorized => "authorized",
            Self::Captured => "captured",
            Self::Declined => "declined",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
            Self::Unknown => "unknown",
        }
    }
}

/// Data of `order.payment-updated.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentUpdated {
    /// The payment.
    pub payment_id: Uuid,
    /// Where it stands now.
    pub status: PaymentStatus,
    /// Who ordered.
    pub customer_id: CustomerId,
}

/// Data of `order.confirmed.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confirmed {
    /// The revision that stands.
    pub revision: i32,
    /// The authorized payment, to be captured now.
    pub payment_id: Uuid,
    /// Who ordered.
    pub customer_id: CustomerId,
}

/// Data of `order.paid.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Paid {
    /// The captured payment.
    pub payment_id: Uuid,
    /// What was captured, in the minor unit.
    pub amount: i64,
}

/// Why an order cannot be fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectionReason {
    /// At least one product is short.
    OutOfStock,
    /// The payment was declined for good.
    PaymentDeclined,
}

impl RejectionReason {
    /// Its name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfStock => "out_of_stock",
            Self::PaymentDeclined => "payment_declined",
        }
    }
}

/// Data of `order.rejected.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// Why.
    pub reason: RejectionReason,
    /// What there is too little of, when that is the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortages: Vec<Shortage>,
    /// Who ordered.
    pub customer_id: CustomerId,
}

/// Data of `order.expired.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expired {
    /// Who ordered.
    pub customer_id: CustomerId,
}

/// Data of `order.cancelled.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancelled {
    /// Why, in the caller's words.
    pub reason: String,
    /// Who ordered.
    pub customer_id: CustomerId,
}
