//! A payment provider for shops that have none yet, for demonstrations and for tests: it decides by the token, and keeps
//! what it decided as durably as a real one, in a schema of its own that payment reads nothing from.
//!
//! | token | what becomes of it |
//! |---|---|
//! | `tok_ok` | authorized |
//! | `tok_declined` | declined for good, `do_not_honor` |
//! | `tok_insufficient_funds` | declined, `insufficient_funds`; another attempt may come |
//! | `tok_timeout_then_ok` | authorized, but the caller gets no answer and has to inquire |
//! | `tok_slow` | authorized after three seconds |
//! | any other | declined, `unknown_token`; another attempt may come |

mod charge;
mod desk;

use journal::{Cells, Database, DatabaseSettings, DatabaseSettingsError, Migration, UnreadableRow, migrate};
use process::Process;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_postgres::Row;

use crate::gateway::Gateway;
use crate::payment::{Call, CallError, Outcome, Reply};

pub use charge::{Charge, ChargeStatus, settle};
use desk::Desk;

/// The schema that the provider keeps its charges in.
pub const SCHEMA: &str = "provider";

/// Requests that may wait for the next transaction. Whoever asks bounds how much is asked at once; this only keeps the
/// memory bounded when several ask.
const MAX_WAITING: usize = 4096;

/// What the provider keeps. A charge's row is updated in place once or twice, soon after it came.
const CHARGE: &str = r#"
CREATE TABLE IF NOT EXISTS charge (
    key uuid PRIMARY KEY,
    token text COLLATE "C" NOT NULL,
    amount int8 NOT NULL,
    currency text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    code text COLLATE "C",
    captured int8 NOT NULL CHECK (captured BETWEEN 0 AND amount),
    refunded int8 NOT NULL CHECK (refunded BETWEEN 0 AND captured),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_analyze_scale_factor = 1)"#;

/// Every charge that the provider knows, by key; to be read by [`read_charge`] from a connection to [`SCHEMA`].
pub const CHARGES: &str =
    "SELECT key, token, amount, currency, status, code, captured, refunded FROM charge ORDER BY key";

/// Why the provider cannot open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database's settings cannot be used.
    #[error(transparent)]
    Settings(#[from] DatabaseSettingsError),
    /// Its schema cannot be prepared.
    #[error("schema {SCHEMA} cannot be prepared")]
    Schema(#[from] tokio_postgres::Error),
}

/// The provider. Cheap to clone.
#[derive(Clone)]
pub struct Simulated {
    desk: mpsc::Sender<Visit>,
}

/// A request and who waits for its answer.
struct Visit {
    call: Call,
    answer: oneshot::Sender<Result<Outcome, CallError>>,
}

impl Simulated {
    /// Prepares the provider's schema and opens for requests until the process stops.
    pub async fn open(settings: &DatabaseSettings, process: &Process) -> Result<Self, OpenError> {
        let database = Database::new(settings)?;
        migrate(&database, SCHEMA, &[Migration { part: "provider", steps: &[CHARGE] }]).await?;
        let (desk, visits) = mpsc::channel(MAX_WAITING);
        process.spawn("payment provider", Desk::new(database).serve(visits, process.stop().clone()));
        Ok(Self { desk })
    }
}

impl Gateway for Simulated {
    async fn ask(&self, call: &Call) -> Result<Reply, CallError> {
        let (answer, answered) = oneshot::channel();
        let visit = Visit { call: call.clone(), answer };
        self.desk.send(visit).await.map_err(|_| CallError::Unavailable)?;
        // It settles no request about another amount than the one before under the same key.
        let answer = answered.await.unwrap_or(Err(CallError::Unavailable))?;
        let (delay, arrives) = charge::delivery(call);
        // No sleep is shorter than the timer's millisecond.
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if arrives { Ok(Reply { outcome: answer, amount: call.amount }) } else { Err(CallError::Timeout) }
    }
}

/// The charge that a row of [`CHARGES`] holds.
pub fn read_charge(row: &Row) -> Result<Charge, UnreadableRow> {
    let mut cells = Cells::of("provider.charge", row);
    Ok(Charge {
        key: cells.take()?,
        token: cells.take()?,
        amount: cells.take()?,
        currency: cells.take_named()?,
        status: cells.take_named()?,
        code: cells.take()?,
        captured: cells.take()?,
        refunded: cells.take()?,
    })
}
