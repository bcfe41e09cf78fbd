//! The inbox of one lane of one source: effects happen exactly once because exactly the next sequence is applied.

use std::time::{Duration, Instant};

use crate::faults::{self, Safeguard};

/// How often a consumer repeats its request to send again while a gap stays open.
const GAP_REPEAT: Duration = Duration::from_secs(1);

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one.
    Apply,
    /// It was applied before.
    Duplicate,
    /// Records before it are missing.
    Gap {
        /// Whether it is time to ask the source for them.
        ask: bool,
    },
}

/// How far a lane of a source was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last sequence.
    pub seq: i64,
    /// Where the transport goes on.
    pub offset: i64,
}

/// How far a lane of a source was taken in, and how far of that is durable.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// The last record that was taken in.
    pub accepted: Position,
    /// The last that is stored.
    pub stored: Position,
    asked_at: Option<Instant>,
}

impl Inbox {
    /// An inbox that goes on where it was stored.
    pub fn at(stored: Position) -> Self {
        Self { accepted: stored, stored, asked_at: None }
    }

    /// Judges the record `seq` at `offset` and, when it is the next or an old one, moves on.
    pub fn judge(&mut self, seq: i64, offset: i64, now: Instant) -> Verdict {
        if seq > self.accepted.seq + 1 && !faults::is_left_out(Safeguard::GapTest) {
            let ask = self.asked_at.is_none() || self.is_gap_overdue(now);
            if ask {
                self.asked_at = Some(now);
            }
            return Verdict::Gap { ask };
        }
        self.pass(offset);
        if seq <= self.accepted.seq && !faults::is_left_out(Safeguard::DuplicateTest) {
            return Verdict::Duplicate;
        }
        self.accepted.seq = seq;
        self.asked_at = None;
        Verdict::Apply
    }

    /// Whether the source was asked to send again and has not for so long that it should be asked once more. A request can
    /// be lost like any message, and in a quiet lane no further record would reveal the gap again.
    pub fn asks_once_more(&mut self, now: Instant) -> bool {
        let overdue = self.is_gap_overdue(now);
        if overdue {
            self.asked_at = Some(now);
        }
        overdue
    }

    fn is_gap_overdue(&self, now: Instant) -> bool {
        self.asked_at.is_some_and(|at| now - at >= GAP_REPEAT)
    }

    /// Moves past a record without a sequence.
    pub fn pass(&mut self, offset: i64) {
        self.accepted.offset = self.accepted.offset.max(offset + 1);
    }

    /// Whether something was taken in that is not stored.
    pub fn is_dirty(&self) -> bool {
        self.accepted != self.stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn applies_the_next_only() {
        let mut inbox = Inbox::at(Position { seq: 4, offset: 9 });
        let now = Instant::now();
        assert_eq!(inbox.judge(4, 8, now), Verdict::Duplicate);
        assert_eq!(inbox.judge(6, 11, now), Verdict::Gap { ask: true });
        assert_eq!(inbox.judge(7, 12, now), Verdict::Gap { ask: false });
        assert_eq!(inbox.judge(7, 12, now + GAP_REPEAT), Verdict::Gap { ask: true });
        assert!(!inbox.asks_once_more(now + GAP_REPEAT));
        assert!(inbox.asks_once_more(now + 2 * GAP_REPEAT));
        assert_eq!(inbox.judge(5, 13, now), Verdict::Apply);
        assert_eq!(inbox.accepted, Position { seq: 5, offset: 14 });
        assert!(inbox.is_dirty());
        assert!(!inbox.asks_once_more(now + 9 * GAP_REPEAT));
    }

    proptest! {
        /// However records are repeated, lost and reordered, what is applied is 1, 2, 3 … once each.
        #[test]
        fn what_is_applied_has_no_gap_and_no_repeat(seqs in proptest::collection::vec(1_i64..20, 0..200)) {
            let mut inbox = Inbox::at(Position::default());
            let now = Instant::now();
            let mut applied = Vec::new();
            for (offset, seq) in (0_i64..).zip(seqs) {
                if inbox.judge(seq, offset, now) == Verdict::Apply {
                    applied.push(seq);
                }
            }
            prop_assert!(applied.iter().copied().eq(1..=i64::try_from(applied.len()).unwrap_or(0)));
        }
    }
}
