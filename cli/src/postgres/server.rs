//! One running PostgreSQL: its settings, its start, and its end.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Error;
use super::account::Account;
use super::binaries::Programs;
use super::home::Home;
use super::memory::Kibibytes;
use super::write_back::WriteBack;

/// What differs from PostgreSQL's defaults, for many small transactions on a small machine. Given on the command line,
/// so that data made by an older version of this program gets them as well.
const SETTINGS: [(&str, &str); 15] = [
    // What was acknowledged survives a power cut.
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    // After a checkpoint every page's next change is logged as the whole page: have few of them.
    ("max_wal_size", "2GB"),
    ("checkpoint_timeout", "15min"),
    // Vacuum takes a quarter of a core while it works, and orders wait for it: with half of that, their p99 at 1,000 a second
    // is 8 ms higher meanwhile instead of 26. By its cost limit it still keeps up with some 2,700 a second.
    ("autovacuum_vacuum_cost_delay", "4ms"),
    // While a table is analysed no old version of any row goes, and a product's row has a few a second. With a tenth of the
    // sample it takes half a second instead of 4 to 13: after a million orders the stock is on 392 pages instead of 2,700.
    ("default_statistics_target", "10"),
    // Pressing those pages costs more than writing them.
    ("wal_compression", "off"),
    // The statements are short; compiling them costs more than running them.
    ("jit", "off"),
    // A replica of a service keeps up to thirty, and tests run twenty replicas on one server.
    ("max_connections", "500"),
    // A password over TCP is the one way in.
    ("unix_socket_directories", ""),
    // Its messages go to the file that it is started with, and `Failure` is told by them.
    ("logging_collector", "off"),
    ("lc_messages", "C"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
];

/// How often to look whether a process has ended: short beside the tenth of a second that it takes.
const POLL: Duration = Duration::from_millis(10);

/// A signal, and how long to wait for it to be obeyed before the next.
pub(super) type Step = (Signal, Duration);

/// Fast shutdown: sessions are cut and a checkpoint is written, which takes seconds for a gigabyte on a slow disk.
const FAST: Step = (Signal::INT, Duration::from_secs(30));

/// Immediate shutdown: no checkpoint, the next start replays the log. It takes milliseconds.
const IMMEDIATE: Step = (Signal::QUIT, Duration::from_secs(10));

/// What no process can ignore, unless it hangs in a disk's driver, where waiting longer does not help.
const CERTAIN: Step = (Signal::KILL, Duration::from_secs(5));

/// Ends a server in good order.
pub(super) const STOP: &[Step] = &[FAST, IMMEDIATE, CERTAIN];

/// Ends a server as a crash would.
pub(super) const CRASH: &[Step] = &[IMMEDIATE, CERTAIN];

/// Lines of its log that an error repeats: the last ones name the reason.
const LOG_LINES: usize = 12;

/// A child process that runs on the data of a folder. Dropping it stops it, which blocks for as long as [`STOP`] takes.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    home: Home,
    port: u16,
    _write_back: WriteBack,
}

impl Server {
    /// Starts it; it is not ready yet. Its process group is its own, so that Ctrl-C in a terminal reaches only us and
    /// we stop it after what uses it.
    pub(super) fn spawn(
        programs: &Programs,
        account: Account,
        home: &Home,
        also_listen: &[IpAddr],
        buffers: Kibibytes,
    ) -> Result<Self, Error> {
        let port = home.next_port()?;
        let log = new_log(home).map_err(Error::at(&home.log()))?;
        let mut command = account.command(&programs.postgres, home.dir());
        command.arg("-D").arg(home.data()).process_group(0);
        configure(&mut command, port, also_listen, buffers);
        let write_back = WriteBack::of(home.data()).map_err(Error::at(&home.data()))?;
        let child = log
            .try_clone()
            .and_then(|copy| command.stdout(copy).stderr(log).spawn())
            .map_err(Error::at(&programs.postgres))?;
        let home = home.clone();
        Ok(Self { child, home, port, _write_back: write_back })
    }

