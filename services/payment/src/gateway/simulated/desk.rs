//! Where the simulated provider's requests are settled: as many as wait in one transaction.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::Utc;
use futures_util::future::{try_join, try_join3};
use journal::{Database, UnreadableRow};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::charge::{Charge, settle};
use super::{SCHEMA, Visit, read_charge};
use crate::payment::{CallError, Outcome};

/// The most requests of one transaction. Beyond some hundred a transaction gets no cheaper by the request.
const MAX_AT_ONCE: usize = 512;
/// The least time between two transactions, and how long the first request of one waits for company: those that a batch
/// leaves to be asked come within a moment, one by one.
const PAUSE: Duration = Duration::from_millis(5);
const COMPANY: Duration = Duration::from_millis(1);

/// Replicas have one provider between them, which settles one after the other.
const TAKE_TURNS: &str = "SELECT pg_advisory_xact_lock(hashtext('ordersystem provider'))";

const LOAD: &str = "
    SELECT key, token, amount, currency, status, code, captured, refunded FROM charge WHERE key = ANY ($1)";

const STORE: &str = "
    INSERT INTO charge (key, token, amount, currency, status, code, captured, refunded, created_at, updated_at)
    SELECT unnest($1::uuid[]), unnest($2::text[]), unnest($3::int8[]), unnest($4::text[]), unnest($5::text[]),
        unnest($6::text[]), unnest($7::int8[]), unnest($8::int8[]), $9::timestamptz, $9::timestamptz
    ON CONFLICT (key) DO UPDATE SET status = excluded.status, code = excluded.code, captured = excluded.captured,
        refunded = excluded.refunded, updated_at = excluded.updated_at";

/// A process that is stopped in the middle of a transaction must not keep the others from theirs for long. Plans are
/// generic and never scan the table: they are made when it is still empty.
const SETTINGS: &str = "
    SET idle_in_transaction_session_timeout = '3s'; SET statement_timeout = '5s';
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off";

/// Settles the provider's requests.
pub(super) struct Desk {
    database: Database,
    session: Option<Session>,
}

/// A connection with everything prepared.
struct Session {
    client: Client,
    take_turns: Statement,
    load: Statement,
    store: Statement,
}

/// Why requests could not be settled.
#[derive(Debug, thiserror::Error)]
enum DeskError {
    #[error("the provider's database does not answer")]
    Database(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Row(#[from] UnreadableRow),
}

type Answers = Vec<Result<Outcome, CallError>>;

impl Desk {
    pub fn new(database: Database) -> Self {
        Self { database, session: None }
    }

    /// Settles what comes in until `stop`.
    pub async fn serve(mut self, mut visits: mpsc::Receiver<Visit>, stop: CancellationToken) {
        let serve = async {
            let mut waiting = Vec::with_capacity(MAX_AT_ONCE);
            while visits.recv_many(&mut waiting, MAX_AT_ONCE).await > 0 {
                sleep(COMPANY).await;
                while waiting.len() < MAX_AT_ONCE
                    && let Ok(visit) = visits.try_recv()
                {
                    waiting.push(visit);
                }
                let next = Instant::now() + PAUSE;
                self.attend(std::mem::take(&mut waiting)).await;
                sleep_until(next).await;
            }
        };
        stop.run_until_cancelled(serve).await;
    }

    async fn attend(&mut self, visits: Vec<Visit>) {
        let answers = match self.settle(&visits).await {
            Ok(answers) => answers,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, requests = visits.len(), "payment provider is away");
                self.session = None;
                vec![Err(CallError::Unavailable); visits.len()]
            }
        };
        for (visit, answer) in visits.into_iter().zip(answers) {
            // Whoever does not wait any more asks again.
            let _ = visit.answer.send(answer);
        }
    }

    async fn settle(&mut self, visits: &[Visit]) -> Result<Answers, DeskError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.database).await?,
        };
        let answers = session.settle(visits).await?;
        self.session = Some(session);
        Ok(answers)
    }
}

impl Session {
    async fn open(database: &Database) -> Result<Self, tokio_postgres::Error> {
        let client = database.connect_to(SCHEMA).await?;
        client.batch_execute(SETTINGS).await?;
        let take_turns = client.prepare(TAKE_TURNS).await?;
        let (load, store) = (client.prepare(LOAD).await?, client.prepare(STORE).await?);
        Ok(Self { client, take_turns, load, store })
    }

    /// Settles the requests in one transaction of two round trips.
    async fn settle(&self, visits: &[Visit]) -> Result<Answers, DeskError> {
        let mut charges = self.load(visits).await?;
        let mut changed = HashSet::new();
        let mut answers = Vec::with_capacity(visits.len());
        for Visit { call, .. } in visits {
            let before = charges.get(&call.key).cloned();
            let (after, answer) = settle(before.clone(), call);
            if let Some(charge) = after.filter(|after| before.as_ref() != Some(after)) {
                changed.insert(call.key);
                charges.insert(call.key, charge);
            }
            answers.push(answer);
        }
        let changed: Vec<&Charge> = changed.iter().filter_map(|key| charges.get(key)).collect();
        self.store(&changed).await?;
        Ok(answers)
    }

    /// Begins a transaction and reads the charges that the requests are about.
    async fn load(&self, visits: &[Visit]) -> Result<HashMap<Uuid, Charge>, DeskError> {
        let keys: Vec<Uuid> = visits.iter().map(|visit| visit.call.key).collect();
        let keys: [&(dyn ToSql + Sync); 1] = [&keys];
        let (begin, turn) = (self.client.batch_execute("BEGIN"), self.client.query(&self.take_turns, &[]));
        let ((), _, rows) = try_join3(begin, turn, self.client.query(&self.load, &keys)).await?;
        let charges = rows.iter().map(|row| read_charge(row).map(|charge| (charge.key, charge)));
        Ok(charges.collect::<Result<_, _>>()?)
    }

    /// Writes what changed and ends the transaction.
    async fn store(&self, changed: &[&Charge]) -> Result<(), tokio_postgres::Error> {
        let now = Utc::now();
        let keys = column(changed, |charge| charge.key);
        let tokens = column(changed, |charge| charge.token.as_str());
        let amounts = column(changed, |charge| charge.amount);
        let currencies = column(changed, |charge| charge.currency.as_str());
        let statuses = column(changed, |charge| charge.status.as_str());
        let codes = column(changed, |charge| charge.code.as_deref());
        let captured = column(changed, |charge| charge.captured);
        let refunded = column(changed, |charge| charge.refunded);
        let parameters: [&(dyn ToSql + Sync); 9] =
            [&keys, &tokens, &amounts, &currencies, &statuses, &codes, &captured, &refunded, &now];
        // Should the first fail, the second ends the transaction without an error, but the first says so.
        let (stored, committed) = (self.client.execute(&self.store, &parameters), self.client.batch_execute("COMMIT"));
        try_join(stored, committed).await?;
        Ok(())
    }
}

fn column<'c, T>(charges: &[&'c Charge], of: impl Fn(&'c Charge) -> T) -> Vec<T> {
    charges.iter().map(|charge| of(charge)).collect()
}
