//! Whether the books of a system balance.

use anyhow::ensure;
use ordersystem::audit::{self, AuditSettings};
use ordersystem::location::Location;

use crate::postgres::TestDatabase;

/// `ordersystem audit` says that the books balance once nothing is on its way, for which it waits so many seconds at most;
/// and there was nothing that a consumer could not read or settle.
pub async fn balanced(database: &TestDatabase, wait_seconds: u64) -> anyhow::Result<()> {
    let report = audit::run(AuditSettings {
        location: Location::of(database.url()),
        settled: true,
        patience: audit::PATIENCE_SECONDS,
        wait: Some(wait_seconds),
        output: audit::Output::Text,
    });
    let report = report.await?;
    ensure!(report.holds, "the books do not balance: {report}");
    ensure!(report.dead_letters == 0, "there are dead letters: {report}");
    Ok(())
}
