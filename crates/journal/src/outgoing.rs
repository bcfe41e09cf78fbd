//! A lane's way to the broker: which event may be sent, and when to go back. Three numbers say it: how far the lane was
//! handed over, how far the broker has it, how far it is written.

use std::time::{Duration, Instant};

/// How long a lane is quiet before its last event is sent again, and how long at most between two such repeats.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_mins(1);
/// A request to send again is ignored this long after the lane went back: what was asked for is on its way.
const GO_BACK_PAUSE: Duration = Duration::from_millis(500);

/// A lane's way to the broker.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// Whether the lane is ours to publish.
    pub owned: bool,
    /// The last sequence handed to the producer.
    pub sent: i64,
    /// The last sequence that the broker acknowledged.
    pub acked: i64,
    /// The last sequence known to be written.
    pub end: i64,
    /// Memory does not have what comes next: read it from the database.
    pub behind: bool,
    went_back_at: Option<Instant>,
    rest: Option<Rest>,
}

/// A lane at its end. Brokers that lost what they had acknowledged leave no gap when nothing follows; so the last event
/// is sent again, less and less often: a duplicate to whoever has it, a gap to whoever misses what was before.
#[derive(Clone, Debug)]
struct Rest {
    seq: i64,
    repeat_at: Instant,
    pause: Duration,
}

/// What is to be done with an event that was just written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The lane's owner is another one; it must be told.
    Foreign,
    /// Nothing: it was sent, or will be read from the database in its turn.
    Known,
    /// It is the next: send it.
    Next,
    /// Another process wrote before it, and only the database has that.
    Beyond,
}

impl Outgoing {
    /// A lane that is ours from now on, published up to one sequence and written up to another.
    pub fn ours(published: i64, last: i64) -> Self {
        let behind = published < last;
        Self { owned: true, sent: published, acked: published, end: last, behind, went_back_at: None, rest: None }
    }

    /// The lane is not ours any more.
    pub fn disown(&mut self) {
        self.owned = false;
        self.behind = false;
    }

    /// Judges the event `seq`, which was just written.
    pub fn written(&mut self, seq: i64) -> Fresh {
        if !self.owned {
            return Fresh::Foreign;
        }
        self.end = self.end.max(seq);
        if self.behind || seq <= self.sent {
            Fresh::Known
        } else if seq == self.sent + 1 {
            Fresh::Next
        } else {
            Fresh::Beyond
        }
    }

    /// The database says that the lane is written up to `last`.
    pub fn ends_at(&mut self, last: i64) {
        if self.owned {
            self.end = self.end.max(last);
        }
    }

    /// Whether the lane is to be read from the database, behind what was sent. One that a writer finished meanwhile is
    /// not.
    pub fn lags(&mut self) -> bool {
        self.behind = self.owned && self.sent < self.end;
        self.behind
    }

    /// Whether the event `seq`, read from the database, is still the next: meanwhile the lane may have been given away or
    /// gone back.
    pub fn continues_with(&self, seq: i64) -> bool {
        self.owned && seq == self.sent + 1
    }

    /// The broker has the event `seq`. What it has beyond one that it misses does not count: that is sent again after it.
    pub fn acknowledged(&mut self, seq: i64) {
        if seq == self.acked + 1 {
            self.acked = seq;
        }
    }

    /// The event `seq` was not delivered: it and what follows is sent again. `false` if the lane was there already.
    pub fn go_back(&mut self, seq: i64) -> bool {
        if self.sent < seq {
            return false;
        }
        self.sent = seq - 1;
        self.behind = true;
        true
    }

    /// Someone misses what is from `seq` on. Whether the lane goes back for it.
    pub fn send_again(&mut self, seq: i64, now: Instant) -> bool {
        let resting = self.went_back_at.is_some_and(|at| now - at < GO_BACK_PAUSE);
        if !self.owned || resting || seq < 1 || seq > self.sent {
            return false;
        }
        self.went_back_at = Some(now);
        self.go_back(seq);
        true
    }

    /// Everything that is not acknowledged is sent again.
    pub fn start_over(&mut self) {
        self.sent = self.acked;
        self.behind = true;
    }

    /// Whether the lane has been quiet for so long that its last event is due to be sent once more.
    pub fn repeats(&mut self, now: Instant) -> bool {
        if !self.owned || self.behind || self.sent == 0 {
            self.rest = None;
            return false;
        }
        match &mut self.rest {
            Some(rest) if rest.seq == self.sent => {
                let due = now >= rest.repeat_at;
                if due {
                    rest.pause = (rest.pause * 2).min(LONGEST_REST);
                    rest.repeat_at = now + rest.pause;
                }
                due
            }
            rest => {
                *rest = Some(Rest { seq: self.sent, repeat_at: now + SHORTEST_REST, pause: SHORTEST_REST });
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_next_is_sent_and_what_is_beyond_is_left_to_the_database() {
        let mut lane = Outgoing::ours(4, 4);
        assert_eq!(lane.written(5), Fresh::Next);
        lane.sent = 5;
        assert_eq!(lane.written(5), Fresh::Known);
        assert_eq!(lane.written(8), Fresh::Beyond);
        assert!(lane.lags());
        assert!(lane.continues_with(6) && !lane.continues_with(7));
        lane.disown();
        assert_eq!(lane.written(9), Fresh::Foreign);
    }

    #[test]
    fn a_lane_goes_back_for_whoever_misses_something_but_not_twice_at_once() {
        let (mut lane, now) = (Outgoing::ours(9, 9), Instant::now());
        assert!(lane.send_again(4, now));
        assert!(lane.continues_with(4));
        assert!(!lane.send_again(2, now));
        assert!(lane.send_again(2, now + GO_BACK_PAUSE));
        assert!(!lane.send_again(0, now + 3 * GO_BACK_PAUSE), "there is no such event");
        assert!(!lane.send_again(7, now + 3 * GO_BACK_PAUSE), "it is on its way");
    }

    #[test]
    fn a_quiet_lane_repeats_its_end_less_and_less_often() {
        let (mut lane, start) = (Outgoing::ours(3, 3), Instant::now());
        let mut repeated = Vec::new();
        for second in 0..60 {
            if lane.repeats(start + Duration::from_secs(second)) {
                repeated.push(second);
            }
        }
        assert_eq!(repeated, [1, 3, 7, 15, 31]);
    }
}
