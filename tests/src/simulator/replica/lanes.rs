//! What a replica does with its lanes: claims and releases them, reads and publishes them, and looks after them.

use std::rc::Rc;

use contract::{Lane, Record, Topic};
use journal::protocol::{Batch, Body, Fresh, Incoming, Outgoing, Position, Taken};

use super::super::faults::Rule;
use super::super::parts::Part;
use super::super::store::Store;
use super::super::topics::Message;
use super::super::world::{Deed, Delivery, Env, Event, Millis};
use super::{Control, Replica, Submission};

/// How long a lane that the group gives us may be missing until it is claimed again, in milliseconds.
const RECLAIM_AFTER: Millis = 2_000;
/// The most messages that come at once.
const FETCHED_AT_ONCE: u64 = 8;
/// Events read from the database at once when a lane is behind.
const CATCH_UP_EVENTS: usize = 50;

impl<P: Part> Replica<P> {
    /// What it does twice a second.
    pub(super) fn tick(&mut self, store: &Store<P>, env: &mut Env) {
        let delay = env.random.between(400, 600);
        self.schedule(delay, Deed::Tick, env);
        self.miss(env);
        for (source, lane, seq) in self.holding.ask_once_more(env.instant()) {
            ask_again(source, lane, seq, env);
        }
        let is_idle = self.work.is_empty() && self.flight.is_none() && self.unsure.is_none();
        let reach = self.holding.dirty();
        if is_idle && self.pending.items.is_empty() && !reach.is_empty() {
            self.work.push(Batch { reach, ..Batch::new() });
        }
        self.catch_up(store, env);
        self.repeat_tails(store, env);
        self.sweep(store, env);
        let held: Vec<(Topic, Lane, Position)> = self.holding.positions().collect();
        for (source, lane, _) in held {
            self.wake(source, lane, env);
        }
        self.go_soon(1, env);
    }

    /// As long as the group says that a lane is ours, it is claimed again.
    fn miss(&mut self, env: &Env) {
        if self.wanted.iter().all(|lane| self.holding.epoch(*lane).is_some()) {
            self.missing_since = None;
        } else if env.now - *self.missing_since.get_or_insert(env.now) >= RECLAIM_AFTER {
            self.missing_since = None;
            self.controls.push_back(Control::Claim(self.wanted.clone()));
        }
    }

    fn sweep(&mut self, store: &Store<P>, env: &mut Env) {
        let lanes: Vec<Lane> = self.holding.lanes().collect();
        let claimed: Vec<Lane> = lanes.iter().copied().filter(|lane| !self.swept.contains(lane)).collect();
        let calls = P::open_calls(&store.tables, &claimed, None);
        for call in calls.into_iter().chain(P::open_calls(&store.tables, &lanes, Some(env.time()))) {
            self.offer(&call, env);
        }
        for (lane, command) in P::overdue(&store.tables, env.lanes, &lanes, env.time()) {
            self.submit(Submission { lane, command, answer: None }, env);
        }
        self.swept = lanes;
    }

    // Ownership.

    /// The group gives it lanes; it knows no order but that of its rounds.
    pub(super) fn assigned(&mut self, round: u64, lanes: Vec<Lane>, env: &mut Env) {
        if round < self.round {
            return;
        }
        (self.round, self.wanted) = (round, lanes);
        self.controls.clear();
        self.controls.push_back(Control::Release { flushed: false });
        if !self.wanted.is_empty() {
            self.controls.push_back(Control::Claim(self.wanted.clone()));
        }
        self.go_soon(1, env);
    }

    pub(super) fn control(&mut self, control: Control, store: &mut Store<P>, env: &mut Env) {
        match control {
            Control::Claim(lanes) => self.claim(lanes, store, env),
            Control::Release { flushed: false } => {
                let reach = self.holding.dirty();
                self.work.push(Batch { reach, ..Batch::new() });
                self.controls.push_front(Control::Release { flushed: true });
            }
            Control::Release { flushed: true } => self.release(store),
        }
        self.go_soon(1, env);
    }

