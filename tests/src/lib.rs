//! What the suites share: the real parts that they run on, and the tools to drive and watch them.
//!
//! Every test process has a folder of its own below the system's temporary folder, and a watchdog that ends whatever
//! works in it when the test process is gone, however it went. So two runs at once do not meet, and none leaves anything
//! behind. Every wait has a bound.

pub mod books;
pub mod borders;
pub mod cluster;
pub mod faults;
pub mod http;
pub mod image;
pub mod kafka;
pub mod postgres;
pub mod program;
pub mod random;
pub mod shop;
pub mod simulator;
pub mod system;
pub mod visit;

mod folder;
mod turn;
mod wait;
mod watchdog;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::Context;

pub use folder::Folder;
pub use turn::turn;
pub use wait::eventually;

/// A port that was free just now, of the kernel's choice.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// A name that no other test has, for what tests share a server for: topics, consumer groups.
pub fn unique_name() -> String {
    format!("test-{}", uuid::Uuid::now_v7().simple())
}

/// The folder `target/<profile>` that this test was built in.
pub fn profile_dir() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let deps = test.parent().context("a test executable lies in a folder")?;
    let profile = deps.parent().context("its folder lies in that of the profile")?;
    Ok(profile.to_path_buf())
}
