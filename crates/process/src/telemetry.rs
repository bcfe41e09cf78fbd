//! The log: what happened, to stderr, as text for people or JSON for machines.

use std::io::{IsTerminal as _, stderr};

use tracing::{Level, Metadata, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FromEnvError, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// Where help lists what every subcommand has: behind what is its own, of which none has so many settings.
const BEHIND_ALL_OTHERS: usize = 100;

/// Who writes down at `debug` and `trace` what goes over its connections: a statement's parameters are what people entrust
/// to us, secrets among them. That stays out of the log, whatever `RUST_LOG` says.
const INDISCREET: [&str; 1] = ["tokio_postgres"];

/// Settings of the log; flatten them into a process's own.
#[derive(Debug, Clone, clap::Args)]
pub struct TelemetrySettings {
    /// How log lines are written to stderr
    #[arg(long, global = true, display_order = BEHIND_ALL_OTHERS, env = "ORDERSYSTEM_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for a person to read
    Text,
    /// A JSON object per line
    Json,
}

/// Why the log could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is not a list of `target=level`.
    #[error("cannot read RUST_LOG")]
    Filter(#[from] FromEnvError),
    /// The process already has a log.
    #[error("cannot start the log")]
    Start(#[from] TryInitError),
}

/// Starts the log of this process: to stderr, at the levels `RUST_LOG` names, else `info`. A panic is logged too, so
/// that a JSON log stays JSON.
pub fn start(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env()?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal());
    match format {
        LogFormat::Text => log.finish().with(filter_fn(is_discreet)).try_init()?,
        LogFormat::Json => log.json().flatten_event(true).finish().with(filter_fn(is_discreet)).try_init()?,
    }
    std::panic::set_hook(Box::new(|panic| error!(%panic, "panicked")));
    Ok(())
}

fn is_discreet(line: &Metadata<'_>) -> bool {
    *line.level() <= Level::INFO || !INDISCREET.iter().any(|target| line.target().starts_with(target))
}
