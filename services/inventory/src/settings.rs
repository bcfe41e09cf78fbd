//! What inventory is told from outside.

use clap::Args;
use journal::JournalSettings;

/// Settings of inventory.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where its journal is
    #[command(flatten)]
    pub journal: JournalSettings,
}
