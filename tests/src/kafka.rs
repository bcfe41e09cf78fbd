//! A real Kafka broker for tests.

mod fenced;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::sync::OnceCell;

use crate::{Folder, profile_dir};

pub use fenced::FencedKafka;

/// The program that starts and stops it, which can also be used by hand.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/kafka");

/// How long it may take: at the very first start its 43 MB, Java and Maven are fetched too.
const DEADLINE: Duration = Duration::from_mins(10);

/// Who may use a broker that wants a log-in, with SCRAM-SHA-512.
pub const USER: &str = "shop";
/// The password of [`USER`].
pub const PASSWORD: &str = "correct horse battery staple";

static SHARED: OnceCell<Kafka> = OnceCell::const_new();
static SECURED: OnceCell<Kafka> = OnceCell::const_new();

/// A broker. It ends with this value, and its data goes with it.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    door: Door,
    folder: Folder,
}

/// How clients get in.
#[derive(Clone, Copy, Debug, Default)]
struct Door {
    /// The address that pods reach it at.
    pod_address: Option<Ipv4Addr>,
    /// Whether they speak TLS and log in.
    is_secured: bool,
    /// The port that they are sent to, if it is not the broker's own.
    proxy: Option<u16>,
}

impl Kafka {
    /// The broker that the tests of this process share: not to be killed. Topics are told apart by
    /// [`unique_name`](crate::unique_name).
    pub async fn shared() -> anyhow::Result<&'static Self> {
        SHARED.get_or_try_init(Self::start).await
    }

    /// Like [`shared`](Self::shared), but its clients speak TLS and log in, as [`USER`] with [`PASSWORD`].
    pub async fn secured() -> anyhow::Result<&'static Self> {
        SECURED.get_or_try_init(|| Self::start_with(Door { is_secured: true, ..Door::default() })).await
    }

    /// A broker of a test's own, which may kill it.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Door::default()).await
    }

    /// A broker of a test's own that pods reach as well: it listens on this machine's `address` for them, which is
    /// [`Node::host`](crate::cluster::Node::host), and on no other.
    pub async fn start_for_pods(address: Ipv4Addr) -> anyhow::Result<Self> {
        Self::start_with(Door { pod_address: Some(address), ..Door::default() }).await
    }

    /// A broker of a test's own, in a folder that may be a volume of its own, whose clients are sent to another `port` of
    /// this machine. [`bootstrap`](Self::bootstrap) is its own address still, which the proxy leads to.
    pub async fn start_behind(port: u16, folder: Folder) -> anyhow::Result<Self> {
        Self::start_in(folder, Door { proxy: Some(port), ..Door::default() }).await
    }

    async fn start_with(door: Door) -> anyhow::Result<Self> {
        Self::start_in(Folder::new("kafka")?, door).await
    }

    async fn start_in(folder: Folder, door: Door) -> anyhow::Result<Self> {
        let bootstrap = run("up", folder.path(), door).await?;
        Ok(Self { bootstrap, door, folder })
    }

    /// Its address for clients, `ADDRESS:PORT`, which is the same after every start.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// An address of a broker [behind](Self::start_behind) a proxy that leads past it, for a test's own clients.
    pub fn side_door(&self) -> anyhow::Result<String> {
        let ports = std::fs::read_to_string(self.folder.path().join("ports"))?;
        Ok(format!("127.0.0.1:{}", ports.split_whitespace().nth(2).context("it has three ports")?))
    }

    /// Whether its process runs.
    pub fn runs(&self) -> bool {
        let folder = self.process_id().and_then(|id| Ok(std::fs::read_link(format!("/proc/{id}/cwd"))?));
        folder.is_ok_and(|folder| folder == self.folder.path())
    }

    /// The authority of its certificate, PEM, if it speaks TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("tls/ca.crt")
    }

    /// Its folder, with `data` and `log` in it.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Ends it with kill -9.
    pub async fn kill(&self) -> anyhow::Result<()> {
        run("kill", self.folder.path(), self.door).await.map(drop)
    }

    /// Stops it in good order.
    pub async fn stop(&self) -> anyhow::Result<()> {
        run("down", self.folder.path(), self.door).await.map(drop)
    }

    /// Starts it again on its data, at its address.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        let bootstrap = run("up", self.folder.path(), self.door).await?;
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
        let _ = command("kill", self.folder.path(), self.door).map(|mut kill| kill.status());
    }
}

/// The certificate, PEM, of an authority that has signed nothing.
pub fn stranger() -> anyhow::Result<String> {
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-batch", "-subj", "/CN=stranger"];
    let output = Command::new("openssl").args(request).args(["-keyout", "/dev/null"]).output()?;
    ensure!(output.status.success(), "`openssl` failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// What `kafka <verb>` prints.
async fn run(verb: &str, folder: &Path, door: Door) -> anyhow::Result<String> {
    let output = tokio::process::Command::from(command(verb, folder, door)?).kill_on_drop(true).output();
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

fn command(verb: &str, folder: &Path, door: Door) -> anyhow::Result<Command> {
    let target = profile_dir()?;
    let target = target.parent().context("a profile's folder lies in `target`")?;
    let mut command = Command::new(SCRIPT);
    command.arg(verb).env("KAFKA_DIR", folder).env("KAFKA_LIBS", target.join("kafka/libs")).stdin(Stdio::null());
    if let Some(address) = door.pod_address {
        command.env("KAFKA_POD_IP", address.to_string());
    }
    if let Some(port) = door.proxy {
        command.env("KAFKA_PROXY_PORT", port.to_string());
    }
    if door.is_secured {
        command.env("KAFKA_LOGIN", format!("{USER}:{PASSWORD}"));
    }
    Ok(command)
}
