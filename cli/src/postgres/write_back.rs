//! Has the system write what PostgreSQL left to it, before it is a burst that commits wait behind.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// PostgreSQL 15 has every new page of a table written by the system, and Linux writes what has been waiting for 30 s
/// (`vm.dirty_expire_centisecs`), all at once: at 1,000 orders a second 400 MB, and for a fifth of a second every commit
/// waits. Once a second it is 15 MB, and one order in a thousand takes 83 ms instead of 200.
const INTERVAL: Duration = Duration::from_secs(1);

/// Writes back until it is dropped, which blocks for as long as one write takes.
#[derive(Debug)]
pub(super) struct WriteBack {
    /// Nothing is sent: the thread hears that the sender is gone.
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl WriteBack {
    /// Begins with the file system that `dir` is on. The error is that of a thread that cannot be started.
    pub(super) fn of(dir: PathBuf) -> io::Result<Self> {
        let (ended, end) = mpsc::channel();
        let work = move || {
            while end.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // Whoever needs it written says so itself and hears of it; this is only to have it done early.
                let _ = write_back(&dir);
            }
        };
        let thread = thread::Builder::new().name("write-back".to_owned()).spawn(work)?;
        Ok(Self { thread: Some((ended, thread)) })
    }
}

impl Drop for WriteBack {
    fn drop(&mut self) {
        if let Some((ended, thread)) = self.thread.take() {
            drop(ended);
            let _ = thread.join();
        }
    }
}

/// The folder is opened anew each time, as an open one keeps its volume from being unmounted.
#[cfg(target_os = "linux")]
fn write_back(dir: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(dir)?).map_err(io::Error::from)
}

/// Only Linux has the call, and it is Linux whose burst it prevents.
#[cfg(not(target_os = "linux"))]
fn write_back(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_written_back_and_one_that_is_gone_is_no_harm() {
        let dir = std::env::temp_dir();
        assert!(write_back(&dir).is_ok());
        assert!(write_back(&dir.join("there is no such folder")).is_err());
        drop(WriteBack::of(dir.join("there is no such folder")));
    }
}
