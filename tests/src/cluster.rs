//! A real Kubernetes for tests: a whole node, or only its control plane.

mod command;
mod site;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

pub(crate) use command::output;
pub use site::{DEADLINE, Site, System, TAGS};

use crate::{Folder, profile_dir};

/// The program that starts and stops it, which can also be used by hand.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/cluster");

/// How long a start may take: the very first builds Kubernetes, which takes 17 minutes on two busy cores.
const UP_DEADLINE: Duration = Duration::from_mins(30);

/// How long an image may take to be taken in: 40 MB take a second on an idle machine.
const LOAD_DEADLINE: Duration = Duration::from_mins(1);

/// How long `kubectl` or `helm` may take, what it waits for included.
const COMMAND_DEADLINE: Duration = Duration::from_mins(3);

/// A Kubernetes of a test's own. It ends with this value, with all that runs on it. Any number of them run side by side.
#[derive(Debug)]
pub struct Node {
    kubeconfig: PathBuf,
    host: Option<Ipv4Addr>,
    folder: Folder,
}

impl Node {
    /// A whole node, which runs pods, and which needs root.
    pub async fn up() -> anyhow::Result<Self> {
        Self::start(&["up"]).await
    }

    /// Only the API server and the controllers: whatever is applied is stored and owned, but no pod ever runs. It starts
    /// in a few seconds and does not need root.
    pub async fn control_plane() -> anyhow::Result<Self> {
        Self::start(&["up", "--control-plane"]).await
    }

    async fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let folder = Folder::new("cluster")?;
        let mut up = script(&folder)?;
        up.args(arguments);
        let exports = output(up, "", UP_DEADLINE).await?;
        let kubeconfig = folder.path().join("run/kubeconfig");
        Ok(Self { kubeconfig, host: host(&exports)?, folder })
    }

    /// The file that tells clients where the API server is and lets them in as its administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// This machine's address for the node's pods: what listens on it can be reached by them. The address is there from
    /// the node's start to its end. In turn, pods and Services are reached from this machine by their own addresses.
    pub fn host(&self) -> anyhow::Result<Ipv4Addr> {
        self.host.context("a control plane has no pods that could reach this machine")
    }

    /// Its folder, with logs in `run/logs`.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Takes in an image, such as [`image::build`](crate::image::build) makes, so that pods can run it.
    pub async fn load(&self, archive: &Path) -> anyhow::Result<()> {
        let mut load = script(&self.folder)?;
        load.arg("load").arg(archive);
        output(load, "", LOAD_DEADLINE).await.map(drop)
    }

    /// What `kubectl` prints.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run("kubectl", arguments, "").await
    }

    /// Applies manifests, given as YAML or JSON, and hands on what `kubectl` prints.
    pub async fn apply(&self, manifests: &str) -> anyhow::Result<String> {
        self.run("kubectl", &["apply", "--filename=-"], manifests).await
    }

    /// What `helm` prints.
    pub async fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run("helm", arguments, "").await
    }

    async fn run(&self, program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = Command::new(programs()?.join(program));
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig);
        // Helm keeps its cache and settings with the node, not in the home of who runs the tests.
        command.env("HELM_CACHE_HOME", self.folder.path().join("helm"));
        command.env("HELM_CONFIG_HOME", self.folder.path().join("helm"));
        command.env("HELM_DATA_HOME", self.folder.path().join("helm"));
        output(command, input, COMMAND_DEADLINE).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // If this fails, the watchdog ends it.
        let _ = script(&self.folder).map(|mut down| down.arg("down").stderr(Stdio::null()).status());
    }
}

/// Where `kubectl`, `helm` and the parts of the node are, once a node has been started.
pub fn programs() -> anyhow::Result<PathBuf> {
    let profile = profile_dir()?;
    let target = profile.parent().context("a profile's folder lies in `target`")?;
    Ok(target.join("cluster/bin"))
}

fn script(folder: &Folder) -> anyhow::Result<Command> {
    let mut command = Command::new(SCRIPT);
    command.env("CLUSTER_DIR", folder.path()).env("CLUSTER_BIN", programs()?).stdin(Stdio::null());
    Ok(command)
}

/// Reads the address out of what `cluster up` prints for a shell.
fn host(exports: &str) -> anyhow::Result<Option<Ipv4Addr>> {
    let written = exports.lines().find_map(|line| line.strip_prefix("export CLUSTER_HOST="));
    let address = written.and_then(|value| value.split_whitespace().next()).map(str::parse);
    address.transpose().with_context(|| format!("`cluster up` tells no address: {exports}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_tells_the_address_of_this_machine() {
        let exports = "export KUBECONFIG='/tmp/node/run/kubeconfig'\nexport CLUSTER_HOST=10.200.255.1 # this machine\n";
        assert_eq!(host(exports).expect("an address"), Some(Ipv4Addr::new(10, 200, 255, 1)));
    }

    #[test]
    fn a_control_plane_tells_no_address() {
        assert_eq!(host("export KUBECONFIG='/tmp/node/run/kubeconfig'\n").expect("no address"), None);
    }

    #[test]
    fn an_address_that_is_none_is_an_error() {
        host("export CLUSTER_HOST=nowhere\n").expect_err("it is no address");
    }
}
