//! An image of the real program for the pods of tests, made without Docker and without a base image.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Folder;
use crate::cluster::output;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/image");

/// How long it may take: an unoptimised program of 90 MB takes 2 s on an idle machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// An image in a file, which is removed with this value.
#[derive(Debug)]
pub struct Image {
    name: String,
    archive: PathBuf,
    _folder: Folder,
}

/// Makes the image `localhost/ordersystem:<tag>` of the program `binary` and the libraries that it needs.
pub async fn build(binary: &Path, tag: &str) -> anyhow::Result<Image> {
    let folder = Folder::new("image")?;
    let name = format!("localhost/ordersystem:{tag}");
    let archive = folder.path().join("image.tar");
    let mut command = Command::new(SCRIPT);
    command.arg(binary).arg(&name).arg(&archive);
    output(command, "", DEADLINE).await?;
    Ok(Image { name, archive, _folder: folder })
}

impl Image {
    /// What a pod calls it: its `imagePullPolicy` is to be `IfNotPresent` or `Never`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The OCI archive, for [`Node::load`](crate::cluster::Node::load).
    pub fn archive(&self) -> &Path {
        &self.archive
    }
}
