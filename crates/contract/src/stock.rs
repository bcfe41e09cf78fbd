//! What happened to stock. What is held for an order is told in the order's stream; what is put on hand, in the
//! product's.
//!
//! Each change of a product's balance carries that product's next `version`, 1, 2, 3 …, so that the changes of one
//! product, which come from many orders and lanes, have one order in which every balance can be derived again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{ProductId, event::events};

events! {
    /// An event of inventory's journal.
    StockEvent {
        /// Every line of the order's revision is held: available → reserved.
        Reserved(Held) = "stock.reserved.v1",
        /// At least one product is short; nothing is held.
        Rejected(Rejected) = "stock.rejected.v1",
        /// A hold was given back: reserved → available.
        Released(Held) = "stock.released.v1",
        /// A hold was sold: reserved → sold.
        Sold(Held) = "stock.sold.v1",
        /// What was sold came back: sold → available.
        Returned(Held) = "stock.returned.v1",
        /// Someone counted: on hand is now this.
        Counted(Counted) = "stock.counted.v1",
        /// Someone added or took units.
        Adjusted(Adjusted) = "stock.adjusted.v1",
    }
}

/// Units of one product that moved, and the product's version after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Movement {
    /// The product.
    pub product_id: ProductId,
    /// How many units moved, more than zero.
    pub quantity: i64,
    /// The product's version after this change.
    pub version: i64,
}

/// Data of the events that move an order's units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The order's revision that the units are for.
    pub revision: i32,
    /// A movement per product, in the products' order.
    pub movements: Vec<Movement>,
}

/// One product of which there is too little.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shortage {
    /// The product.
    pub product_id: ProductId,
    /// How many units the order wants in all.
    pub requested: i64,
    /// How many there were.
    pub available: i64,
}

/// Data of `stock.rejected.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// The order's revision.
    pub revision: i32,
    /// Every product that is short.
    pub shortages: Vec<Shortage>,
}

/// Data of `stock.counted.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// The product.
    pub product_id: ProductId,
    /// Units on hand: available and reserved.
    pub on_hand: i64,
    /// The change of what is available.
    pub delta: i64,
    /// The product's version after this change.
    pub version: i64,
}

/// Data of `stock.adjusted.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adjusted {
    /// The product.
    pub product_id: ProductId,
    /// The change of what is available.
    pub delta: i64,
    /// Why.
    pub reason: String,
    /// The caller's own reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The product's version after this change.
    pub version: i64,
}

/// The namespace of products' streams. It never changes.
const PRODUCTS: Uuid = Uuid::from_u128(0x8c9e_5a2e_6f0d_4c0b_9d6e_5b7a_3f21_77d4);

/// The stream of a product: a name-based UUID (RFC 9562, version 5) of its id.
pub fn stream_of(product: &ProductId) -> Uuid {
    Uuid::new_v5(&PRODUCTS, product.as_str().as_bytes())
}
