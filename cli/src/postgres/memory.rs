//! How much of this machine's memory PostgreSQL's buffers take.

use std::fs;
use std::path::Path;

/// 1,024 bytes, as `/proc/meminfo` counts.
pub(super) type Kibibytes = u64;

/// The buffers' share of the memory: the four services and the broker live beside them, and the system's own cache.
const SHARE: u64 = 8;

/// PostgreSQL's own default.
const LEAST: Kibibytes = 128 << 10;

/// Indexes on products and customers are written all over, and those of a million orders are half a gigabyte.
const MOST: Kibibytes = 1 << 20;

/// Room for [`SHARE`] of the memory that this process may have, between [`LEAST`] and [`MOST`]; it is taken as it is used.
pub(super) fn buffers() -> Kibibytes {
    buffers_of(Path::new("/"))
}

fn buffers_of(root: &Path) -> Kibibytes {
    let read = |file: &str| fs::read_to_string(root.join(file)).ok();
    let machine = read("proc/meminfo").and_then(|meminfo| field(&meminfo, "MemTotal"));
    // Of a container, where it has one: a number of bytes, or "max".
    let limit = read("sys/fs/cgroup/memory.max").and_then(|limit| Some(limit.trim().parse::<u64>().ok()? >> 10));
    let memory = machine.into_iter().chain(limit).min();
    (memory.unwrap_or_default() / SHARE).clamp(LEAST, MOST)
}

/// A field of `/proc/meminfo`, `proc_meminfo(5)`.
pub(super) fn field(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIBIBYTE: Kibibytes = 1 << 20;

    /// The buffers of a machine with so much memory, in a container that may have `limit`.
    fn buffers(memory: Kibibytes, limit: &str) -> Kibibytes {
        let root = tempfile::tempdir().expect("a folder can be made");
        for (file, text) in
            [("proc/meminfo", format!("MemTotal: {memory} kB\n")), ("sys/fs/cgroup/memory.max", limit.to_owned())]
        {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().expect("it is in a folder")).expect("one can be made in it");
            fs::write(file, text).expect("so can a file");
        }
        buffers_of(root.path())
    }

    #[test]
    fn they_are_an_eighth_of_the_memory_within_bounds() {
        assert_eq!(buffers(4 * GIBIBYTE, "max\n"), GIBIBYTE / 2);
        assert_eq!(buffers(64 * GIBIBYTE, "max\n"), GIBIBYTE);
        assert_eq!(buffers(GIBIBYTE / 2, "max\n"), LEAST);
    }

    #[test]
    fn a_container_has_no_more_than_its_limit() {
        let two_gibibytes = (2_u64 << 30).to_string();
        assert_eq!(buffers(64 * GIBIBYTE, &two_gibibytes), GIBIBYTE / 4);
    }

    #[test]
    fn a_system_that_does_not_tell_has_the_least() {
        let empty = tempfile::tempdir().expect("a folder can be made");
        assert_eq!(buffers_of(empty.path()), LEAST);
    }
}