    fn claim(&mut self, lanes: Vec<Lane>, store: &mut Store<P>, env: &mut Env) {
        let Some(txn) = store.begin(lanes.clone(), [].into()) else {
            self.controls.push_front(Control::Claim(lanes));
            return self.wait_for_locks(env);
        };
        store.roll_back(txn);
        let unheard = env.strikes("claims unheard", |rates| rates.claim_unheard);
        for lane in lanes {
            let head = &mut store.heads[lane.index()];
            head.epoch += 1;
            if !unheard {
                self.outgoing[lane.index()] = Outgoing::ours(head.published, head.last);
                let epoch = head.epoch;
                self.holding.take(lane, epoch, P::SOURCES.iter().map(|source| (*source, store.inbox(*source, lane))));
            }
        }
        if unheard {
            return self.disconnect(env);
        }
        env.count("claims");
        self.begin_to_read(env);
        self.schedule(1, Deed::CatchUp, env);
    }

    fn release(&mut self, store: &mut Store<P>) {
        let lanes: Vec<Lane> = self.holding.lanes().collect();
        for lane in &lanes {
            let head = &mut store.heads[lane.index()];
            if self.holding.epoch(*lane) == Some(head.epoch) {
                head.published = head.published.max(self.outgoing[lane.index()].acked);
            }
        }
        self.disown(&lanes);
    }

