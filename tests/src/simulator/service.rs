//! A service: its database, its replicas, and the group that shares the lanes between them.

use contract::{Lane, Lanes, Topic};
use tokio::sync::oneshot;

use journal::Refused;

use super::faults::{Rule, Strike};
use super::parts::Part;
use super::replica::{Fate, Replica, Submission};
use super::store::{Store, TxnId};
use super::topics::Topics;
use super::world::{Deed, Env, Event, Life, Millis};

/// How many replicas a service has.
const REPLICAS: usize = 2;
/// How long the group waits for a replica that it does not hear of, in milliseconds.
const SESSION: Millis = 3_000;
/// How long a transaction may do nothing until the database ends it, in milliseconds.
const IDLE: Millis = 3_000;

/// A service.
pub struct Service<P: Part> {
    /// Its code.
    pub part: P,
    /// Its database.
    pub store: Store<P>,
    /// Its replicas.
    pub replicas: Vec<Replica<P>>,
    /// How often the lanes were given anew.
    round: u64,
}

impl<P: Part> Service<P> {
    /// A service of a system with these lanes, of which nothing runs yet.
    pub fn new(part: P, lanes: Lanes) -> Self {
        let replicas = (0..REPLICAS).map(|replica| Replica::new(Life { replica, number: 0 }, lanes)).collect();
        Self { part, store: Store::new(lanes), replicas, round: 0 }
    }

    /// Its replicas start.
    pub fn begin(&mut self, env: &mut Env) {
        for replica in 0..REPLICAS {
            self.start(replica, env);
        }
    }

    /// A replica starts, unless it runs.
    pub fn start(&mut self, replica: usize, env: &mut Env) {
        let replica = &mut self.replicas[replica];
        if replica.is_up {
            return;
        }
        replica.start(env);
        let delay = env.random.between(50, 800);
        env.after(delay, Event::Rebalance(P::TOPIC));
    }

    /// Whether a process still lives.
    pub fn lives(&self, life: Life) -> bool {
        let replica = &self.replicas[life.replica];
        replica.is_up && replica.life == life
    }

    /// Something happens to a replica. One that is stopped learns of it when it goes on.
    pub fn deed(&mut self, life: Life, deed: Deed, env: &mut Env) {
        if !self.lives(life) {
            return;
        }
        let replica = &mut self.replicas[life.replica];
        if env.now < replica.stopped_until {
            env.after(replica.stopped_until - env.now, Event::Deed(P::TOPIC, life, deed));
            return;
        }
        let fate = replica.deed(deed, &self.part, &mut self.store, env);
        if fate == Fate::Died {
            self.kill(life.replica, env);
        }
    }

    /// A transaction ends whose process does not end it.
    pub fn finish(&mut self, txn: TxnId, commits: bool, env: &mut Env) {
        if !commits {
            self.store.roll_back(txn);
        } else if let Err(constraint) = self.store.commit(txn, env.missing) {
            env.violations.push(format!("{}: {constraint}", P::SCHEMA));
        }
    }

    /// The group gives the lanes to whoever it hears of.
    pub fn rebalance(&mut self, env: &mut Env) {
        self.round += 1;
        let heard = |replica: &Replica<P>| replica.is_up && replica.stopped_until <= env.now + SESSION;
        let members: Vec<usize> = (0..REPLICAS).filter(|replica| heard(&self.replicas[*replica])).collect();
        for replica in 0..REPLICAS {
            let rank = members.iter().position(|member| *member == replica);
            let is_mine = |lane: &Lane| rank.is_some_and(|rank| lane.index() % members.len() == rank);
            let lanes: Vec<Lane> = env.lanes.all().filter(is_mine).collect();
            let delay = env.random.between(10, 500);
            env.after(delay, Event::Deed(P::TOPIC, self.replicas[replica].life, Deed::Assigned(self.round, lanes)));
        }
    }

    /// A consumer misses what is in a lane from `seq` on.
    pub fn resend(&mut self, lane: Lane, seq: i64, env: &mut Env) {
        for replica in &mut self.replicas {
            if replica.is_up && !env.lacks(Rule::GoingBack) {
                replica.send_again(lane, seq, env);
            }
        }
    }

    /// More came of a lane.
    pub fn wake(&mut self, source: Topic, lane: Lane, env: &mut Env) {
        if P::SOURCES.contains(&source) {
            for replica in &mut self.replicas {
                replica.wake(source, lane, env);
            }
        }
    }

    /// Asks a replica for something; an error when it can be known at once that there will be no answer.
    pub fn submit(
        &mut self,
        replica: usize,
        lane: Lane,
        command: P::Command,
        env: &mut Env,
    ) -> Option<oneshot::Receiver<Result<P::Answer, Refused>>> {
        let replica = &mut self.replicas[replica];
        if !replica.is_up {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        replica.submit(Submission { lane, command, answer: Some(answer) }, env);
        Some(answered)
    }

    /// Something befalls the service.
    pub fn strike(&mut self, strike: Strike, env: &mut Env) {
        if env.is_calm() {
            return;
        }
        let replica = env.random.index(REPLICAS);
        let lane = Lane(u16::try_from(env.random.below(u64::from(env.lanes.count()))).unwrap_or(0));
        match strike {
            Strike::Kill => self.kill(replica, env),
            Strike::Stop { millis } => self.stop(replica, millis, env),
            Strike::LoseTail => {
                env.count("tails lost");
                let count = env.random.between(1, 6);
                env.topics.lose(P::TOPIC, lane, usize::try_from(count).unwrap_or(1));
            }
            Strike::Rebalance => self.rebalance(env),
            Strike::Replay => replay(&mut env.topics, P::TOPIC, lane),
        }
    }

    /// A process ends at once. Its transaction is ended when the database notices.
    fn kill(&mut self, replica: usize, env: &mut Env) {
        if !self.replicas[replica].is_up {
            return;
        }
        env.count("killed");
        if let Some(txn) = self.replicas[replica].kill() {
            let delay = env.random.between(1, 500);
            env.after(delay, Event::Finish(P::TOPIC, txn, false));
        }
        let delay = env.random.between(100, 4_000);
        env.after(delay, Event::Start(P::TOPIC, replica));
        env.after(SESSION, Event::Rebalance(P::TOPIC));
    }

    /// A process is stopped, and goes on later without knowing.
    fn stop(&mut self, replica: usize, millis: Millis, env: &mut Env) {
        env.count("stopped");
        let stopped = &mut self.replicas[replica];
        stopped.stopped_until = env.now + millis;
        if let Some(txn) = stopped.transaction().filter(|_| millis > IDLE) {
            env.after(IDLE, Event::Finish(P::TOPIC, txn, false));
        }
        if millis > SESSION {
            env.after(SESSION, Event::Rebalance(P::TOPIC));
            // It joins again once it learns that it was given up.
            let back = millis + env.random.between(50, 1_500);
            env.after(back, Event::Rebalance(P::TOPIC));
        }
    }

    /// The storm is over: whoever is stopped goes on.
    pub fn calm(&mut self) {
        for replica in &mut self.replicas {
            replica.stopped_until = 0;
        }
    }
}

/// What a lane had comes once more, at its end.
fn replay(topics: &mut Topics, topic: Topic, lane: Lane) {
    let old: Vec<_> = topics.lane(topic, lane).iter().take(20).cloned().collect();
    for message in old {
        topics.append(topic, lane, message);
    }
}
