//! Notification's table: what a batch needs of it, what a batch adds to it, and how it is read.

use std::collections::HashMap;

use contract::{Lane, Record, Topic};
use journal::{Decision, Model, Query, Unreadable, UnreadableRow};
use process::metrics::{Counter, Family, Metrics};
use prometheus_client::encoding::EncodeLabelSet;
use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as UnknownName;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

use crate::messages;
use crate::notice::{self, FIRST_VERSION, Notice, Status, Tell, Told};

/// The table's name in errors.
const TABLE: &str = "notice";

/// The service's own tables. A notice's id grows with time, so that the primary key also lists the newest; the unique
/// key holds what [`notice::decide`] promises, and finds the notices of an order.
pub const MIGRATIONS: &[&str] = &["
    CREATE TABLE notice (
        id uuid PRIMARY KEY,
        lane int2 NOT NULL,
        order_id uuid NOT NULL,
        customer_id text NOT NULL,
        kind text NOT NULL,
        channel text NOT NULL,
        status text NOT NULL,
        attempts int4 NOT NULL,
        created_at timestamptz NOT NULL,
        UNIQUE (order_id, kind, channel)
    )"];

const TOLD: &str = "SELECT order_id, kind, channel FROM notice WHERE order_id = ANY ($1)";

const RAISE: &str = "
    INSERT INTO notice (id, lane, order_id, customer_id, kind, channel, status, attempts, created_at)
    SELECT * FROM unnest($1::uuid[], $2::int2[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int4[],
        $9::timestamptz[])";

/// Newest first; `id < $1` with the greatest of all ids begins at the newest.
const PAGE: &str = "
    SELECT id, lane, order_id, customer_id, kind, channel, status, attempts, created_at FROM notice
    WHERE id < $1 AND ($2::text IS NULL OR status = $2) ORDER BY id DESC LIMIT $3";

const PAGE_OF_ORDER: &str = "
    SELECT id, lane, order_id, customer_id, kind, channel, status, attempts, created_at FROM notice
    WHERE id < $1 AND ($2::text IS NULL OR status = $2) AND order_id = $4 ORDER BY id DESC LIMIT $3";

/// Every notice's row, to be read by [`read_row`]; a condition may follow.
pub const ROWS: &str =
    "SELECT id, lane, order_id, customer_id, kind, channel, status, attempts, created_at FROM notice";

const ONE: &str = "
    SELECT id, lane, order_id, customer_id, kind, channel, status, attempts, created_at FROM notice WHERE id = $1";

/// Notification as its journal sees it.
pub struct Notices {
    raised: Family<About, Counter>,
}

/// Labels of the counter of notices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct About {
    kind: &'static str,
    channel: &'static str,
}

/// The rows that a batch touches.
#[derive(Default)]
pub struct Rows {
    /// By order, what its customer was told.
    told: HashMap<Uuid, Told>,
    /// What the batch adds.
    raised: Vec<Notice>,
}

impl Notices {
    /// Counts in `metrics`.
    pub fn new(metrics: &Metrics) -> Self {
        Self { raised: metrics.counters("notices_raised", "Notices raised") }
    }
}

impl Model for Notices {
    type Command = Tell;
    type Answer = ();
    type Rows = Rows;

    const STATEMENTS: &'static [&'static str] = &[TOLD, RAISE];

    fn read(&self, _: Topic, record: &Record) -> Result<Option<Tell>, Unreadable> {
        Ok(messages::tell(record)?)
    }

    fn load(&self, commands: &[&Tell]) -> Vec<Query> {
        let orders: Vec<Uuid> = commands.iter().map(|tell| tell.order_id).collect();
        vec![Query::new(TOLD).bind(orders)]
    }

    fn rows(&self, results: Vec<Vec<Row>>) -> Result<Rows, UnreadableRow> {
        let mut rows = Rows::default();
        for row in results.iter().flatten() {
            let told = rows.told.entry(column(row, 0)?).or_default();
            told.insert((named(column(row, 1)?)?, named(column(row, 2)?)?));
        }
        Ok(rows)
    }

    fn decide(&self, rows: &mut Rows, tell: &Tell, decision: &mut Decision<'_>) {
        let told = rows.told.entry(tell.order_id).or_default();
        for event in notice::decide(told, tell) {
            let notice = notice::evolve(Uuid::now_v7(), tell.lane, decision.now(), &event);
            // The order is the subject, and so the key: its notices stay in its lane.
            decision.append_about(&tell.order_id.to_string(), notice.id, FIRST_VERSION, &event);
            told.insert((notice.kind, notice.channel));
            rows.raised.push(notice);
        }
    }

    fn write(&self, rows: &Rows) -> Vec<Query> {
        if rows.raised.is_empty() { vec![] } else { vec![raise(&rows.raised)] }
    }

    fn committed(&self, rows: Rows) {
        for notice in rows.raised {
            let about = About { kind: notice.kind.as_str(), channel: notice.channel.as_str() };
            self.raised.get_or_create(&about).inc();
        }
    }
}

