//! The lanes that a replica holds: under which epoch it claimed each, and how far it has read into it.

use std::{collections::BTreeMap, time::Instant};

use contract::{Lane, Topic};

use crate::{
    batch::Reach,
    faults::{self, Safeguard},
    inbox::{Inbox, Position},
};

/// The lanes that a replica holds.
#[derive(Clone, Debug, Default)]
pub struct Holding(BTreeMap<Lane, Held>);

#[derive(Clone, Debug)]
struct Held {
    epoch: i64,
    inboxes: BTreeMap<Topic, Inbox>,
}

impl Holding {
    /// Takes a lane that was claimed under this epoch; its inboxes go on where they were stored.
    pub fn take(&mut self, lane: Lane, epoch: i64, stored: impl IntoIterator<Item = (Topic, Position)>) {
        let inboxes = stored.into_iter().map(|(source, position)| (source, Inbox::at(position))).collect();
        self.0.insert(lane, Held { epoch, inboxes });
    }

    /// Lets a lane go.
    pub fn let_go(&mut self, lane: Lane) {
        self.0.remove(&lane);
    }

    /// The lanes, in order.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> {
        self.0.keys().copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The epoch under which a lane was claimed, if it is held.
    pub fn epoch(&self, lane: Lane) -> Option<i64> {
        self.0.get(&lane).map(|held| held.epoch)
    }

    /// The inbox of a lane of a source, if the lane is held.
    pub fn inbox(&mut self, source: Topic, lane: Lane) -> Option<&mut Inbox> {
        self.0.get_mut(&lane)?.inboxes.get_mut(&source)
    }

    /// Where each lane of each source goes on.
    pub fn positions(&self) -> impl Iterator<Item = (Topic, Lane, Position)> {
        self.inboxes().map(|(source, lane, inbox)| (source, lane, inbox.accepted))
    }

    /// How far the inboxes moved beyond what is stored.
    pub fn dirty(&self) -> Reach {
        let dirty = self.inboxes().filter(|(_, _, inbox)| inbox.is_dirty());
        dirty.map(|(source, lane, inbox)| ((source, lane), inbox.accepted)).collect()
    }

    /// The sequence that an inbox is stored at.
    pub fn stored(&self, source: Topic, lane: Lane) -> i64 {
        self.0.get(&lane).and_then(|held| held.inboxes.get(&source)).map_or(0, |inbox| inbox.stored.seq)
    }

    /// The inboxes are stored this far.
    pub fn stored_up_to(&mut self, reach: &Reach) {
        for ((source, lane), position) in reach {
            if let Some(inbox) = self.inbox(*source, *lane) {
                inbox.stored = *position;
            }
        }
    }

    /// The lanes of `reach` that another replica owns now, as the epochs that are stored tell.
    pub fn lost(&self, reach: &Reach, epochs: impl IntoIterator<Item = (Lane, i64)>) -> Vec<Lane> {
        let taken = epochs.into_iter().filter(|(lane, epoch)| match self.epoch(*lane) {
            Some(claimed) => claimed != *epoch && !faults::is_left_out(Safeguard::Fencing),
            None => true,
        });
        taken.map(|(lane, _)| lane).filter(|lane| reach.keys().any(|(_, reached)| reached == lane)).collect()
    }

    /// The inbox by which it is seen whether a batch with this reach was stored: of a lane that is still ours, as the
    /// epochs that are stored tell. Those of other lanes may have been moved by their new owners.
    pub fn witness(
        &self,
        reach: &Reach,
        epochs: impl IntoIterator<Item = (Lane, i64)>,
    ) -> Option<(Topic, Lane, Position)> {
        let lost = self.lost(reach, epochs);
        let mut ours = reach.iter().filter(|((_, lane), _)| !lost.contains(lane));
        ours.next().map(|((source, lane), position)| (*source, *lane, *position))
    }

    /// What to ask the sources for once more, because nothing came of the request before: of each lane, from which
    /// sequence on.
    pub fn ask_once_more(&mut self, now: Instant) -> Vec<(Topic, Lane, i64)> {
        let inboxes = self
            .0
            .iter_mut()
            .flat_map(|(lane, held)| held.inboxes.iter_mut().map(|(source, inbox)| (*source, *lane, inbox)));
        let overdue = inboxes.filter_map(|(source, lane, inbox)| {
            inbox.asks_once_more(now).then_some((source, lane, inbox.accepted.seq + 1))
        });
        overdue.collect()
    }

    fn inboxes(&self) -> impl Iterator<Item = (Topic, Lane, &Inbox)> {
        self.0.iter().flat_map(|(lane, held)| held.inboxes.iter().map(|(source, inbox)| (*source, *lane, inbox)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: Lane = Lane(1);

    #[test]
    fn a_lane_is_lost_when_its_epoch_is_another_and_its_records_are_to_be_applied() {
        let mut holding = Holding::default();
        holding.take(LANE, 4, [(Topic::Orders, Position::default())]);
        let reach = Reach::from([((Topic::Orders, LANE), Position { seq: 1, offset: 1 })]);
        assert_eq!(holding.lost(&reach, [(LANE, 4)]), []);
        assert_eq!(holding.lost(&reach, [(LANE, 5)]), [LANE]);
        assert_eq!(holding.lost(&Reach::new(), [(LANE, 5)]), [], "anyone may append");
        holding.let_go(LANE);
        assert_eq!(holding.lost(&reach, [(LANE, 4)]), [LANE], "let go while the batch waited");
    }

    #[test]
    fn whether_a_batch_was_stored_is_seen_where_nobody_else_moves() {
        let mut holding = Holding::default();
        for lane in [Lane(0), LANE] {
            holding.take(lane, 4, [(Topic::Orders, Position::default())]);
        }
        let position = Position { seq: 1, offset: 1 };
        let reach = Reach::from([((Topic::Orders, Lane(0)), position), ((Topic::Orders, LANE), position)]);
        assert_eq!(holding.witness(&reach, [(Lane(0), 5), (LANE, 4)]), Some((Topic::Orders, LANE, position)));
        assert_eq!(holding.witness(&reach, [(Lane(0), 5), (LANE, 5)]), None);
    }

    #[test]
    fn what_moved_is_dirty_until_it_is_stored() {
        let mut holding = Holding::default();
        holding.take(LANE, 1, [(Topic::Orders, Position::default()), (Topic::Inventory, Position::default())]);
        holding.inbox(Topic::Orders, LANE).expect("is held").judge(1, 0, Instant::now());
        let reach = holding.dirty();
        assert_eq!(reach, Reach::from([((Topic::Orders, LANE), Position { seq: 1, offset: 1 })]));
        assert_eq!(holding.stored(Topic::Orders, LANE), 0);
        holding.stored_up_to(&reach);
        assert!(holding.dirty().is_empty());
        assert_eq!(holding.stored(Topic::Orders, LANE), 1);
    }
}
