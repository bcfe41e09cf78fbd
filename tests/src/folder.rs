//! A folder of its own for everything that a test starts.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, anyhow, ensure};

use crate::watchdog::Watchdog;

/// Others may pass through, as the account must that PostgreSQL runs as when we are root.
const PASS_THROUGH: u32 = 0o711;

/// The room of a volume: more than a test writes. It takes memory only as it is used.
const ROOMY: &str = "8g";

/// The folder of this test process, and who removes it afterwards.
static ALL: OnceLock<Result<(PathBuf, Watchdog), String>> = OnceLock::new();

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A folder that is removed with this value. A process that works in it, or below, ends with the test process.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether it is a volume of its own.
    mounted: bool,
}

impl Folder {
    /// A new folder, with `name` in its path for who looks at what runs.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = all()?.join(format!("{name}-{number}"));
        create(&path).with_context(|| format!("no folder for a test: {}", path.display()))?;
        Ok(Self { path, mounted: false })
    }

    /// A new folder that is a volume of its own, in memory, which can be full without anything else being so. It takes
    /// the right to mount.
    pub fn volume(name: &str) -> anyhow::Result<Self> {
        let mut folder = Self::new(name)?;
        let options = format!("size={ROOMY},mode={PASS_THROUGH:o}");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], &folder.path)?;
        folder.mounted = true;
        Ok(folder)
    }

    /// Leaves no more room on this volume than for `bytes` beside what is there.
    pub fn fill(&self, bytes: u64) -> anyhow::Result<()> {
        let volume = rustix::fs::statvfs(&self.path)?;
        let used = (volume.f_blocks - volume.f_bfree) * volume.f_frsize;
        mount(&["-o", &format!("remount,size={}", used + bytes)], &self.path)
    }

    /// Makes room again.
    pub fn make_room(&self) -> anyhow::Result<()> {
        mount(&["-o", &format!("remount,size={ROOMY}")], &self.path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now, because something still writes to it, the watchdog removes in the end.
        if self.mounted {
            let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn mount(arguments: &[&str], path: &Path) -> anyhow::Result<()> {
    let output = Command::new("mount").args(arguments).arg(path).output().context("there is no `mount`")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "a volume of its own takes the right to mount, as root has: {words}");
    Ok(())
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