fn raise(raised: &[Notice]) -> Query {
    Query::new(RAISE)
        .bind(each(raised, |notice| notice.id))
        .bind(each(raised, |notice| notice.lane.as_i16()))
        .bind(each(raised, |notice| notice.order_id))
        .bind(each(raised, |notice| notice.customer_id.to_string()))
        .bind(each(raised, |notice| notice.kind.as_str()))
        .bind(each(raised, |notice| notice.channel.as_str()))
        .bind(each(raised, |notice| notice.status.as_str()))
        .bind(each(raised, |notice| notice.attempts))
        .bind(each(raised, |notice| notice.created_at))
}

fn each<T>(raised: &[Notice], column: impl Fn(&Notice) -> T) -> Vec<T> {
    raised.iter().map(column).collect()
}

/// Why notices could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database did not answer.
    #[error("cannot query the database")]
    Query(#[from] tokio_postgres::Error),
    /// A row is not what this service writes.
    #[error(transparent)]
    Row(#[from] UnreadableRow),
}

/// Which notices are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this order.
    pub order: Option<Uuid>,
    /// Those in this status.
    pub status: Option<Status>,
    /// Those that are older than this one.
    pub before: Option<Uuid>,
}

/// Up to `limit` notices, newest first.
pub async fn page(client: &impl GenericClient, filter: Filter, limit: u16) -> Result<Vec<Notice>, ReadError> {
    let before = filter.before.unwrap_or(Uuid::max());
    let status = filter.status.map(Status::as_str);
    let limit = i64::from(limit);
    let before = (&before as _, Type::UUID);
    let status = (&status as _, Type::TEXT);
    let limit = (&limit as _, Type::INT8);
    // Typed, so that one round trip does it and the planner knows which filters are there.
    let rows = match &filter.order {
        None => client.query_typed(PAGE, &[before, status, limit]).await?,
        Some(order) => client.query_typed(PAGE_OF_ORDER, &[before, status, limit, (order, Type::UUID)]).await?,
    };
    Ok(rows.iter().map(read_row).collect::<Result<_, _>>()?)
}

/// The notice `id`, if there is one.
pub async fn find(client: &impl GenericClient, id: Uuid) -> Result<Option<Notice>, ReadError> {
    let rows = client.query_typed(ONE, &[(&id, Type::UUID)]).await?;
    Ok(rows.first().map(read_row).transpose()?)
}

/// The notice that a row of [`ROWS`] holds.
pub fn read_row(row: &Row) -> Result<Notice, UnreadableRow> {
    let lane: i16 = column(row, 1)?;
    let customer: String = column(row, 3)?;
    Ok(Notice {
        id: column(row, 0)?,
        lane: Lane(u16::try_from(lane).map_err(unreadable)?),
        order_id: column(row, 2)?,
        customer_id: customer.try_into().map_err(unreadable)?,
        kind: named(column(row, 4)?)?,
        channel: named(column(row, 5)?)?,
        status: named(column(row, 6)?)?,
        attempts: column(row, 7)?,
        created_at: column(row, 8)?,
    })
}

