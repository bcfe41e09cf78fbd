//! Publishing dead letters: records that could not be read or settled, with where they came from and why.

use contract::{Topic, topic};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::BaseRecord,
};

use super::KafkaOutlet;
use crate::faults::{self, CrashPoint};

/// Dead letters published at once.
const LETTERS: i64 = 100;

impl KafkaOutlet {
    /// Publishes dead letters that wait; those that are left then are published next.
    pub(super) async fn publish_letters(&self) -> Result<(), String> {
        let client = self.reads.get().await.map_err(|error| error.to_string())?;
        let waiting = "SELECT id, source, lane, place, reason, kind, key, payload FROM dead_letter
                       WHERE NOT published ORDER BY id LIMIT $1";
        let rows = client.query(waiting, &[&LETTERS]).await.map_err(|error| error.to_string())?;
        let name = topic::dead_letters(&self.system);
        for row in &rows {
            let headers = letter_headers(row, self.schema);
            let (key, payload): (Option<&[u8]>, Option<&[u8]>) = (row.get(6), row.get(7));
            let message = BaseRecord::with_opaque_to(&name, 0)
                .partition(i32::from(row.get::<_, i16>(2)))
                .key(key.unwrap_or_default())
                .payload(payload.unwrap_or_default())
                .headers(headers);
            self.producer().send(message).map_err(|(error, _)| error.to_string())?;
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.flush().await?;
        faults::reached(CrashPoint::LettersPublished, self.schema, || [""]);
        let ids: Vec<uuid::Uuid> = rows.iter().map(|row| row.get(0)).collect();
        let done = "UPDATE dead_letter SET published = true WHERE id = ANY($1)";
        client.execute(done, &[&ids]).await.map_err(|error| error.to_string())?;
        if rows.len() == usize::try_from(LETTERS).unwrap_or(usize::MAX) {
            self.letters_waiting();
        }
        Ok(())
    }
}

/// Where a dead letter came from and why it is one.
fn letter_headers(row: &tokio_postgres::Row, schema: &str) -> OwnedHeaders {
    let source = Topic::ALL.into_iter().find(|topic| topic.code() == row.get::<_, i16>(1));
    let (lane, place) = (row.get::<_, i16>(2).to_string(), row.get::<_, i64>(3).to_string());
    let values: [(&str, Option<&str>); 6] = [
        ("dl_reader", Some(schema)),
        ("dl_source", source.map(Topic::as_str)),
        ("dl_lane", Some(&lane)),
        ("dl_place", Some(&place)),
        ("dl_reason", Some(row.get(4))),
        ("dl_kind", row.get(5)),
    ];
    let headers = OwnedHeaders::new_with_capacity(values.len());
    values.iter().fold(headers, |headers, (key, value)| headers.insert(Header { key, value: *value }))
}
