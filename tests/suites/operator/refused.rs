//! What cannot be is refused by the API server, and says why.

use anyhow::{Context, ensure};

use crate::site::{Site, file};

#[tokio::test]
async fn every_invalid_example_is_refused_with_its_message() -> anyhow::Result<()> {
    let site = Site::shared().await?;
    let namespace = site.namespace("postgres://nobody@localhost/nothing").await?;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/examples");
    let mut refused = 0;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let text = file(&format!("crds/examples/{name}"))?;
        let path = format!("{folder}/{name}");
        let answer = namespace.kubectl(&["apply", "--validate=strict", "--dry-run=server", "-f", &path]).await;
        let Some(message) = text.lines().next().and_then(|line| line.strip_prefix("# refused: ")) else {
            answer.with_context(|| format!("{name} is valid"))?;
            continue;
        };
        let error = answer.err().with_context(|| format!("{name} is taken"))?;
        ensure!(format!("{error:#}").contains(message), "{name}: not {message:?} but {error:#}");
        refused += 1;
    }
    ensure!(refused > 20, "only {refused} examples were found");
    ensure!(namespace.names("deployments").await?.is_empty(), "something was made");
    Ok(())
}

#[tokio::test]
async fn what_is_fixed_when_a_system_is_made_cannot_be_changed() -> anyhow::Result<()> {
    let (namespace, system, _database) = crate::site::made().await?;
    for (pointer, value, message) in [
        ("/spec/lanes", serde_json::json!(5), "lanes: cannot be changed"),
        ("/spec/kafka/topicPrefix", serde_json::json!("other"), "kafka.topicPrefix: cannot be changed"),
    ] {
        let mut changed = system.clone();
        *changed.pointer_mut(pointer).context("it is there")? = value;
        let error = namespace.apply(&changed).await.err().context("it is taken")?;
        ensure!(format!("{error:#}").contains(message), "{error:#}");
    }
    Ok(())
}