    pub(super) fn disown(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            self.holding.let_go(*lane);
            self.outgoing[lane.index()].disown();
        }
    }

    // Reading.

    /// Reads on where the inboxes say, under a new generation: what is on its way still belongs to the one before.
    fn begin_to_read(&mut self, env: &mut Env) {
        self.generation += 1;
        self.fetching.clear();
        let positions: Vec<(Topic, Lane, Position)> = self.holding.positions().collect();
        for (source, lane, position) in positions {
            self.places.insert((source, lane), usize::try_from(position.offset).unwrap_or(0));
            self.wake(source, lane, env);
        }
    }

    /// More may have come of a lane.
    pub fn wake(&mut self, source: Topic, lane: Lane, env: &mut Env) {
        if self.holding.epoch(lane).is_some() && self.fetching.insert((source, lane)) {
            self.schedule(1, Deed::Fetch(self.generation, source, lane), env);
        }
    }

    pub(super) fn fetch(&mut self, generation: u64, source: Topic, lane: Lane, env: &mut Env) {
        if generation != self.generation {
            return;
        }
        let from = *self.places.get(&(source, lane)).unwrap_or(&0);
        let messages = env.topics.lane(source, lane);
        // An offset that the broker does not have any more: from the beginning, then.
        let from = if from > messages.len() { 0 } else { from };
        if from == messages.len() || self.holding.epoch(lane).is_none() {
            self.fetching.remove(&(source, lane));
            return;
        }
        let count = usize::try_from(env.random.between(1, FETCHED_AT_ONCE)).unwrap_or(1);
        let messages = env.topics.lane(source, lane);
        let fetched: Vec<_> = messages.iter().cloned().enumerate().skip(from).take(count).collect();
        let again = env.strikes("fetched twice", |rates| rates.fetched_twice);
        self.places.insert((source, lane), if again { from } else { from + fetched.len() });
        let delay = env.travel();
        let delivery = Delivery { generation, source, lane, messages: fetched };
        self.schedule(delay, Deed::Deliver(delivery), env);
    }

    /// What came waits until no batch is under way: a batch that loses a lane drops what it has of it, and nothing else may
    /// be left over.
    pub(super) fn deliver(&mut self, delivery: Delivery, env: &mut Env) {
        if delivery.generation == self.generation {
            self.schedule(1, Deed::Fetch(delivery.generation, delivery.source, delivery.lane), env);
            self.deliveries.push_back(delivery);
            self.go_soon(1, env);
        }
    }

    pub(super) fn take_in(&mut self, env: &mut Env) {
        while let Some(Delivery { generation, source, lane, messages }) = self.deliveries.pop_front() {
            if generation != self.generation {
                continue;
            }
            for (offset, message) in messages {
                let incoming = message.incoming(source, lane, offset, P::PASSES);
                self.bend(&incoming, env);
                let taken = self.pending.take_in(incoming, &mut self.holding, env.instant(), P::read);
                match taken {
                    Some(Taken::Gap { ask_from, .. }) => {
                        env.count("gaps");
                        if let Some(seq) = ask_from {
                            ask_again(source, lane, seq, env);
                        }
                    }
                    Some(Taken::Duplicate) => env.count("duplicates"),
                    _ => {}
                }
            }
        }
    }

    /// Without a rule, a record counts as the next although it is not.
    fn bend(&mut self, incoming: &Incoming, env: &Env) {
        let seq = match &incoming.body {
            Body::Record(record) => record.seq,
            Body::Passed { seq } => *seq,
            Body::Unreadable { .. } => return,
        };
        let Some(inbox) = self.holding.inbox(incoming.source, incoming.lane) else { return };
        let next = inbox.accepted.seq + 1;
        if env.lacks(Rule::DuplicateTest) && seq < next || env.lacks(Rule::GapTest) && seq > next {
            inbox.accepted.seq = seq - 1;
        }
    }

    // Publishing.

    pub(super) fn publish(&mut self, appended: &[Record], env: &mut Env) {
        for record in appended {
            match self.outgoing[record.lane.index()].written(record.seq) {
                // The owner finds it when it looks.
                Fresh::Foreign | Fresh::Known => {}
                Fresh::Next => self.send(record, env),
                Fresh::Beyond => {
                    self.outgoing[record.lane.index()].behind = true;
                    self.schedule(1, Deed::CatchUp, env);
                }
            }
        }
    }

    fn send(&mut self, record: &Record, env: &mut Env) {
        let lane = record.lane;
        self.outgoing[lane.index()].sent = record.seq;
        self.transmit(record, env);
    }

    fn transmit(&mut self, record: &Record, env: &mut Env) {
        let lane = record.lane;
        let arrival = self.arrivals[lane.index()].max(env.now + env.travel());
        self.arrivals[lane.index()] = arrival;
        let delay = arrival - env.now;
        if env.strikes("undelivered", |rates| rates.undelivered) {
            return self.schedule(delay, Deed::Undelivered(lane, record.seq), env);
        }
        let message = Message::of(P::TOPIC, record);
        if env.strikes("repeated", |rates| rates.repeated) {
            let later = delay + env.random.between(1, 3_000);
            env.after(later, Event::Arrive(P::TOPIC, lane, Rc::clone(&message), None));
        }
        env.after(delay, Event::Arrive(P::TOPIC, lane, message, Some(self.life)));
    }

    pub(super) fn undelivered(&mut self, lane: Lane, seq: i64, env: &mut Env) {
        if !env.lacks(Rule::GoingBack) {
            self.outgoing[lane.index()].go_back(seq);
            self.schedule(1, Deed::CatchUp, env);
        }
    }

    /// A consumer misses what is in a lane from `seq` on.
    pub fn send_again(&mut self, lane: Lane, seq: i64, env: &mut Env) {
        if self.outgoing[lane.index()].send_again(seq, env.instant()) {
            env.count("sent again");
            self.schedule(1, Deed::CatchUp, env);
        }
    }

    /// Publishes from the database what memory does not have.
    pub(super) fn catch_up(&mut self, store: &Store<P>, env: &mut Env) {
        for (lane, events) in store.events.iter().enumerate() {
            self.outgoing[lane].ends_at(store.heads[lane].last);
            if !self.outgoing[lane].lags() {
                continue;
            }
            let after = usize::try_from(self.outgoing[lane].sent).unwrap_or(0);
            for record in events.iter().skip(after).take(CATCH_UP_EVENTS) {
                if self.outgoing[lane].continues_with(record.seq) {
                    self.send(record, env);
                }
            }
            if self.outgoing[lane].lags() {
                self.schedule(50, Deed::CatchUp, env);
            }
        }
    }

    /// Sends the last event of lanes that rest once more.
    fn repeat_tails(&mut self, store: &Store<P>, env: &mut Env) {
        for (lane, events) in store.events.iter().enumerate() {
            if self.outgoing[lane].repeats(env.instant()) {
                let place = usize::try_from(self.outgoing[lane].sent - 1).unwrap_or(0);
                if let Some(record) = events.get(place) {
                    self.transmit(record, env);
                }
            }
        }
    }
}

/// Asks a source to send a lane again, unless that is lost.
fn ask_again(source: Topic, lane: Lane, seq: i64, env: &mut Env) {
    if !env.strikes("unheard", |rates| rates.unheard) {
        let delay = env.travel();
        env.after(delay, Event::Resend(source, lane, seq));
    }
}
