//! The `ordersystem` program as a child process, to be used, watched and mistreated.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Folder, eventually, profile_dir};

/// The program that users start.
pub const ORDERSYSTEM: &str = "ordersystem";

/// The same with crash points, and with safeguards that can be left out; see `journal::faults`.
pub const ORDERSYSTEM_FAULTS: &str = "ordersystem-faults";

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// How long a program may take to end after SIGTERM: it finishes what it has begun, and stops a PostgreSQL of its own.
const TERMINATE_DEADLINE: Duration = Duration::from_secs(45);

/// How long the system may take to clear a killed process away.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A running `ordersystem <subcommand>` in a folder of its own. It is killed with this value; what it wrote is printed
/// then, which the test harness shows if the test failed.
#[derive(Debug)]
pub struct Program {
    name: String,
    command: Command,
    child: Child,
    /// Bytes of the log that are from before its last start.
    earlier: usize,
    folder: Folder,
}

impl Program {
    /// Starts `ordersystem <subcommand>` with the arguments and environment that `configure` adds.
    pub fn start(subcommand: &str, configure: impl FnOnce(&mut Command) -> &mut Command) -> anyhow::Result<Self> {
        Self::start_of(ORDERSYSTEM, subcommand, configure)
    }

    /// Like [`start`](Self::start), with another program that was built beside it.
    pub fn start_of(
        program: &str,
        subcommand: &str,
        configure: impl FnOnce(&mut Command) -> &mut Command,
    ) -> anyhow::Result<Self> {
        let folder = Folder::new(subcommand)?;
        let log = File::options().create(true).append(true).open(log_in(&folder))?;
        let mut command = Command::new(built(program)?);
        command
            .arg(subcommand)
            .current_dir(folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        configure(&mut command);
        Ok(Self { name: subcommand.to_owned(), child: command.spawn()?, command, earlier: 0, folder })
    }

    /// Starts it again after it has ended: the same command in the same folder.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?.is_some();
        ensure!(ended, "`{}` still runs", self.name);
        self.earlier = self.log().len();
        self.child = self.command.spawn()?;
        Ok(())
    }

    /// Sets a variable for its next starts, or takes it away.
    pub fn set(&mut self, variable: &str, value: Option<&str>) {
        match value {
            Some(value) => self.command.env(variable, value),
            None => self.command.env_remove(variable),
        };
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// What it has written since its last start.
    pub fn log_since_start(&self) -> String {
        self.log().get(self.earlier..).unwrap_or_default().to_owned()
    }

    /// Its folder, which it works in.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its id.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard output and standard error, over all its starts.
    pub fn log(&self) -> String {
        let log = std::fs::read(log_in(&self.folder)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Waits until it has written a line with `text` in it since its last start, and hands on that line. Fails at once
    /// if it ends without.
    pub async fn says(&mut self, text: &str, deadline: Duration) -> anyhow::Result<String> {
        let what = format!("`{}` says {text:?}", self.name);
        let said = eventually(deadline, &what, async || {
            // Asked first: what it wrote before its end is all there afterwards.
            let ended = self.child.try_wait()?;
            match (self.line_with(text), ended) {
                (Some(line), _) => Ok(Ok(line)),
                (None, Some(status)) => Ok(Err(status)),
                (None, None) => Err(anyhow::anyhow!("not yet")),
            }
        });
        said.await?.map_err(|status| anyhow::anyhow!("`{}` ended before it said {text:?}: {status}", self.name))
    }

    fn line_with(&self, text: &str) -> Option<String> {
        let log = self.log();
        let mut lines = log.get(self.earlier..)?.lines();
        lines.find(|line| line.contains(text)).map(str::to_owned)
    }

    /// Ends it as kill -9 does, and waits until it is gone.
    pub async fn kill_9(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.ended(KILL_DEADLINE).await.map(drop)
    }

    /// Asks it to end (SIGTERM), waits until it has, and hands on its status.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended(TERMINATE_DEADLINE).await
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let what = format!("`{}` ends", self.name);
        let ended = eventually(deadline, &what, async || self.child.try_wait()?.context("it still runs"));
        ended.await
    }

    /// Stops it in its tracks (SIGSTOP), until [`cont`](Self::cont).
    pub fn stop(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`stop`](Self::stop).
    pub fn cont(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("`{}` cannot be sent {signal:?}", self.name))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !IS_QUIET.load(Ordering::Relaxed) {
            eprintln!("--- log of `{}`\n{}---", self.name, self.log());
        }
    }
}

fn log_in(folder: &Folder) -> PathBuf {
    folder.path().join("log")
}

/// From now on no program prints its log in the end: it would be many thousands of lines.
pub fn keep_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// The program that was built in the same profile as this test.
pub fn executable() -> anyhow::Result<PathBuf> {
    built(ORDERSYSTEM)
}

fn built(program: &str) -> anyhow::Result<PathBuf> {
    let executable = profile_dir()?.join(program);
    ensure!(executable.is_file(), "{} is not built: `make test` builds it first", executable.display());
    Ok(executable)
}
