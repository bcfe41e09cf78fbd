//! PostgreSQL's data folder, made once by its own `initdb`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::binaries::Programs;
use super::home::{Home, write_secret};
use super::{Error, USER};

/// Who may connect: whoever knows the password, at any address the server listens on.
const HOST_BASED_AUTHENTICATION: &str = "host all all all scram-sha-256\n";

/// Makes the data folder of `home`. It is renamed into place when it is complete, so a half-made one is never started.
pub(super) async fn create(programs: &Programs, account: Account, home: &Home) -> Result<(), Error> {
    let new = home.dir().join("data.new");
    let password = PasswordFile::create(home, account)?;
    prepare(&new, account).map_err(Error::at(&new))?;
    initdb(programs, account, &new, &password.0).await?;
    let publish = || {
        fs::write(new.join("pg_hba.conf"), HOST_BASED_AUTHENTICATION)?;
        fs::rename(&new, home.data())
    };
    publish().map_err(Error::at(&new))
}

fn prepare(new: &Path, account: Account) -> io::Result<()> {
    absent(fs::remove_dir_all(new))?;
    fs::create_dir(new)?;
    account.take(new)
}

/// The size of a file of PostgreSQL's log, in MiB. Until the log goes round, each is filled with zeros when it is begun
/// (without `wal_init_zero` every flush takes half as long again), and every commit waits meanwhile. At 1,000 orders a second
/// the slowest hundredth took 114 ms to settle with the 16 MiB that PostgreSQL has by default, 77 with 4, and 90 with 1.
const LOG_FILE_MIB: u32 = 4;

async fn initdb(programs: &Programs, account: Account, new: &Path, password: &Path) -> Result<(), Error> {
    let home = new.parent().unwrap_or(new);
    let mut initdb = account.command(&programs.initdb, home);
    initdb
        .args(["--encoding=UTF8", "--locale=C", "--data-checksums"])
        .args(["--auth=scram-sha-256", "--username", USER])
        .arg(format!("--wal-segsize={LOG_FILE_MIB}"))
        .args([OsStr::new("--pwfile"), password.as_os_str()])
        .args([OsStr::new("--pgdata"), new.as_os_str()]);
    let output =
        tokio::process::Command::from(initdb).kill_on_drop(true).output().await.map_err(Error::at(&programs.initdb))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::CreateData { reason })
}

/// The password in a file that the account of PostgreSQL can read, for as long as `initdb` needs it.
struct PasswordFile(PathBuf);

impl PasswordFile {
    fn create(home: &Home, account: Account) -> Result<Self, Error> {
        let file = Self(home.dir().join("data.new.password"));
        let password = home.password()?;
        let write = || {
            absent(fs::remove_file(&file.0))?;
            write_secret(&file.0, &password)?;
            account.take(&file.0)
        };
        write().map_err(Error::at(&file.0))?;
        Ok(file)
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        // If it cannot be removed it stays readable by PostgreSQL's account alone, and the next start removes it.
        let _ = fs::remove_file(&self.0);
    }
}

/// What was to be removed is gone, whether or not it was there.
fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
