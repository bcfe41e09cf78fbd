//! A folder of its own for everything that a test starts.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, anyhow};

use crate::watchdog::Watchdog;

/// Others may pass through, as the account must that PostgreSQL runs as when we are root.
const PASS_THROUGH: u32 = 0o711;

/// The folder of this test process, and who removes it afterwards.
static ALL: OnceLock<Result<(PathBuf, Watchdog), String>> = OnceLock::new();

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A folder that is removed with this value. A process that works in it, or below, ends with the test process.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder, with `name` in its path for who looks at what runs.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = all()?.join(format!("{name}-{number}"));
        create(&path).with_context(|| format!("no folder for a test: {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now, because something still writes to it, the watchdog removes in the end.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn all() -> anyhow::Result<&'static Path> {
    let all = ALL.get_or_init(|| watched().map_err(|error| format!("{error:#}")));
    let (path, _watchdog) = all.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok(path)
}

fn watched() -> anyhow::Result<(PathBuf, Watchdog)> {
    let path = tempfile::Builder::new()
        .prefix("ordersystem-tests-")
        .permissions(Permissions::from_mode(PASS_THROUGH))
        .tempdir()?
        .keep();
    // Processes tell their folder by its real path.
    let path = fs::canonicalize(path)?;
    let watchdog = Watchdog::over(&path)?;
    Ok((path, watchdog))
}

fn create(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(PASS_THROUGH))
}
