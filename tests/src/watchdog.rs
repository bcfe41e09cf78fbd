//! Nothing that a test started outlives the test process, not even one that is killed.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

use anyhow::Context;

const SCRIPT: &str = include_str!("watchdog.sh");

/// A shell that outlives us for a moment: when we end, the system closes our end of the pipe, which it waits for.
pub(crate) struct Watchdog {
    _pipe: ChildStdin,
}

impl Watchdog {
    /// Watches over `folder`, which lies for no other purpose. It is deaf to Ctrl-C, which ends us and not it.
    pub(crate) fn over(folder: &Path) -> anyhow::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("the tests need a shell, `sh`")?;
        let pipe = shell.stdin.take().context("its input is a pipe")?;
        Ok(Self { _pipe: pipe })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    use anyhow::ensure;

    use super::*;
    use crate::eventually;

    /// The script waits 15 s for what does not obey.
    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn what_works_in_the_folder_ends_with_its_owner() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside)?;
        let sleep = |dir: &Path| Command::new("sleep").arg("600").current_dir(dir).spawn();
        let mut kept = sleep(folder.path().parent().context("a folder around it")?)?;
        let mut watched = sleep(&inside)?;

        let watchdog = Watchdog::over(folder.path())?;
        ensure!(watched.try_wait()?.is_none(), "it ended before its owner");
        drop(watchdog);

        let ended = eventually(DEADLINE, "what works in the folder ends", async || {
            watched.try_wait()?.context("it still runs")
        });
        // Deaf to INT is who was started by a shell in its background.
        let asked = [rustix::process::Signal::INT, rustix::process::Signal::TERM].map(|signal| Some(signal.as_raw()));
        let signal = ended.await?.signal();
        assert!(asked.contains(&signal), "it was not asked to end: {signal:?}");
        eventually(DEADLINE, "the folder is gone", async || {
            ensure!(!folder.path().exists(), "it is there");
            Ok(())
        })
        .await?;
        ensure!(kept.try_wait()?.is_none(), "what works elsewhere was ended");
        kept.kill()?;
        kept.wait()?;
        Ok(())
    }
}
