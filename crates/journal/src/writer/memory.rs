//! What a writer remembers from one batch to the next, and whether it still holds.

use std::collections::BTreeMap;

use contract::{Lane, Record};

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
#[derive(Default)]
pub(super) struct Memory<R> {
    pub rows: R,
    left: Heads,
}

impl<R> Memory<R> {
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether nobody has written into these lanes since.
    pub fn holds(&self, heads: &Heads) -> bool {
        heads.iter().all(|(lane, head)| self.left.get(lane).is_none_or(|left| left == head))
    }

    /// A batch left these lanes here.
    pub fn leave(&mut self, ends: Heads) {
        self.left.extend(ends);
    }
}

/// Where a batch leaves its lanes, which stand at `heads`: it appends this, and writes rows or does not.
pub(super) fn ends(mut heads: Heads, appended: &[Record], is_written: bool) -> Heads {
    for head in heads.values_mut() {
        head.writes += i64::from(is_written);
    }
    for record in appended {
        if let Some(head) = heads.get_mut(&record.lane) {
            head.last_seq = record.seq;
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { epoch: 1, last_seq: 4, writes: 9 };

    fn heads(lane: u16, head: Head) -> Heads {
        Heads::from([(Lane(lane), head)])
    }

    #[test]
    fn what_is_remembered_holds_until_somebody_else_writes_into_the_lane_or_claims_it() {
        let mut memory = Memory::<()>::default();
        assert!(memory.is_empty() && memory.holds(&heads(0, HEAD)));
        memory.leave(ends(heads(0, HEAD), &[], true));
        let left = Head { writes: 10, ..HEAD };
        assert!(!memory.is_empty() && memory.holds(&heads(0, left)));
        assert!(memory.holds(&heads(1, HEAD)), "nothing is remembered of this lane");
        for other in [Head { writes: 11, ..left }, Head { last_seq: 5, ..left }, Head { epoch: 2, ..left }] {
            assert!(!memory.holds(&heads(0, other)), "{other:?}");
        }
    }

    #[test]
    fn a_batch_that_only_read_is_remembered_like_one_that_wrote() {
        let mut memory = Memory::<()>::default();
        memory.leave(ends(heads(0, HEAD), &[], false));
        assert!(memory.holds(&heads(0, HEAD)));
        assert!(!memory.holds(&heads(0, Head { writes: 10, ..HEAD })));
    }
}
