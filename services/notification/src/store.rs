//! Notification's table: what a batch needs of it, what a batch adds to it, and how it is read.

use std::collections::HashMap;

use contract::{Lane, Record, Topic};
use journal::{Cells, Decision, Loaded, Model, Pool, Query, ReadError, Unreadable, UnreadableRow};
use process::metrics::{Counter, Family, Metrics};
use prometheus_client::encoding::EncodeLabelSet;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::messages;
use crate::notice::{self, FIRST_VERSION, Notice, Status, Tell, Told};

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
    ) WITH (autovacuum_analyze_scale_factor = 1)"];

const TOLD: &str = "SELECT order_id, kind, channel FROM notice WHERE order_id = ANY ($1)";

const RAISE: &str = "
    INSERT INTO notice (id, lane, order_id, customer_id, kind, channel, status, attempts, created_at)
    SELECT unnest($1::uuid[]), unnest($2::int2[]), unnest($3::uuid[]), unnest($4::text[]), unnest($5::text[]),
        unnest($6::text[]), unnest($7::text[]), unnest($8::int4[]), unnest($9::timestamptz[])";

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
    type Memory = ();

    const STATEMENTS: &'static [&'static str] = &[TOLD, RAISE];

    fn read(&self, _: Topic, record: &Record) -> Result<Option<Tell>, Unreadable> {
        Ok(messages::read(record)?)
    }

    fn load(&self, commands: &[&Tell], (): &()) -> Vec<Query> {
        let orders: Vec<Uuid> = commands.iter().map(|tell| tell.order_id).collect();
        vec![Query::new(TOLD).bind(orders)]
    }

    fn rows(&self, _: &[&Tell], mut loaded: Loaded, (): &mut ()) -> Result<Rows, UnreadableRow> {
        let mut rows = Rows::default();
        for row in &loaded.of(TOLD) {
            let mut cells = Cells::of("notifications.notice", row);
            rows.told.entry(cells.take()?).or_default().insert((cells.take_named()?, cells.take_named()?));
        }
        Ok(rows)
    }

    fn decide(&self, rows: &mut Rows, tell: &Tell, decision: &mut Decision<'_>) {
        rows.settle(tell, decision);
    }

    fn write(&self, rows: &Rows) -> Vec<Query> {
        if rows.raised.is_empty() { vec![] } else { vec![raise(&rows.raised)] }
    }

    fn committed(&self, rows: Rows, (): &mut ()) {
        for notice in rows.raised {
            let about = About { kind: notice.kind.as_str(), channel: notice.channel.as_str() };
            self.raised.get_or_create(&about).inc();
        }
    }
}

impl Rows {
    /// What these orders' customers were told.
    pub fn of(told: impl IntoIterator<Item = (Uuid, Told)>) -> Self {
        Self { told: told.into_iter().collect(), raised: Vec::new() }
    }

    /// What the batch adds.
    pub fn raised(&self) -> &[Notice] {
        &self.raised
    }

    /// Tells one customer, unless that was done before.
    pub fn settle(&mut self, tell: &Tell, decision: &mut Decision<'_>) {
        let told = self.told.entry(tell.order_id).or_default();
        for event in notice::decide(told, tell) {
            let notice = notice::evolve(decision.fresh_id(), tell.lane, decision.now(), &event);
            // The order is the subject, and so the key: its notices stay in its lane.
            decision.append_about(&tell.order_id.to_string(), notice.id, FIRST_VERSION, &event);
            told.insert((notice.kind, notice.channel));
            self.raised.push(notice);
        }
    }
}

fn raise(raised: &[Notice]) -> Query {
    Query::new(RAISE)
        .bind_each(raised, |notice| notice.id)
        .bind_each(raised, |notice| notice.lane.as_i16())
        .bind_each(raised, |notice| notice.order_id)
        .bind_each(raised, |notice| notice.customer_id.to_string())
        .bind_each(raised, |notice| notice.kind.as_str())
        .bind_each(raised, |notice| notice.channel.as_str())
        .bind_each(raised, |notice| notice.status.as_str())
        .bind_each(raised, |notice| notice.attempts)
        .bind_each(raised, |notice| notice.created_at)
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
pub async fn page(reads: &Pool, filter: Filter, limit: u16) -> Result<Vec<Notice>, ReadError> {
    let before = filter.before.unwrap_or(Uuid::max());
    let status = filter.status.map(Status::as_str);
    let limit = i64::from(limit);
    let before = (&before as _, Type::UUID);
    let status = (&status as _, Type::TEXT);
    let limit = (&limit as _, Type::INT8);
    let client = reads.get().await?;
    // Typed, so that one round trip does it and the planner knows which filters are there.
    let rows = match &filter.order {
        None => client.query_typed(PAGE, &[before, status, limit]).await?,
        Some(order) => client.query_typed(PAGE_OF_ORDER, &[before, status, limit, (order, Type::UUID)]).await?,
    };
    Ok(rows.iter().map(read_row).collect::<Result<_, _>>()?)
}

/// The notice `id`, if there is one.
pub async fn find(reads: &Pool, id: Uuid) -> Result<Option<Notice>, ReadError> {
    let rows = reads.get().await?.query_typed(ONE, &[(&id, Type::UUID)]).await?;
    Ok(rows.first().map(read_row).transpose()?)
}

/// The notice that a row of [`ROWS`] holds.
pub fn read_row(row: &Row) -> Result<Notice, UnreadableRow> {
    let mut cells = Cells::of("notifications.notice", row);
    let (id, lane): (Uuid, i16) = (cells.take()?, cells.take()?);
    Ok(Notice {
        id,
        lane: Lane(u16::try_from(lane).map_err(|error| cells.unreadable(error))?),
        order_id: cells.take()?,
        customer_id: cells.take_named()?,
        kind: cells.take_named()?,
        channel: cells.take_named()?,
        status: cells.take_named()?,
        attempts: cells.take()?,
        created_at: cells.take()?,
    })
}

#[cfg(test)]
mod tests {
    use contract::notice::{Channel, Kind};
    use serde::Deserialize;
    use serde::de::IntoDeserializer as _;
    use serde::de::value::Error as UnknownName;

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

    fn named<T: for<'n> Deserialize<'n>>(name: &str) -> Result<T, UnknownName> {
        T::deserialize(name.into_deserializer())
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
