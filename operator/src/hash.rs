//! Hashes that tell whether something changed.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Bytes of a hash that are shown: enough that two of one system's settings never meet.
const SHOWN: usize = 8;

/// A hash of parts in their order, in hexadecimal.
pub(crate) fn hex<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(SHOWN).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
