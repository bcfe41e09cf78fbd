//! PostgreSQL's first process as `postmaster.pid` tells of it: whether one still runs that an earlier owner left behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use super::Error;
use super::home::Home;

/// The process that runs on the data of `home`, if there is one.
pub(super) fn running(home: &Home) -> Option<Pid> {
    let written = fs::read_to_string(pid_file(home)).ok()?;
    let pid = Pid::from_raw(pid_in(&written)?)?;
    runs_on(pid, &home.data()).then_some(pid)
}

/// Puts our own id into a `postmaster.pid` that nobody removed: PostgreSQL trusts that its parent is not another
/// PostgreSQL, whereas the id left there may be some other program's by now. The rest of the file stays, because
/// PostgreSQL reads from it whether sessions of the dead server still use the data.
pub(super) fn disown(home: &Home) -> Result<(), Error> {
    let path = pid_file(home);
    let disowned = match fs::read_to_string(&path) {
        Ok(written) => fs::write(&path, with_pid(&written, std::process::id())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    disowned.map_err(Error::at(&path))
}

fn pid_file(home: &Home) -> PathBuf {
    home.data().join("postmaster.pid")
}

fn pid_in(written: &str) -> Option<i32> {
    written.lines().next()?.trim().parse().ok()
}

fn with_pid(written: &str, pid: u32) -> String {
    let rest = written.split_once('\n').map_or("", |(_, rest)| rest);
    format!("{pid}\n{rest}")
}

/// Whether `pid` is alive and works in `data`, as PostgreSQL does. Ids are reused, so being alive says nothing; where
/// the system does not tell a process's folder, it has to do.
fn runs_on(pid: Pid, data: &Path) -> bool {
    if test_kill_process(pid).is_err() {
        return false;
    }
    match fs::read_link(format!("/proc/{}/cwd", pid.as_raw_pid())) {
        Ok(folder) => folder == data,
        Err(_) => !Path::new("/proc/self/cwd").exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "1234\n/data\n1700000000\n5432\n\n127.0.0.1\n  1045 7\nready\n";

    #[test]
    fn the_process_id_is_the_first_line() {
        assert_eq!(pid_in(WRITTEN), Some(1234));
        assert_eq!(pid_in(""), None);
        assert_eq!(pid_in("not a number\n"), None);
    }

    #[test]
    fn a_disowned_file_keeps_what_follows_the_process_id() {
        let disowned = with_pid(WRITTEN, 77);
        assert_eq!(pid_in(&disowned), Some(77));
        assert_eq!(disowned.split_once('\n').map(|(_, rest)| rest), WRITTEN.split_once('\n').map(|(_, rest)| rest));
    }

    #[test]
    fn a_living_process_that_works_elsewhere_is_not_a_postgresql() {
        let ourselves = Pid::from_raw(std::process::id().cast_signed()).expect("a process id");
        assert!(!runs_on(ourselves, Path::new("/nowhere")));
    }
}
