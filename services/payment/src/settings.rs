//! What payment is told from outside.

use clap::Args;
use journal::JournalSettings;

/// Settings of payment.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where its journal is
    #[command(flatten)]
    pub journal: JournalSettings,
}