    /// The port it listens on.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The id of its first process.
    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Why it ended by itself, if it did.
    pub(super) fn failure(&mut self) -> Option<Failure> {
        let status = self.child.try_wait().ok().flatten()?;
        let log = fs::read_to_string(self.home.log()).unwrap_or_default();
        Some(Failure::of(status, &log))
    }

    /// Ends it by `steps` and waits until it is gone. It blocks its thread.
    pub(super) fn end(mut self, steps: &[Step]) -> Result<(), Error> {
        self.end_by(steps)
    }

    fn end_by(&mut self, steps: &[Step]) -> Result<(), Error> {
        let pid = Pid::from_child(&self.child);
        end(pid, steps, || !matches!(self.child.try_wait(), Ok(None)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end_by(STOP) {
            tracing::error!(%error, process = self.process_id(), "PostgreSQL was left running");
        }
    }
}

/// Ends the process `pid` by `steps`, until `gone` says that it is. It blocks its thread.
pub(super) fn end(pid: Pid, steps: &[Step], mut gone: impl FnMut() -> bool) -> Result<(), Error> {
    for (signal, patience) in steps {
        if gone() {
            return Ok(());
        }
        // It may end between the question and the signal, which is what is wanted.
        let _ = kill_process(pid, *signal);
        let deadline = Instant::now() + *patience;
        while !gone() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }
    if gone() { Ok(()) } else { Err(Error::Stop { process: pid.as_raw_pid() }) }
}

/// Why a server ended by itself.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// Its status and the end of its log.
    pub(super) words: String,
}

/// Whether another start may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// At another port: a program was quicker to listen on this one.
    PortTaken,
    /// In a moment: sessions of a server that was killed have yet to notice it.
    SessionsLeft,
    /// No.
    Lasting,
}

impl Failure {
    fn of(status: ExitStatus, log: &str) -> Self {
        let kind = if log.contains("could not create any TCP/IP sockets") {
            FailureKind::PortTaken
        } else if log.contains("pre-existing shared memory block") {
            FailureKind::SessionsLeft
        } else {
            FailureKind::Lasting
        };
        let words = format!("{status}\n{}", last_lines(log));
        Self { kind, words }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// An empty log, ours alone because it repeats statements that fail. That of the start before is kept beside it: two
/// starts bound its size, and a crash can be read after the restart.
fn new_log(home: &Home) -> io::Result<File> {
    let log = home.log();
    if log.exists() {
        fs::rename(&log, log.with_extension("before"))?;
    }
    File::options().write(true).create_new(true).mode(0o600).open(log)
}

fn configure(command: &mut Command, port: u16, also_listen: &[IpAddr], buffers: Kibibytes) {
    let listen: Vec<_> = std::iter::once(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .chain(also_listen.iter().copied())
        .map(|address| address.to_string())
        .collect();
    let own = [
        ("port", port.to_string()),
        ("listen_addresses", listen.join(",")),
        ("shared_buffers", format!("{buffers}kB")),
    ];
    let fixed = SETTINGS.map(|(name, value)| (name, value.to_owned()));
    for (name, value) in fixed.into_iter().chain(own) {
        command.arg("-c").arg(format!("{name}={value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn failure(log: &str) -> Failure {
        Failure::of(ExitStatus::from_raw(1 << 8), log)
    }

    #[test]
    fn a_port_that_another_program_took_is_told_from_other_failures() {
        let log = "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use\n\
            FATAL:  could not create any TCP/IP sockets\n";
        assert_eq!(failure(log).kind, FailureKind::PortTaken);
    }

    #[test]
    fn sessions_of_a_killed_server_are_told_from_other_failures() {
        let log = "FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use\n";
        assert_eq!(failure(log).kind, FailureKind::SessionsLeft);
    }

    #[test]
    fn any_other_failure_repeats_the_end_of_the_log() {
        let lines: Vec<_> = (0..100).map(|line| format!("line {line}")).collect();
        let log = lines.join("\n");
        let Failure { kind, words } = failure(&log);
        assert_eq!(kind, FailureKind::Lasting);
        assert!(words.starts_with("exit status: 1"), "{words}");
        assert!(words.ends_with("line 98\nline 99"), "{words}");
        assert_eq!(words.lines().count(), 1 + LOG_LINES);
    }
}
