//! `ordersystem rebuild`: makes a view anew from the events, beside the live one, compares the two and swaps it in.

mod report;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use inventory::view::InventoryView;
use journal::{Aim, Database, RebuildError, Rebuilt};
use order::view::OrdersView;

use crate::audit::Output;
use crate::location::Location;

pub use report::Report;

/// Settings of `ordersystem rebuild`.
#[derive(Args, Clone, Debug)]
pub struct RebuildSettings {
    /// The view
    #[arg(value_enum)]
    pub view: View,
    /// Where the system's database is
    #[command(flatten)]
    pub location: Location,
    /// Only compare, and exit 1 if a row differs
    #[arg(long)]
    pub check: bool,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// A view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// The lists of orders
    Orders,
    /// The movements of products
    Inventory,
}

impl View {
    fn schema(self) -> &'static str {
        match self {
            Self::Orders => order::VIEW_SCHEMA,
            Self::Inventory => inventory::VIEW_SCHEMA,
        }
    }

    async fn rebuild(self, database: &Database, aim: Aim) -> Result<Rebuilt, RebuildError> {
        match self {
            Self::Orders => journal::rebuild(database, order::VIEW_OPENING, &OrdersView, aim).await,
            Self::Inventory => journal::rebuild(database, inventory::VIEW_OPENING, &InventoryView, aim).await,
        }
    }
}

/// Rebuilds and prints the report; fails if it was only to compare and a row differs. An error means that everything is
/// as before.
pub async fn run_and_print(settings: &RebuildSettings) -> anyhow::Result<ExitCode> {
    let report = run(settings).await?;
    match settings.output {
        Output::Text => print!("{report}"),
        Output::Json => println!("{}", report.to_json()?),
    }
    let passed = report.swapped || report.differing == 0;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Rebuilds the view that `settings` name, or only compares it.
pub async fn run(settings: &RebuildSettings) -> anyhow::Result<Report> {
    let (view, began) = (settings.view, Instant::now());
    let aim = if settings.check { Aim::Compare } else { Aim::Swap };
    let work = async |database: Database| match view.rebuild(&database, aim).await {
        Err(error @ RebuildError::Unsure(_)) => Err(error.into()),
        rebuilt => rebuilt.with_context(|| format!("{} is as before", view.schema())),
    };
    let rebuilt = settings.location.with_database(work).await?;
    Ok(Report::of(view.schema(), rebuilt, began.elapsed()))
}
