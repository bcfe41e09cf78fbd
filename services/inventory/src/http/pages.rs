//! Pages: from where on they list, and what they show.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use contract::ProductId;
use process::Problem;
use process::page::{self, Cursor, UnknownCursor};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::stock::Balance;
use crate::view::{Kind, Movement};

/// Which page is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many at most; 50 unless given
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u16>,
    /// `nextCursor` of the page before
    cursor: Option<String>,
}

/// What there is of a product.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Stock)]
pub(super) struct StockAnswer {
    /// The product.
    product_id: ProductId,
    /// Available and reserved together.
    on_hand: i64,
    /// Units that an order may take.
    available: i64,
    /// Units held for orders that are not confirmed yet.
    reserved: i64,
    /// Units of confirmed orders.
    sold: i64,
}

/// A page of products.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StockPage {
    /// The products, by id.
    pub data: Vec<StockAnswer>,
    /// What to ask the next page with; null on the last.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// What moved a product's units.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Movement)]
pub(super) struct MovementAnswer {
    /// The product.
    product_id: ProductId,
    /// The product's version after it.
    version: i64,
    /// What moved them.
    #[schema(inline)]
    kind: Kind,
    /// By how much each number changed.
    #[schema(inline)]
    delta: Delta,
    /// The order that moved them.
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<Uuid>,
    /// Why someone adjusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The reference of whoever adjusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// When.
    at: DateTime<Utc>,
}

/// By how much a product's numbers changed.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct Delta {
    /// Units that an order may take.
    available: i64,
    /// Units held for orders that are not confirmed yet.
    reserved: i64,
    /// Units of confirmed orders.
    sold: i64,
}

/// A page of movements.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MovementPage {
    /// The movements, newest first.
    pub data: Vec<MovementAnswer>,
    /// What to ask the next page with; null on the last.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl PageQuery {
    /// The last entry of the page before; nothing for the first page.
    pub fn behind<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        let position = self.cursor.as_deref().map(|text| text.parse().map(|Cursor(position)| position));
        position
            .transpose()
            .map_err(|error: UnknownCursor| Problem::malformed().detail(format!("bad query: cursor: {error}")))
    }
}

impl StockAnswer {
    pub fn of(product_id: ProductId, balance: Balance) -> Self {
        let Balance { available, reserved, sold, .. } = balance;
        Self { product_id, on_hand: balance.on_hand(), available, reserved, sold }
    }
}

impl StockPage {
    /// A page of up to `limit` products; what is beyond only tells that there is a next page.
    pub fn of(products: Vec<(ProductId, Balance)>, limit: u16) -> Self {
        let (products, next_cursor) = page::cut(products, limit, |(product, _)| product.clone());
        let data = products.into_iter().map(|(product, balance)| StockAnswer::of(product, balance)).collect();
        Self { data, next_cursor }
    }
}

impl From<Movement> for MovementAnswer {
    fn from(movement: Movement) -> Self {
        let Movement { product: product_id, kind, change, order: order_id, reason, reference, at } = movement;
        let delta = Delta { available: change.available, reserved: change.reserved, sold: change.sold };
        Self { product_id, version: change.version, kind, delta, order_id, reason, reference, at }
    }
}

impl MovementPage {
    /// A page of up to `limit` movements; what is beyond only tells that there is a next page.
    pub fn of(movements: Vec<Movement>, limit: u16) -> Self {
        let (movements, next_cursor) = page::cut(movements, limit, |movement| movement.change.version);
        Self { data: movements.into_iter().map(Into::into).collect(), next_cursor }
    }
}
