//! One moment of the database, read row by row.

use std::vec;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Portal, Row, Transaction};

/// Rows fetched at once from each of some fifteen queries: a few megabytes in all, and few round trips.
const PAGE_ROWS: i32 = 1_000;

/// Settings of the transaction. Every large query reads a whole table in the order of a key: memory to sort it once, no
/// belief in slow disks that would make an index look dearer than a sort, and no patience lost while other tables are read.
const SETTINGS: &str = "SET LOCAL work_mem = '64MB'; SET LOCAL random_page_cost = 1.1; \
    SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

/// One moment of the database: whatever is read, in any schema, is as of the same commit.
pub(super) struct Snapshot<'c> {
    transaction: Transaction<'c>,
}

/// The schemas whose tables a rebuild may replace. A snapshot does not see the rows of a table that took its place later,
/// so they are held against that from before the snapshot on.
const VIEWS: [&str; 2] = [order::VIEW_SCHEMA, inventory::VIEW_SCHEMA];

/// The tables of views, in the order in which a rebuild locks them; nothing if there are none.
const TABLES: &str = "
SELECT string_agg(format('%I.%I', schemaname, tablename), ', ' ORDER BY schemaname, tablename) FROM pg_tables
WHERE schemaname = ANY($1)";

impl<'c> Snapshot<'c> {
    /// Takes it.
    pub async fn of(client: &'c mut Client) -> anyhow::Result<Self> {
        let tables = client.query_one(TABLES, &[&VIEWS.as_slice()]).await.context("cannot read the database")?;
        let builder = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let transaction = builder.start().await.context("cannot read the database")?;
        transaction.batch_execute(SETTINGS).await.context("cannot read the database")?;
        if let Some(tables) = tables.try_get::<_, Option<&str>>(0)? {
            let hold = format!("LOCK TABLE {tables} IN ACCESS SHARE MODE");
            transaction.batch_execute(&hold).await.context("cannot read the views")?;
        }
        Ok(Self { transaction })
    }

    /// When it was taken, by the database's clock.
    pub async fn at(&self) -> anyhow::Result<DateTime<Utc>> {
        let row = self.transaction.query_one("SELECT now()", &[]).await.context("cannot read the database")?;
        Ok(row.try_get(0)?)
    }

    /// The rows of a query that is small or has few rows, in `schema`.
    pub async fn rows(
        &self,
        schema: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> anyhow::Result<Vec<Row>> {
        self.enter(schema).await?;
        self.transaction.query(sql, parameters).await.with_context(|| format!("cannot read schema {schema}"))
    }

    /// The rows of a query of any size, in `schema`.
    pub async fn cursor(&self, schema: &'static str, sql: &str) -> anyhow::Result<Cursor> {
        self.enter(schema).await?;
        let portal = self.transaction.bind(sql, &[]).await.with_context(|| format!("cannot read schema {schema}"))?;
        Ok(Cursor { schema, portal, page: Vec::new().into_iter(), more: true })
    }

    /// Names without a schema mean this one from now on. Open cursors keep their own.
    async fn enter(&self, schema: &'static str) -> anyhow::Result<()> {
        let entered = self.transaction.batch_execute(&format!("SET LOCAL search_path = {schema}")).await;
        entered.with_context(|| format!("cannot read schema {schema}"))
    }
}

/// The rows of one query, fetched page by page.
pub(super) struct Cursor {
    schema: &'static str,
    portal: Portal,
    page: vec::IntoIter<Row>,
    more: bool,
}

impl Cursor {
    /// The next row.
    pub async fn next(&mut self, snapshot: &Snapshot<'_>) -> anyhow::Result<Option<Row>> {
        if let Some(row) = self.page.next() {
            return Ok(Some(row));
        }
        if self.more {
            let page = snapshot.transaction.query_portal(&self.portal, PAGE_ROWS).await;
            let page = page.with_context(|| format!("cannot read schema {}", self.schema))?;
            self.more = i32::try_from(page.len()) == Ok(PAGE_ROWS);
            self.page = page.into_iter();
        }
        Ok(self.page.next())
    }
}
