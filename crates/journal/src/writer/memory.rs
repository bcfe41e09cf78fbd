//! What a writer remembers from one batch to the next, and whether it still holds.

use std::collections::BTreeMap;

use contract::{Lane, Record};

use crate::Model;

/// Where a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// How often it was claimed.
    pub epoch: i64,
    /// Its last sequence.
    pub last_seq: i64,
    /// How many batches wrote into it, whether they appended or not.
    pub writes: i64,
}

pub(super) type Heads = BTreeMap<Lane, Head>;

/// The model's rows of the batches before, and where these left their lanes. A batch takes it and gives it back when it is
/// durable; so what comes of a batch that fails is that nothing is remembered.
pub(super) struct Memory<M: Model> {
    pub rows: M::Memory,
    left: Heads,
}

impl<M: Model> Default for Memory<M> {
    fn default() -> Self {
        Self { rows: M::Memory::default(), left: Heads::new() }
    }
}

impl<M: Model> Memory<M> {
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether nobody has written into these lanes since.
    pub fn holds(&self, heads: &Heads) -> bool {
        heads.iter().all(|(lane, head)| self.left.get(lane).is_none_or(|left| left == head))
    }

    /// A batch leaves these lanes, which stood at `heads` before: it appended this, and wrote other rows or did not.
    pub fn leave(&mut self, heads: Heads, appended: &[Record], is_written: bool) {
        let writes = i64::from(is_written);
        let left = heads.into_iter().map(|(lane, head)| (lane, Head { writes: head.writes + writes, ..head }));
        self.left.extend(left);
        for record in appended {
            if let Some(left) = self.left.get_mut(&record.lane) {
                left.last_seq = record.seq;
            }
        }
    }
}
