//! How far a rebuild has come.

use std::collections::BTreeMap;

use contract::{Lane, Record, Topic};

/// The last sequence that was applied, by source and lane.
pub(super) type Positions = BTreeMap<(Topic, Lane), i64>;

/// How far a rebuild has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    done: Positions,
    /// Events that were replayed.
    pub events: u64,
    /// Those that the model could not read.
    pub unreadable: u64,
}

/// An event that has to be replayed and is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} of lane {lane} of {topic} is missing")]
pub struct Missing {
    /// Its source.
    pub topic: Topic,
    /// Its lane.
    pub lane: Lane,
    /// Its number in the lane.
    pub seq: i64,
}

impl Progress {
    /// How many events are left up to `target`.
    pub fn distance(&self, target: &Positions) -> u64 {
        target.iter().map(|(place, seq)| (seq - self.at(*place)).max(0).unsigned_abs()).sum()
    }

    /// The lanes of a source that are short of `target`, each with the last sequence that was replayed.
    pub fn short_of(&self, target: &Positions, source: Topic) -> Vec<(Lane, i64)> {
        let of_source = target.iter().filter(|((topic, _), _)| *topic == source);
        let places = of_source.map(|((_, lane), seq)| (*lane, self.at((source, *lane)), *seq));
        places.filter(|(_, done, target)| done < target).map(|(lane, done, _)| (lane, done)).collect()
    }

    /// Moves on by what was read in the lanes that are [short of](Self::short_of) `target`, and hands back what is to be
    /// replayed of it: what is beyond the target is not. An event that is left out, or a lane that ends too early, is an
    /// error.
    pub fn take(&mut self, source: Topic, target: &Positions, read: Vec<Record>) -> Result<Vec<Record>, Missing> {
        let short = self.short_of(target, source);
        let mut taken = Vec::with_capacity(read.len());
        for record in read {
            let place = (source, record.lane);
            if target.get(&place).is_none_or(|target| record.seq > *target) {
                continue;
            }
            let seq = self.at(place) + 1;
            if record.seq != seq {
                return Err(Missing { topic: source, lane: record.lane, seq });
            }
            self.done.insert(place, seq);
            taken.push(record);
        }
        self.events += taken.len() as u64;
        match short.into_iter().find(|(lane, before)| self.at((source, *lane)) == *before) {
            Some((lane, before)) => Err(Missing { topic: source, lane, seq: before + 1 }),
            None => Ok(taken),
        }
    }

    fn at(&self, place: (Topic, Lane)) -> i64 {
        self.done.get(&place).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use bytes::Bytes;
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    const SOURCE: Topic = Topic::Orders;

    fn record(lane: u16, seq: i64) -> Record {
        Record {
            lane: Lane(lane),
            seq,
            stream: Uuid::nil(),
            version: 1,
            id: Uuid::nil(),
            kind: Cow::Borrowed("something"),
            at: DateTime::UNIX_EPOCH,
            subject: None,
            cause: None,
            trace: None,
            data: Bytes::new(),
        }
    }

    fn target(lanes: &[(u16, i64)]) -> Positions {
        lanes.iter().map(|(lane, seq)| ((SOURCE, Lane(*lane)), *seq)).collect()
    }

    fn records(lane: u16, seqs: impl IntoIterator<Item = i64>) -> Vec<Record> {
        seqs.into_iter().map(|seq| record(lane, seq)).collect()
    }

    #[test]
    fn what_is_replayed_ends_at_the_target_in_every_lane() {
        let target = target(&[(0, 3), (1, 0), (2, 2)]);
        let mut progress = Progress::default();
        assert_eq!((progress.distance(&target), progress.short_of(&target, SOURCE).len()), (5, 2));

        let read = [records(0, 1..=2), records(2, 1..=9)].concat();
        let taken = progress.take(SOURCE, &target, read).expect("nothing is missing");
        assert_eq!(taken.iter().map(|one| (one.lane.0, one.seq)).collect::<Vec<_>>(), [(0, 1), (0, 2), (2, 1), (2, 2)]);
        assert_eq!(progress.short_of(&target, SOURCE), [(Lane(0), 2)]);

        progress.take(SOURCE, &target, records(0, 3..=9)).expect("nothing is missing");
        assert_eq!((progress.distance(&target), progress.events), (0, 5));
        assert!(progress.short_of(&target, SOURCE).is_empty());
    }

    #[test]
    fn a_hole_is_missed_wherever_it_is() {
        for (read, seq) in [(vec![2, 3], 1), (vec![1, 3], 2), (vec![1, 2], 3), (vec![], 1)] {
            let mut progress = Progress::default();
            let target = target(&[(4, 3)]);
            // What is read is asked for until the target is reached or nothing more comes.
            let first = progress.take(SOURCE, &target, records(4, read));
            let missed = first.and_then(|_| progress.take(SOURCE, &target, Vec::new()));
            assert_eq!(missed, Err(Missing { topic: SOURCE, lane: Lane(4), seq }));
        }
    }

    #[test]
    fn other_sources_and_what_was_gone_past_are_not_counted() {
        let mut progress = Progress::default();
        progress.take(SOURCE, &target(&[(0, 2)]), records(0, 1..=2)).expect("nothing is missing");
        assert_eq!(progress.distance(&target(&[(0, 1)])), 0);
        assert!(progress.short_of(&target(&[(0, 9)]), Topic::Inventory).is_empty());
    }
}
