//! The folder of one PostgreSQL: its data, password, port, log, and the lock of whoever runs it.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::Error;
use super::account::Account;

/// Where the folder really is when we are root and its place is closed to the account PostgreSQL runs as, such as below
/// `/root`. The place then holds a link to it, and who removes the link removes this folder as well.
const ROOT_HOMES: &str = "/var/lib/ordersystem";

/// Others may pass through, as PostgreSQL's account must, but not look around.
const PASS_THROUGH: u32 = 0o711;

/// Bytes of the random password: 192 bits cannot be guessed.
const PASSWORD_BYTES: usize = 24;

/// The folder `postgres` below a data folder.
#[derive(Clone, Debug)]
pub(super) struct Home(PathBuf);

/// The right to run the PostgreSQL of a folder. The system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _held: File,
}

impl Home {
    /// The folder below `data_dir`, if a PostgreSQL has data there.
    pub(super) fn find(data_dir: &Path) -> Option<Self> {
        let home = Self(fs::canonicalize(place(data_dir)).ok()?);
        home.data().is_dir().then_some(home)
    }

    /// The folder below `data_dir`, created if need be where `account` can enter it.
    pub(super) fn prepare(data_dir: &Path, account: Account) -> Result<Self, Error> {
        let place = place(data_dir);
        let prepared = || {
            create(data_dir)?;
            if fs::symlink_metadata(&place).is_err() {
                create_home(data_dir, &place, account)?;
            }
            fs::canonicalize(&place)
        };
        prepared().map(Self).map_err(Error::at(&place))
    }

    /// Takes the right to run its PostgreSQL, or says who has it.
    pub(super) fn lock(&self) -> Result<Lock, Error> {
        let path = self.0.join("lock");
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::at(&path))?;
        match lock.try_lock() {
            Ok(()) => sign(lock).map_err(Error::at(&path)),
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                lock.read_to_string(&mut owner).map_err(Error::at(&path))?;
                let dir = self.0.clone();
                Err(Error::InUse { dir, owner })
            }
            Err(TryLockError::Error(error)) => Err(Error::at(&path)(error)),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    /// PostgreSQL's own data folder; complete whenever it exists.
    pub(super) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// What PostgreSQL writes to its standard streams.
    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The major version that wrote the data, if there is data.
    pub(super) fn major(&self) -> Option<u32> {
        let version = fs::read_to_string(self.data().join("PG_VERSION")).ok()?;
        version.trim().parse().ok()
    }

    /// The password of its one user, made up at the first start and readable by us alone.
    pub(super) fn password(&self) -> Result<String, Error> {
        let path = self.0.join("password");
        let kept = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => keep_new_password(&path),
            read => read,
        };
        kept.map_err(Error::at(&path))
    }

    /// The port it last listened on.
    pub(super) fn last_port(&self) -> Option<u16> {
        fs::read_to_string(self.port_file()).ok()?.parse().ok()
    }

    /// A free port, the last one if possible so that who knows its address finds it again; else of the kernel's choice.
    pub(super) fn next_port(&self) -> Result<u16, Error> {
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr();
        let address = self.last_port().and_then(|port| free(port).ok()).map_or_else(|| free(0), Ok);
        let keep = |port: u16| fs::write(self.port_file(), port.to_string()).map(|()| port);
        address.and_then(|address| keep(address.port())).map_err(Error::at(&self.port_file()))
    }

    /// Forgets the port, because another program was quicker to listen on it.
    pub(super) fn forget_port(&self) -> Result<(), Error> {
        fs::remove_file(self.port_file()).map_err(Error::at(&self.port_file()))
    }

    fn port_file(&self) -> PathBuf {
        self.0.join("port")
    }
}

/// Where a data folder's PostgreSQL has its folder.
fn place(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres")
}

fn create(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(PASS_THROUGH))
}

fn create_home(data_dir: &Path, place: &Path, account: Account) -> io::Result<()> {
    if account.reaches(&fs::canonicalize(data_dir)?) {
        return create(place);
    }
    let elsewhere = Path::new(ROOT_HOMES).join(random_hex()?);
    create(Path::new(ROOT_HOMES))?;
    create(&elsewhere)?;
    tracing::info!(
        place = %place.display(),
        data = %elsewhere.display(),
        "PostgreSQL does not run as root and its account cannot enter this folder, so its data is kept elsewhere"
    );
    symlink(&elsewhere, place)
}

/// Writes our process id into the lock, for the message of whoever finds it taken.
fn sign(mut file: File) -> io::Result<Lock> {
    file.set_len(0)?;
    write!(file, "{}", std::process::id())?;
    Ok(Lock { _held: file })
}

fn keep_new_password(path: &Path) -> io::Result<String> {
    let password = random_hex()?;
    write_secret(path, &password)?;
    Ok(password)
}

/// Writes a file that nobody but its owner may read.
pub(super) fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; PASSWORD_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(hex.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let home = Home(dir.path().to_path_buf());
        (dir, home)
    }

    #[test]
    fn the_password_is_made_up_once_and_is_ours_alone() {
        let (dir, home) = home();
        let first = home.password().expect("a new password");
        assert_eq!(home.password().expect("the kept password"), first);
        assert_eq!(first.len(), 2 * PASSWORD_BYTES);
        let kept = fs::metadata(dir.path().join("password")).expect("the password's file");
        assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_last_port_is_taken_again_if_it_is_free() {
        let (_dir, home) = home();
        let first = home.next_port().expect("a port");
        assert_eq!(home.next_port().expect("the same port"), first);
        let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).expect("the port is free");
        assert_ne!(home.next_port().expect("another port"), first);
    }

    #[test]
    fn a_folder_has_one_owner_and_a_second_is_told_who_it_is() {
        let (_dir, home) = home();
        let lock = home.lock().expect("nobody has it");
        let Err(Error::InUse { owner, .. }) = home.lock() else {
            panic!("a second owner was let in");
        };
        assert_eq!(owner, std::process::id().to_string());
        drop(lock);
        home.lock().expect("it was given back");
    }

    #[test]
    fn a_folder_without_data_is_not_found() {
        let (dir, _home) = home();
        assert!(Home::find(dir.path()).is_none());
    }
}
