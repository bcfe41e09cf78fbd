//! Which PostgreSQL: one on the PATH, or one fetched once and kept.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::home::Home;
use super::{Binaries, Error, fetch};

/// The oldest major version this system is tested on.
pub(super) const OLDEST_MAJOR: u32 = 15;

/// The major version that is fetched for new data.
const FETCHED_MAJOR: u32 = 18;

/// Where the fetched PostgreSQL is kept when we are root: the root account's home is closed to whom it runs as.
const ROOT_CACHE: &str = "/var/cache/ordersystem";

/// The two programs we run; PostgreSQL finds its libraries beside them.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) postgres: PathBuf,
    pub(super) initdb: PathBuf,
}

impl Programs {
    /// Both programs in `bin`, if both are there.
    pub(super) fn within(bin: &Path) -> Option<Self> {
        let [postgres, initdb] = ["postgres", "initdb"].map(|name| bin.join(name));
        (postgres.is_file() && initdb.is_file()).then_some(Self { postgres, initdb })
    }
}

/// Finds programs that can run the data of `home`, or make new data if there is none.
pub(super) async fn find(wanted: Binaries, account: Account, home: &Home) -> Result<Programs, Error> {
    let major = home.major();
    let installed = || std::env::var_os("PATH").and_then(|path| on_path(&path, major, account));
    let fetched = async || fetch::fetched(&cache_dir(account, home)?, major.unwrap_or(FETCHED_MAJOR)).await;
    match wanted {
        Binaries::Path => installed().ok_or(Error::NotOnPath { major }),
        Binaries::Fetched => fetched().await,
        Binaries::PathElseFetched => match installed() {
            Some(programs) => Ok(programs),
            None => fetched().await,
        },
    }
}

fn on_path(path: &std::ffi::OsStr, major: Option<u32>, account: Account) -> Option<Programs> {
    std::env::split_paths(path).filter_map(|dir| beside_each_other(&dir)).find(|programs| {
        version_of(&programs.postgres, account)
            .is_some_and(|found| major.map_or(found >= OLDEST_MAJOR, |major| found == major))
    })
}

/// The programs that `dir` offers. Debian and Homebrew link single programs into a folder of the PATH, so `initdb` is
/// looked for beside what `postgres` really is.
fn beside_each_other(dir: &Path) -> Option<Programs> {
    let real = fs::canonicalize(dir.join("postgres")).ok()?;
    Programs::within(real.parent()?)
}

/// The major version of `postgres`, if `account` may run it.
fn version_of(postgres: &Path, account: Account) -> Option<u32> {
    let output = account.command(postgres, Path::new("/")).arg("--version").output().ok()?;
    major_in(&String::from_utf8_lossy(&output.stdout))
}

/// The major version in a line such as `postgres (PostgreSQL) 15.16 (Debian 15.16-0+deb12u1)`.
fn major_in(line: &str) -> Option<u32> {
    let version = line.split_once("(PostgreSQL) ")?.1;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The first usable folder to keep the fetched PostgreSQL in: shared by every data folder, so that wiping one does not
/// mean fetching again; beside the data only if there is no other.
fn cache_dir(account: Account, home: &Home) -> Result<PathBuf, Error> {
    let usable = |dir: &PathBuf| create_open(dir).is_ok() && account.reaches(dir);
    if let Some(shared) = shared_cache(account).filter(usable) {
        return Ok(shared);
    }
    let beside = home.dir().join("cache");
    create_open(&beside).map_err(Error::at(&beside))?;
    Ok(beside)
}

fn shared_cache(account: Account) -> Option<PathBuf> {
    let chosen = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    match (chosen.filter(|dir| dir.is_absolute()), account) {
        (Some(dir), _) => Some(dir.join("ordersystem")),
        (None, Account::Other { .. }) => Some(PathBuf::from(ROOT_CACHE)),
        (None, Account::Own) => std::env::home_dir().map(|home| home.join(".cache/ordersystem")),
    }
}

/// Creates `dir` such that other accounts can enter it, whatever the umask.
fn create_open(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_vendors_line() {
        for (line, major) in [
            ("postgres (PostgreSQL) 15.16 (Debian 15.16-0+deb12u1)\n", 15),
            ("postgres (PostgreSQL) 18.0\n", 18),
            ("postgres (PostgreSQL) 19beta1\n", 19),
        ] {
            assert_eq!(major_in(line), Some(major), "{line}");
        }
    }

    #[test]
    fn what_is_not_a_version_is_none() {
        for line in ["", "postgres", "postgres (PostgreSQL) ", "postgres (PostgreSQL) devel"] {
            assert_eq!(major_in(line), None, "{line}");
        }
    }
}
