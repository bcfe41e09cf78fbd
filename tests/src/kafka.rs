//! A real Kafka broker for tests.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::sync::OnceCell;

use crate::{Folder, profile_dir};

/// The program that starts and stops it, which can also be used by hand.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/kafka");

/// How long it may take: at the very first start its 43 MB, Java and Maven are fetched too.
const DEADLINE: Duration = Duration::from_mins(10);

static SHARED: OnceCell<Kafka> = OnceCell::const_new();

/// A broker. It ends with this value, and its data goes with it.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    pod_address: Option<Ipv4Addr>,
    folder: Folder,
}

impl Kafka {
    /// The broker that the tests of this process share: not to be killed. Topics are told apart by
    /// [`unique_name`](crate::unique_name).
    pub async fn shared() -> anyhow::Result<&'static Self> {
        SHARED.get_or_try_init(Self::start).await
    }

    /// A broker of a test's own, which may kill it.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_at(None).await
    }

    /// A broker of a test's own that pods reach as well: it listens on this machine's `address` for them, which is
    /// [`Node::host`](crate::cluster::Node::host), and on no other.
    pub async fn start_for_pods(address: Ipv4Addr) -> anyhow::Result<Self> {
        Self::start_at(Some(address)).await
    }

    async fn start_at(pod_address: Option<Ipv4Addr>) -> anyhow::Result<Self> {
        let folder = Folder::new("kafka")?;
        let bootstrap = run("up", folder.path(), pod_address).await?;
        Ok(Self { bootstrap, pod_address, folder })
    }

    /// Its address for clients, `ADDRESS:PORT`, which is the same after every start.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Its folder, with `data` and `log` in it.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Ends it with kill -9.
    pub async fn kill(&self) -> anyhow::Result<()> {
        run("kill", self.folder.path(), self.pod_address).await.map(drop)
    }

    /// Stops it in good order.
    pub async fn stop(&self) -> anyhow::Result<()> {
        run("down", self.folder.path(), self.pod_address).await.map(drop)
    }

    /// Starts it again on its data, at its address.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        let bootstrap = run("up", self.folder.path(), self.pod_address).await?;
        ensure!(bootstrap == self.bootstrap, "another program took its port: it is now at {bootstrap}");
        Ok(())
    }

    /// The id of its process, for signals.
    pub fn process_id(&self) -> anyhow::Result<i32> {
        let written = std::fs::read_to_string(self.folder.path().join("pid"))?;
        Ok(written.trim().parse()?)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Its data goes too, so there is nothing to stop in good order. If this fails, the watchdog ends it.
        let _ = command("kill", self.folder.path(), self.pod_address).map(|mut kill| kill.status());
    }
}

/// What `kafka <verb>` prints.
async fn run(verb: &str, folder: &Path, pod_address: Option<Ipv4Addr>) -> anyhow::Result<String> {
    let output = tokio::process::Command::from(command(verb, folder, pod_address)?).kill_on_drop(true).output();
    let output = tokio::time::timeout(DEADLINE, output)
        .await
        .with_context(|| format!("`kafka {verb}` is not done after {DEADLINE:?}"))??;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        bail!("`kafka {verb}` failed: {words}{log}");
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn command(verb: &str, folder: &Path, pod_address: Option<Ipv4Addr>) -> anyhow::Result<Command> {
    let target = profile_dir()?;
    let target = target.parent().context("a profile's folder lies in `target`")?;
    let mut command = Command::new(SCRIPT);
    command.arg(verb).env("KAFKA_DIR", folder).env("KAFKA_LIBS", target.join("kafka/libs")).stdin(Stdio::null());
    if let Some(address) = pod_address {
        command.env("KAFKA_POD_IP", address.to_string());
    }
    Ok(command)
}
