//! Whom PostgreSQL runs as: ourselves, or another account when we are root, which PostgreSQL refuses to run as.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Error;
use super::home::Home;

/// Accounts to run as when we are root, the best first: both exist on nearly every system and own nothing of ours.
const STAND_INS: [&str; 2] = ["postgres", "nobody"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// The account of this process.
    Own,
    /// Another one, because we are root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// The account for the PostgreSQL below `data_dir`: the owner of its data if there is data, so that an account
    /// installed later changes nothing.
    pub(super) fn choose(data_dir: &Path) -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        match Home::find(data_dir).and_then(|home| fs::metadata(home.data()).ok()) {
            Some(owner) if owner.uid() != 0 => Ok(Self::Other { uid: owner.uid(), gid: owner.gid() }),
            _ => Self::stand_in(),
        }
    }

    fn stand_in() -> Result<Self, Error> {
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        STAND_INS.iter().find_map(|name| find(&accounts, name)).ok_or(Error::NoAccount)
    }

    /// A command that runs `program` as this account in `dir`, deaf to the caller's `PG…` settings and locale.
    pub(super) fn command(self, program: &Path, dir: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(dir).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_libpq_setting(name)) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C");
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes `path` this account's own.
    pub(super) fn take(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// Whether this account can enter `dir`: asked of the system itself, which knows every kind of permission.
    pub(super) fn reaches(self, dir: &Path) -> bool {
        self == Self::Own
            || self
                .command(Path::new("/bin/sh"), Path::new("/"))
                .args([OsStr::new("-c"), OsStr::new("cd \"$0\" 2>/dev/null"), dir.as_os_str()])
                .status()
                .is_ok_and(|status| status.success())
    }
}

fn is_libpq_setting(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"PG")
}

/// The ids of account `name` in the text of `/etc/passwd`; root under another name does not count.
fn find(accounts: &str, name: &str) -> Option<Account> {
    let mut fields = accounts
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?
        .skip(1);
    let uid = fields.next()?.parse().ok().filter(|uid| *uid != 0)?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account::Other { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/bash\n\
        toor:x:0:0::/root:/bin/sh\n\
        nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n\
        broken\n";

    #[test]
    fn an_account_is_found_with_its_group() {
        assert_eq!(find(ACCOUNTS, "nobody"), Some(Account::Other { uid: 65534, gid: 65533 }));
    }

    #[test]
    fn an_absent_or_broken_or_root_account_is_not_found() {
        for name in ["postgres", "broken", "root", "toor", ""] {
            assert_eq!(find(ACCOUNTS, name), None, "{name}");
        }
    }
}
