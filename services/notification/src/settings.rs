//! What notification is told from outside.

use clap::Args;
use journal::JournalSettings;

/// Settings of notification.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where its journal is
    #[command(flatten)]
    pub journal: JournalSettings,
}
