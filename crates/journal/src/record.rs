//! Records from the event table.

use std::borrow::Cow;

use bytes::Bytes;
use contract::{Lane, Record};
use tokio_postgres::{Client, Row, ToStatement};

use crate::schema::EVENT_COLUMNS;

/// A record from a row that was read with the [`EVENT_COLUMNS`] in their order.
pub fn from_row(row: &Row) -> Result<Record, tokio_postgres::Error> {
    let lane: i16 = row.try_get(1)?;
    Ok(Record {
        seq: row.try_get(0)?,
        lane: Lane(lane.unsigned_abs()),
        version: row.try_get(2)?,
        stream: row.try_get(3)?,
        id: row.try_get(4)?,
        at: row.try_get(5)?,
        kind: Cow::Owned(row.try_get(6)?),
        data: Bytes::copy_from_slice(row.try_get::<_, &[u8]>(7)?),
        cause: row.try_get(8)?,
        subject: row.try_get::<_, Option<&str>>(9)?.map(Into::into),
        trace: row.try_get::<_, Option<&str>>(10)?.map(Into::into),
    })
}

/// The statement for [`after`], to be prepared by who asks often.
pub(crate) fn after_in(schema: &str) -> String {
    format!(
        "SELECT {EVENT_COLUMNS} FROM unnest($1::int2[], $2::int8[]) AS p (lane, seq)
         CROSS JOIN LATERAL (SELECT * FROM {schema}.event WHERE lane = p.lane AND seq > p.seq ORDER BY seq LIMIT $3) e"
    )
}

/// Up to `limit` events of each lane in `after`, from the sequence behind it on, in lane order.
pub(crate) async fn after(
    client: &Client,
    statement: &(impl ToStatement + ?Sized),
    after: &[(Lane, i64)],
    limit: i64,
) -> Result<Vec<Record>, tokio_postgres::Error> {
    let (lanes, seqs): (Vec<i16>, Vec<i64>) = after.iter().map(|(lane, seq)| (lane.as_i16(), *seq)).unzip();
    client.query(statement, &[&lanes, &seqs, &limit]).await?.iter().map(from_row).collect()
}
