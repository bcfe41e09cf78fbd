//! From start to stop: the stop signal, the background tasks, and the failure that ends a process.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::process::exit;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use crate::{Health, Metrics, catch, lock};

/// Any error, as a task hands it over.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What everything that runs in one process shares. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Process(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: &'static str,
    stop: CancellationToken,
    health: Health,
    metrics: Metrics,
    tasks: TaskTracker,
    running: Mutex<BTreeMap<&'static str, usize>>,
    failure: Mutex<Option<Failure>>,
}

/// Why a process ended, or did not end in good order.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A background task returned an error.
    #[error("task `{task}` failed")]
    Task {
        /// The task's name.
        task: &'static str,
        /// What it returned.
        source: BoxError,
    },
    /// A background task panicked.
    #[error("task `{task}` panicked: {message}")]
    Panic {
        /// The task's name.
        task: &'static str,
        /// What it said.
        message: String,
    },
    /// Somebody called [`Process::fail`].
    #[error(transparent)]
    Reported(BoxError),
    /// Tasks were still running when the time to stop was over.
    #[error("still running {after_seconds} s after the stop: {}", .tasks.join(", "))]
    Unfinished {
        /// Their names.
        tasks: Vec<&'static str>,
        /// How long they were given.
        after_seconds: u64,
    },
}

/// What a task may end with: nothing, or a result whose error ends the process.
pub trait TaskOutcome {
    /// The error, if this is one.
    fn into_result(self) -> Result<(), BoxError>;
}

impl TaskOutcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> TaskOutcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

impl Process {
    /// A process that has just started. `name` is the subcommand that runs it; it labels what belongs to no one
    /// service.
    pub fn new(name: &'static str) -> Self {
        let stop = CancellationToken::new();
        Self(Arc::new(Shared {
            name,
            health: Health::new(stop.clone()),
            stop,
            metrics: Metrics::new(),
            tasks: TaskTracker::new(),
            running: Mutex::default(),
            failure: Mutex::default(),
        }))
    }

    /// The name it was started with.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Cancelled when the process should stop. Cancel it to stop the process in good order.
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// How the process says that it is alive and ready.
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// Where the process counts.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Stops the process on SIGTERM or SIGINT; a second one of either ends it at once.
    pub fn on_signals(&self) -> io::Result<()> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        tokio::spawn(stop_on_signals(self.stop().clone(), interrupt, terminate));
        Ok(())
    }

    /// Runs a task that the process cannot live without. If it returns an error or panics, liveness fails and the
    /// process stops with that failure. It should return soon after [`Process::stop`] is cancelled;
    /// [`Process::finish`] waits.
    pub fn spawn<F>(&self, task: &'static str, future: F)
    where
        F: Future<Output: TaskOutcome> + Send + 'static,
    {
        let process = self.clone();
        *lock(&self.0.running).entry(task).or_default() += 1;
        self.0.tasks.spawn(async move {
            let outcome = catch::panics(future).await;
            process.left(task);
            match outcome.map(TaskOutcome::into_result) {
                Ok(Ok(())) => {}
                Ok(Err(source)) => process.died(task, Failure::Task { task, source }),
                Err(message) => process.died(task, Failure::Panic { task, message }),
            }
        });
    }

    /// Stops the process because of `reason`, which [`Process::finish`] returns.
    pub fn fail(&self, reason: impl Into<BoxError>) {
        self.end(Failure::Reported(reason.into()));
    }

    /// Stops, waits for every task up to `deadline`, and says what went wrong first, if anything did.
    pub async fn finish(&self, deadline: Duration) -> Result<(), Failure> {
        self.0.stop.cancel();
        self.0.tasks.close();
        if timeout(deadline, self.0.tasks.wait()).await.is_err() {
            let tasks = lock(&self.0.running).keys().copied().collect();
            let after_seconds = deadline.as_secs();
            self.end(Failure::Unfinished { tasks, after_seconds });
        }
        lock(&self.0.failure).take().map_or(Ok(()), Err)
    }

    fn left(&self, task: &'static str) {
        let mut running = lock(&self.0.running);
        if let Some(count) = running.get_mut(task) {
            *count -= 1;
            if *count == 0 {
                running.remove(task);
            }
        }
    }

    fn died(&self, task: &'static str, failure: Failure) {
        self.0.health.task_died(task);
        self.end(failure);
    }

    /// The first failure is the one reported; what fails because of it is only logged.
    fn end(&self, failure: Failure) {
        let mut first = lock(&self.0.failure);
        match first.as_ref() {
            Some(_) => error!(error = &failure as &dyn std::error::Error, "failed while stopping"),
            None => *first = Some(failure),
        }
        drop(first);
        self.0.stop.cancel();
    }
}

async fn stop_on_signals(stop: CancellationToken, mut interrupt: Signal, mut terminate: Signal) {
    next_signal(&mut interrupt, &mut terminate).await;
    info!("stopping; a second signal ends the process at once");
    stop.cancel();
    let number = next_signal(&mut interrupt, &mut terminate).await;
    // What a shell reports for a process that a signal ended.
    exit(128 + number);
}

async fn next_signal(interrupt: &mut Signal, terminate: &mut Signal) -> i32 {
    tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
    }
}
