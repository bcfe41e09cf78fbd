//! The list of orders.

use chrono::{DateTime, TimeDelta, Utc};
use contract::{CustomerId, ProductId};
use deadpool_postgres::Pool;
use journal::{Cells, ReadError};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::order::{Shown, Status};
use crate::store::{read_shown, shown_columns};

/// How far the time in an order's id may be from the time of its placing: one minute, far beyond the second for which a
/// command may wait for its batch, or a clock be set back.
const ID_SLACK: TimeDelta = TimeDelta::minutes(1);

/// Bits of a `UUIDv7` behind its milliseconds.
const BITS_BEHIND_TIME: u32 = 80;

/// The planner sees the parameters, so what is not asked for costs nothing.
macro_rules! conditions {
    () => {
        " WHERE id >= $1 AND id < $2 AND ($3::text IS NULL OR status = $3) AND ($8::text IS NULL OR shelf = $8)
          AND ($4::text IS NULL OR customer_id = $4) AND ($5::timestamptz IS NULL OR placed_at > $5) AND ($6::timestamptz IS NULL OR placed_at < $6)"
    };
}

const LIST: &str = concat!("SELECT ", shown_columns!(), " FROM orders", conditions!(), " ORDER BY id DESC LIMIT $7");

/// By product, the list follows the product's own index. The tables are named in the order in which a rebuild of the view
/// locks them.
const LIST_OF_PRODUCT: &str = concat!(
    "SELECT ",
    shown_columns!(),
    " FROM order_line JOIN orders ON id = order_id",
    conditions!(),
    " AND product_id = $9 AND order_id >= $1 AND order_id < $2 ORDER BY order_id DESC LIMIT $7"
);

/// Which orders are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those in this status.
    pub status: Option<Status>,
    /// Those of this customer.
    pub customer: Option<CustomerId>,
    /// Those with a line of this product.
    pub product: Option<ProductId>,
    /// Those placed after this time.
    pub placed_after: Option<DateTime<Utc>>,
    /// Those placed before this time.
    pub placed_before: Option<DateTime<Utc>>,
    /// Those older than this one.
    pub older_than: Option<Uuid>,
}

/// Up to `limit` orders, newest first.
pub async fn list(reads: &Pool, filter: &Filter, limit: u16) -> Result<Vec<Shown>, ReadError> {
    let (from, to) = filter.ids();
    let (status, shelf) = (filter.status.map(Status::as_str), filter.status.and_then(shelf));
    let customer = filter.customer.as_ref().map(CustomerId::as_str);
    let product = filter.product.as_ref().map(ProductId::as_str);
    let limit = i64::from(limit);
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = vec![
        (&from, Type::UUID),
        (&to, Type::UUID),
        (&status, Type::TEXT),
        (&customer, Type::TEXT),
        (&filter.placed_after, Type::TIMESTAMPTZ),
        (&filter.placed_before, Type::TIMESTAMPTZ),
        (&limit, Type::INT8),
        (&shelf, Type::TEXT),
    ];
    let mut sql = LIST;
    if product.is_some() {
        parameters.push((&product, Type::TEXT));
        sql = LIST_OF_PRODUCT;
    }
    let rows = reads.get().await?.query_typed(sql, &parameters).await?;
    let shown = rows.iter().map(|row| read_shown(&mut Cells::of("orders_view.orders", row)));
    Ok(shown.collect::<Result<_, _>>()?)
}

/// Where the orders in a status are together; nothing for those that are found by their time.
fn shelf(status: Status) -> Option<&'static str> {
    match status {
        Status::Pending | Status::Reserved => Some("open"),
        Status::Confirmed => None,
        Status::Rejected | Status::Cancelled | Status::Expired => Some(status.as_str()),
    }
}

impl Filter {
    /// The ids that are wanted, from the first to before the second: an id begins with the time at which it was made,
    /// which is near the time of the placing.
    fn ids(&self) -> (Uuid, Uuid) {
        let from = self.placed_after.and_then(|time| time.checked_sub_signed(ID_SLACK)).map(first_id);
        let to = self.placed_before.and_then(|time| time.checked_add_signed(ID_SLACK)).map(first_id);
        let to = to.into_iter().chain(self.older_than).min();
        (from.unwrap_or(Uuid::nil()), to.unwrap_or(Uuid::max()))
    }
}

/// The smallest id that a `UUIDv7` of this time can have.
fn first_id(time: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::try_from(time.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(milliseconds << BITS_BEHIND_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("in range")
    }

    #[test]
    fn without_a_filter_every_id_is_wanted() {
        assert_eq!(Filter::default().ids(), (Uuid::nil(), Uuid::max()));
    }

    #[test]
    fn times_bound_the_ids_with_some_slack() {
        let filter = Filter { placed_after: Some(time(0)), placed_before: Some(time(10)), ..Filter::default() };
        let (from, to) = filter.ids();
        let inside = |seconds| (from..to).contains(&first_id(time(seconds)));
        assert!(inside(0) && inside(10) && inside(-60) && inside(69));
        assert!(!inside(-61) && !inside(70));
    }

    #[test]
    fn a_cursor_bounds_the_ids_when_it_is_older() {
        let older = first_id(time(5));
        let filter =
            |seconds| Filter { placed_before: Some(time(seconds)), older_than: Some(older), ..Filter::default() };
        assert_eq!(filter(100).ids().1, older);
        assert!(filter(-100).ids().1 < older);
    }

    #[test]
    fn a_time_before_1970_is_no_bound() {
        let ancient = DateTime::from_timestamp(-10, 0).expect("in range");
        let filter = Filter { placed_after: Some(ancient), ..Filter::default() };
        assert_eq!(filter.ids().0, Uuid::nil());
    }
}