fn column<'r, T: FromSql<'r>>(row: &'r Row, index: usize) -> Result<T, UnreadableRow> {
    row.try_get(index).map_err(unreadable)
}

/// The kind, channel or status of this name, which is the same on the wire and in the database.
fn named<'n, T: Deserialize<'n>>(name: &'n str) -> Result<T, UnreadableRow> {
    T::deserialize(name.into_deserializer()).map_err(|error: UnknownName| unreadable(error))
}

fn unreadable(reason: impl std::fmt::Display) -> UnreadableRow {
    UnreadableRow { table: TABLE, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use contract::notice::{Channel, Kind};

    use super::*;
    use crate::messages::tests::{confirmed, payment_declined, record};

    const ORDER: Uuid = Uuid::from_u128(7);

    fn notices() -> Notices {
        Notices::new(process::Process::new("test").metrics())
    }

    /// What comes of these events in one batch.
    fn batch(notices: &Notices, rows: &mut Rows, events: &[contract::order::OrderEvent]) -> Vec<Record> {
        let mut appended = Vec::new();
        for event in events {
            let tell = notices.read(Topic::Orders, &record(ORDER, event)).expect("can be read").expect("is told");
            let mut decision = Decision::new(chrono::DateTime::UNIX_EPOCH, tell.lane, &mut appended);
            notices.decide(rows, &tell, &mut decision);
        }
        appended
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let kinds = [
            Kind::OrderConfirmed,
            Kind::OrderRejected,
            Kind::OrderCancelled,
            Kind::OrderExpired,
            Kind::PaymentDeclined,
            Kind::PaymentRefunded,
        ];
        for kind in kinds {
            assert_eq!(named::<Kind>(kind.as_str()).expect("is a name"), kind);
        }
        assert_eq!(named::<Channel>(Channel::Inbox.as_str()).expect("is a name"), Channel::Inbox);
        assert_eq!(named::<Status>(Status::Delivered.as_str()).expect("is a name"), Status::Delivered);
        assert!(named::<Kind>("order-lost").is_err());
    }

    #[test]
    fn two_reasons_in_one_batch_raise_one_notice() {
        // given
        let (notices, mut rows) = (notices(), Rows::default());
        // when
        let appended = batch(&notices, &mut rows, &[payment_declined(), payment_declined(), confirmed()]);
        // then
        let kinds: Vec<_> = rows.raised.iter().map(|notice| notice.kind).collect();
        assert_eq!(kinds, [Kind::PaymentDeclined, Kind::OrderConfirmed]);
        assert_eq!(appended.len(), 2);
        assert_eq!(notices.write(&rows).len(), 1);
    }

    #[test]
    fn the_rows_are_the_fold_of_the_appended_events() {
        let mut rows = Rows::default();
        let appended = batch(&notices(), &mut rows, &[payment_declined(), confirmed()]);
        assert_eq!(notice::fold(&appended).expect("can be read"), rows.raised);
    }

    #[test]
    fn the_events_of_a_notice_travel_under_its_orders_key() {
        let appended = batch(&notices(), &mut Rows::default(), &[confirmed()]);
        assert_eq!(appended[0].key(), ORDER.to_string());
        assert_ne!(appended[0].stream, ORDER);
    }

    #[test]
    fn a_batch_that_raises_nothing_writes_nothing() {
        // given an order whose customer was told already
        let (notices, mut rows) = (notices(), Rows::default());
        rows.told.insert(ORDER, Told::from([(Kind::OrderConfirmed, Channel::Inbox)]));
        // when
        let appended = batch(&notices, &mut rows, &[confirmed()]);
        // then
        assert_eq!(appended, []);
        assert!(notices.write(&rows).is_empty());
    }
}
