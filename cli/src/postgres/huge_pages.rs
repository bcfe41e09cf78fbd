//! Has Linux make huge pages for PostgreSQL's buffers, where we may ask for them.
//!
//! PostgreSQL takes huge pages where there are any (`huge_pages = try`), and by default Linux has none. Up to a limit it
//! makes them when they are asked for, and unmakes them when whoever has them ends (`vm.nr_overcommit_hugepages`,
//! Documentation/admin-guide/mm/hugetlbpage.rst). Only root can raise that limit.

use std::fs;
use std::path::{Path, PathBuf};

use super::memory::{Kibibytes, field};

/// What PostgreSQL asks for beside its buffers: some 60 MB for everything else that sessions share, and to spare.
const REST: Kibibytes = 128 << 10;

/// The share of the available memory that may be taken at once: buffers in small pages are taken as they are used.
const MOST: u64 = 4;

/// A limit that is raised until this is dropped. Who has taken huge pages by then keeps them.
#[derive(Debug)]
pub(super) struct HugePages {
    limit: PathBuf,
    raised: u64,
}

impl HugePages {
    /// Raises the limit by what is missing for `buffers`; nothing if we may not, or where memory is short. PostgreSQL has
    /// them in small pages then.
    pub(super) fn allow(buffers: Kibibytes) -> Option<Self> {
        Self::allow_in(Path::new("/proc"), buffers)
    }

    fn allow_in(proc: &Path, buffers: Kibibytes) -> Option<Self> {
        let limit = proc.join("sys/vm/nr_overcommit_hugepages");
        let before = read(&limit)?;
        let meminfo = fs::read_to_string(proc.join("meminfo")).ok()?;
        let raised = pages(&meminfo, buffers + REST)?.checked_sub(before)?;
        fs::write(&limit, (before + raised).to_string()).ok()?;
        Some(Self { limit, raised })
    }
}

impl Drop for HugePages {
    /// Takes back what was added, and not what another has added meanwhile.
    fn drop(&mut self) {
        if let Some(now) = read(&self.limit) {
            let _ = fs::write(&self.limit, now.saturating_sub(self.raised).to_string());
        }
    }
}

fn read(limit: &Path) -> Option<u64> {
    fs::read_to_string(limit).ok()?.trim().parse().ok()
}

/// The limit that leaves room for so much beside the pages that others have, by `proc_meminfo(5)`.
fn pages(meminfo: &str, wanted: Kibibytes) -> Option<u64> {
    let (page, taken) = (field(meminfo, "Hugepagesize")?, field(meminfo, "HugePages_Surp")?);
    let pages = wanted.div_ceil(page.max(1));
    (pages * page <= field(meminfo, "MemAvailable")? / MOST).then_some(taken + pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFERS: Kibibytes = 512 << 10;

    /// A folder like `/proc`, of a system that gives `limit` huge pages of which `taken` are had.
    fn proc(limit: u64, taken: u64, available: u64) -> tempfile::TempDir {
        let proc = tempfile::tempdir().expect("a folder can be made");
        fs::create_dir_all(proc.path().join("sys/vm")).expect("so can one in it");
        let meminfo = format!(
            "MemAvailable:   {available} kB\nHugePages_Total:  {taken}\nHugePages_Surp:   {taken}\nHugepagesize:       2048 kB\n"
        );
        fs::write(proc.path().join("meminfo"), meminfo).expect("a file can be written");
        fs::write(limit_of(&proc), format!("{limit}\n")).expect("so can another");
        proc
    }

    fn limit_of(proc: &tempfile::TempDir) -> PathBuf {
        proc.path().join("sys/vm/nr_overcommit_hugepages")
    }

    #[test]
    fn the_limit_is_raised_by_what_is_missing_and_put_back() {
        let proc = proc(10, 280, 8 << 20);
        let allowed = HugePages::allow_in(proc.path(), BUFFERS);
        assert_eq!(read(&limit_of(&proc)), Some(280 + 320));
        drop(allowed);
        assert_eq!(read(&limit_of(&proc)), Some(10));
    }

    #[test]
    fn two_at_once_leave_it_as_it_was() {
        let proc = proc(0, 0, 8 << 20);
        let one = HugePages::allow_in(proc.path(), BUFFERS);
        let other = HugePages::allow_in(proc.path(), BUFFERS);
        drop(one);
        drop(other);
        assert_eq!(read(&limit_of(&proc)), Some(0));
    }

    #[test]
    fn a_limit_that_is_high_enough_and_one_of_a_small_machine_stay() {
        for proc in [proc(400, 0, 8 << 20), proc(0, 0, 2 << 20)] {
            let before = read(&limit_of(&proc));
            let allowed = HugePages::allow_in(proc.path(), BUFFERS);
            assert_eq!(read(&limit_of(&proc)), before);
            drop(allowed);
            assert_eq!(read(&limit_of(&proc)), before);
        }
    }

    #[test]
    fn a_system_without_it_is_left_alone() {
        let empty = tempfile::tempdir().expect("a folder can be made");
        assert!(HugePages::allow_in(empty.path(), BUFFERS).is_none());
        assert!(!empty.path().join("sys").exists());
    }
}
