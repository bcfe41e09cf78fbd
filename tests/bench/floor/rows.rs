//! Rows, as they are, through `unnest`.

use std::error::Error;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

/// Rows of a batch: beyond, they get no cheaper.
const BATCH: i64 = 1024;

/// Every table that has rows, how many were inserted and how often they were updated since it was made.
const TABLES: &str = "
SELECT schemaname || '.' || relname, n_tup_ins::float8, n_tup_upd::float8, relid
FROM pg_stat_user_tables WHERE n_tup_ins > 0 ORDER BY 1";

/// A table's columns, but for those that it computes: name, type, whether the key has it, whether it is an array.
const COLUMNS: &str = "
SELECT quote_ident(attname), format_type(atttypid, atttypmod),
       EXISTS (SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND attnum = ANY(indkey)),
       attndims > 0
FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum";

/// The rows of all tables.
pub struct Rows(Vec<Table>);

struct Table {
    name: String,
    columns: Vec<Column>,
    batches: Vec<Vec<Raw>>,
    /// Updated rows, in whole batches.
    updates: usize,
}

struct Column {
    name: String,
    kind: String,
    in_key: bool,
    is_array: bool,
}

impl Rows {
    /// Reads this share of every table.
    pub async fn read(client: &Client, share: f64) -> anyhow::Result<Self> {
        client.batch_execute("SELECT pg_stat_clear_snapshot()").await?;
        let mut tables = Vec::new();
        for row in client.query(TABLES, &[]).await? {
            let (name, inserted, updated): (String, f64, f64) = (row.get(0), row.get(1), row.get(2));
            let columns = columns(client, row.get(3)).await?;
            let batches = Table::batches(client, &name, &columns, rows(inserted * share)).await?;
            // A table with less than a batch's rows is written once a batch and not once an order.
            let again = if batches.is_empty() { 0.0 } else { updated * share / batch_rows() };
            tables.push(Table { name, columns, batches, updates: usize::try_from(rows(again))? });
        }
        Ok(Self(tables))
    }

    /// Empties the tables that it is written to.
    pub async fn make_room(&self, client: &Client) -> anyhow::Result<()> {
        let names: Vec<&str> = self.0.iter().map(|table| table.name.as_str()).collect();
        Ok(client.batch_execute(&format!("TRUNCATE {}", names.join(", "))).await?)
    }

    /// Inserts the rows, and updates them.
    pub async fn write(&self, client: &Client) -> anyhow::Result<()> {
        for table in self.0.iter().filter(|table| !table.batches.is_empty()) {
            let insert = client.prepare(&table.insert()).await?;
            for batch in &table.batches {
                execute(client, &insert, batch).await?;
            }
            if table.updates > 0 {
                let update = client.prepare(&table.update()).await?;
                for batch in table.batches.iter().cycle().take(table.updates) {
                    execute(client, &update, batch).await?;
                }
            }
        }
        Ok(())
    }
}

impl Table {
    /// Full batches only.
    async fn batches(client: &Client, name: &str, columns: &[Column], rows: i64) -> anyhow::Result<Vec<Vec<Raw>>> {
        let gathered: Vec<String> = columns.iter().map(|column| format!("array_agg({})", column.sent())).collect();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let (names, gathered) = (names.join(", "), gathered.join(", "));
        let sql = format!(
            "SELECT {gathered} FROM (SELECT {names}, (row_number() OVER () - 1) / {BATCH} AS batch FROM {name} LIMIT {}) t
             GROUP BY batch ORDER BY batch",
            rows / BATCH * BATCH
        );
        let batches = client.query(&sql, &[]).await?;
        Ok(batches.iter().map(|row| (0..columns.len()).map(|column| row.get(column)).collect()).collect())
    }

    fn insert(&self) -> String {
        let (names, values) = (self.list(|c| c.name.clone()), self.list(Column::stored));
        format!("INSERT INTO {} ({names}) SELECT {values} FROM {}", self.name, self.unnested())
    }

    fn update(&self) -> String {
        let part = |in_key: bool, separator: &str, with: &dyn Fn(&Column) -> String| {
            let columns = self.columns.iter().filter(|column| column.in_key == in_key);
            columns.map(with).collect::<Vec<_>>().join(separator)
        };
        let changed = part(false, ", ", &|c| format!("{} = {}", c.name, c.stored()));
        let same = part(true, " AND ", &|c| format!("t.{} = v.{}", c.name, c.name));
        format!("UPDATE {} t SET {changed} FROM {} WHERE {same}", self.name, self.unnested())
    }

    fn unnested(&self) -> String {
        let arrays = self.columns.iter().zip(1..).map(|(column, n)| format!("${n}::{}[]", column.sent_as()));
        let arrays: Vec<String> = arrays.collect();
        format!("unnest({}) AS v ({})", arrays.join(", "), self.list(|c| c.name.clone()))
    }

    fn list(&self, with: impl Fn(&Column) -> String) -> String {
        self.columns.iter().map(with).collect::<Vec<_>>().join(", ")
    }
}

impl Column {
    /// Arrays of arrays must be rectangular, so an array is sent as text.
    fn sent(&self) -> String {
        if self.is_array { format!("{}::text", self.name) } else { self.name.clone() }
    }

    fn sent_as(&self) -> &str {
        if self.is_array { "text" } else { &self.kind }
    }

    fn stored(&self) -> String {
        if self.is_array { format!("v.{}::{}", self.name, self.kind) } else { format!("v.{}", self.name) }
    }
}

async fn columns(client: &Client, table: u32) -> anyhow::Result<Vec<Column>> {
    let columns = client.query(COLUMNS, &[&table]).await?;
    let column = |row: &tokio_postgres::Row| Column {
        name: row.get(0),
        kind: row.get(1),
        in_key: row.get(2),
        is_array: row.get(3),
    };
    Ok(columns.iter().map(column).collect())
}

async fn execute(client: &Client, statement: &Statement, batch: &[Raw]) -> anyhow::Result<()> {
    let parameters: Vec<&(dyn ToSql + Sync)> = batch.iter().map(|array| array as _).collect();
    client.execute(statement, &parameters).await?;
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "a share of a run's rows")]
fn rows(share: f64) -> i64 {
    share.round() as i64
}

#[expect(clippy::cast_precision_loss, reason = "a thousand")]
fn batch_rows() -> f64 {
    BATCH as f64
}

/// An array as PostgreSQL sends it, to be sent back as it is.
#[derive(Debug)]
struct Raw(Vec<u8>);

impl<'r> FromSql<'r> for Raw {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
