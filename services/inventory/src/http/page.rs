//! Answers, and pages of them: their size, their cursors, and the link to the next.

use std::str::FromStr;

use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use contract::ProductId;
use process::Problem;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::stock::Balance;
use crate::view::{Kind, Movement};

/// Entries of a page when the request does not say.
const DEFAULT_LIMIT: u16 = 50;
/// The most entries of a page: more would make an answer that no one reads at once.
const MAX_LIMIT: u16 = 200;

/// Which page is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many at most; 50 unless given
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u16>,
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
    /// How many entries are on the page.
    pub fn size(&self) -> Result<u16, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let bad = || Problem::malformed().detail(format!("bad query: limit: must be 1 to {MAX_LIMIT}"));
        if (1..=MAX_LIMIT).contains(&limit) { Ok(limit) } else { Err(bad()) }
    }

    /// The last entry of the page before; nothing for the first page.
    pub fn behind<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        let bad = || Problem::malformed().detail("bad query: cursor: not a cursor that was given out");
        self.cursor.as_deref().map(|cursor| read(cursor).ok_or_else(bad)).transpose()
    }

    /// The `Link` to the next page: the same request from `cursor` on.
    pub fn next_link(&self, uri: &Uri, cursor: &str) -> String {
        let limit = self.limit.map(|limit| format!("limit={limit}&")).unwrap_or_default();
        format!("<{}?{limit}cursor={cursor}>; rel=\"next\"", uri.path())
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
        let (products, next_cursor) = cut(products, limit, |(product, _)| product.to_string());
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
        let (movements, next_cursor) = cut(movements, limit, |movement| movement.change.version.to_string());
        Self { data: movements.into_iter().map(Into::into).collect(), next_cursor }
    }
}

/// A page of up to `limit` entries, and the cursor of the next: what is beyond only tells that there is one. `position`
/// is what a listing goes on behind.
fn cut<T>(mut entries: Vec<T>, limit: u16, position: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let more = entries.len() > usize::from(limit);
    entries.truncate(usize::from(limit));
    let next = entries.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(position(last)));
    (entries, next)
}

fn read<T: FromStr>(cursor: &str) -> Option<T> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    std::str::from_utf8(&bytes).ok()?.parse().ok()
}
