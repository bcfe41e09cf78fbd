//! Files that are generated, or that repeat what the code says, say what the code says.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// How the committed definition is made.
const HOW: &str = "run `cargo run -p ordersystem -- crd > crds/ordersystems.ordersystem.dev.yaml`, and copy it to \
                   charts/ordersystem-operator/crd.yaml";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_definition_of_an_order_system_is_current() -> anyhow::Result<()> {
    for path in ["crds/ordersystems.ordersystem.dev.yaml", "charts/ordersystem-operator/crd.yaml"] {
        let committed = fs::read_to_string(root().join(path)).unwrap_or_default();
        ensure!(committed == operator::crd(), "{path} is out of date: {HOW}");
    }
    Ok(())
}

#[test]
fn one_version_stands_everywhere() -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    for (path, line) in [
        ("Dockerfile", format!("ARG VERSION={version}")),
        ("compose.yaml", format!("localhost/ordersystem:{version}")),
        ("charts/ordersystem-operator/Chart.yaml", format!("appVersion: {version}")),
        ("charts/ordersystem/Chart.yaml", format!("appVersion: {version}")),
        ("crds/examples/production.yaml", format!("ordersystem:{version}")),
    ] {
        let text = fs::read_to_string(root().join(path)).context(path)?;
        ensure!(text.contains(&line), "{path} does not say `{line}`");
    }
    Ok(())
}
