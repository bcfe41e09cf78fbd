//! A replica of a service: it consumes and publishes the lanes that it holds, and settles what is asked of it, in batches,
//! as `journal`'s writer and relay do. What those decide by is theirs; only what happens in between is told here.

mod lanes;
mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use contract::{Lane, Lanes, Record, Topic};
use journal::Refused;
use journal::protocol::{Batch, Holding, Item, Origin, Outgoing};
use tokio::sync::oneshot;

use super::faults::Rule;
use super::parts::Part;
use super::store::{Store, TxnId, Writes};
use super::world::{Deed, Delivery, Env, Event, Life, Millis};
use requests::Requests;

/// A command and who waits for its answer.
pub struct Submission<P: Part> {
    /// The lane that it appends to.
    pub lane: Lane,
    /// The command.
    pub command: P::Command,
    /// Where the answer goes, if anyone wants it.
    pub answer: Option<oneshot::Sender<Result<P::Answer, Refused>>>,
}

/// Whether a process survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It did.
    Lives,
    /// It did not.
    Died,
}

/// What the group asks for.
enum Control {
    Claim(Vec<Lane>),
    Release { flushed: bool },
}

type Work<P> = Batch<<P as Part>::Command, <P as Part>::Answer>;

/// A batch whose transaction is under way, or was when the connection was lost.
struct Flight<P: Part> {
    txn: TxnId,
    batch: Work<P>,
    answers: Vec<P::Answer>,
    appended: Rc<Vec<Record>>,
    rows: Option<Rc<P::Rows>>,
}

/// A replica.
pub struct Replica<P: Part> {
    /// Which it is.
    pub life: Life,
    /// Whether it runs.
    pub is_up: bool,
    /// Until when it is stopped.
    pub stopped_until: Millis,
    holding: Holding,
    outgoing: Vec<Outgoing>,
    /// When what was sent last of each lane arrives; nothing overtakes it.
    arrivals: Vec<Millis>,
    wanted: Vec<Lane>,
    round: u64,
    missing_since: Option<Millis>,
    generation: u64,
    controls: VecDeque<Control>,
    pending: Work<P>,
    work: Vec<Work<P>>,
    flight: Option<Flight<P>>,
    unsure: Option<Flight<P>>,
    connected: bool,
    going: bool,
    fetching: BTreeSet<(Topic, Lane)>,
    places: BTreeMap<(Topic, Lane), usize>,
    deliveries: VecDeque<Delivery>,
    swept: Vec<Lane>,
    requests: Requests,
}

impl<P: Part> Replica<P> {
    /// A replica that does not run yet.
    pub fn new(life: Life, lanes: Lanes) -> Self {
        Self {
            life,
            is_up: false,
            stopped_until: 0,
            holding: Holding::default(),
            outgoing: lanes.all().map(|_| Outgoing::default()).collect(),
            arrivals: lanes.all().map(|_| 0).collect(),
            wanted: Vec::new(),
            round: 0,
            missing_since: None,
            generation: 0,
            controls: VecDeque::new(),
            pending: Batch::new(),
            work: Vec::new(),
            flight: None,
            unsure: None,
            connected: false,
            going: false,
            fetching: BTreeSet::new(),
            places: BTreeMap::new(),
            deliveries: VecDeque::new(),
            swept: Vec::new(),
            requests: Requests::default(),
        }
    }

    /// It starts.
    pub fn start(&mut self, env: &mut Env) {
        (self.is_up, self.connected) = (true, true);
        let delay = env.random.between(1, 500);
        self.schedule(delay, Deed::Tick, env);
    }

    /// It ends, with everything that it has in memory; its transaction is left open.
    pub fn kill(&mut self) -> Option<TxnId> {
        let txn = self.transaction();
        let lanes = Lanes::new(u16::try_from(self.outgoing.len()).unwrap_or(1));
        let Ok(lanes) = lanes else { return txn };
        *self = Self::new(Life { number: self.life.number + 1, ..self.life }, lanes);
        txn
    }

    /// Its transaction that is under way.
    pub fn transaction(&self) -> Option<TxnId> {
        self.flight.as_ref().map(|flight| flight.txn)
    }

    /// It is asked for something.
    pub fn submit(&mut self, Submission { lane, command, answer }: Submission<P>, env: &mut Env) {
        let answer = answer.unwrap_or_else(|| oneshot::channel().0);
        if self.connected {
            self.pending.items.push(Item { lane, command, origin: Origin::Caller { answer, trace: None } });
            self.go_soon(1, env);
        } else {
            let _ = answer.send(Err(Refused::Unavailable));
        }
    }

    /// Something happens to it.
    pub fn deed(&mut self, deed: Deed, part: &P, store: &mut Store<P>, env: &mut Env) -> Fate {
        match deed {
            Deed::Tick => self.tick(store, env),
            Deed::Go => self.go(part, store, env),
            Deed::CatchUp => self.catch_up(store, env),
            Deed::Fetch(generation, source, lane) => self.fetch(generation, source, lane, env),
            Deed::Deliver(delivery) => self.deliver(delivery, env),
            Deed::Commit(txn) => return self.commit(txn, store, env),
            Deed::Reconnected => {
                self.connected = true;
                self.go_soon(1, env);
            }
            Deed::Assigned(round, lanes) => self.assigned(round, lanes, env),
            Deed::Acknowledged(lane, seq) => self.outgoing[lane.index()].acknowledged(seq),
            Deed::Undelivered(lane, seq) => self.undelivered(lane, seq, env),
            Deed::Answered(number, call, result) => self.answered(number, &call, result, env),
        }
        Fate::Lives
    }

    fn schedule(&self, delay: Millis, deed: Deed, env: &mut Env) {
        env.after(delay, Event::Deed(P::TOPIC, self.life, deed));
    }

    fn go_soon(&mut self, delay: Millis, env: &mut Env) {
        if !self.going {
            self.going = true;
            self.schedule(delay, Deed::Go, env);
        }
    }

    /// Goes on with what comes first: a commit whose end nobody knows, what is to be tried again, what came in, and then
    /// what the group asks for.
    fn go(&mut self, part: &P, store: &mut Store<P>, env: &mut Env) {
        self.going = false;
        if self.flight.is_some() || !self.connected {
            return;
        }
        if let Some(unsure) = self.unsure.take() {
            return self.witness(unsure, store, env);
        }
        if let Some(batch) = self.work.pop() {
            return self.attempt(batch, part, store, env);
        }
        self.take_in(env);
        if !self.pending.items.is_empty() || !self.pending.letters.is_empty() {
            let mut batch = std::mem::take(&mut self.pending);
            batch.reach = self.holding.dirty();
            self.attempt(batch, part, store, env);
        } else if let Some(control) = self.controls.pop_front() {
            self.control(control, store, env);
        }
    }

    /// The first round trip of a batch: locks, checks, loads and decides.
    fn attempt(&mut self, mut batch: Work<P>, part: &P, store: &mut Store<P>, env: &mut Env) {
        if batch.is_empty() {
            return self.go_soon(1, env);
        }
        let lanes = batch.lanes();
        let commands: Vec<&P::Command> = batch.items.iter().map(|item| &item.command).collect();
        let locks = P::locks(&store.tables, &commands);
        let Some(txn) = store.begin(lanes.clone(), locks) else {
            drop(commands);
            self.work.push(batch);
            return self.wait_for_locks(env);
        };
        let epochs = lanes.iter().map(|lane| (*lane, store.heads[lane.index()].epoch));
        let lost = if env.lacks(Rule::Fencing) { Vec::new() } else { self.holding.lost(&batch.reach, epochs) };
        if !lost.is_empty() {
            env.count("fenced");
            store.roll_back(txn);
            batch.drop_records_of(&lost);
            self.disown(&lost);
            self.work.push(batch);
            return self.go_soon(1, env);
        }
        let heads = lanes.iter().map(|lane| (*lane, store.heads[lane.index()].last)).collect();
        let mut rows = (!commands.is_empty()).then(|| P::load(&store.tables, &commands));
        let now = env.time();
        let decided = batch.decide(now, &heads, &mut || env.fresh_id(), |command, decision| {
            rows.as_mut().map(|rows| part.decide(rows, command, decision))
        });
        match decided {
            Ok((answers, appended)) => {
                let (answers, appended) = (answers.into_iter().flatten().collect(), Rc::new(appended));
                self.send_off(Flight { txn, batch, answers, appended, rows: rows.map(Rc::new) }, store, env);
            }
            Err(error) => env.violations.push(format!("{}: {error}", P::SCHEMA)),
        }
    }

    fn wait_for_locks(&mut self, env: &mut Env) {
        let delay = env.random.between(5, 25);
        self.go_soon(delay, env);
    }

    /// The second round trip: what is written, and the commit.
    fn send_off(&mut self, flight: Flight<P>, store: &mut Store<P>, env: &mut Env) {
        let batch = &flight.batch;
        for letter in &batch.letters {
            env.violations.push(format!("{}: dead letter of {}: {}", P::SCHEMA, letter.source, letter.reason));
        }
        let effects = batch.items.iter().filter_map(|item| match &item.origin {
            Origin::Record { source, record, .. } => Some((*source, record.lane, record.seq)),
            Origin::Caller { .. } => None,
        });
        let published = batch.lanes().into_iter().map(|lane| (lane, &self.outgoing[lane.index()]));
        let published = published.filter(|(_, outgoing)| outgoing.owned).map(|(lane, outgoing)| (lane, outgoing.acked));
        let was = batch.reach.keys().map(|(source, lane)| ((*source, *lane), self.holding.stored(*source, *lane)));
        let writes = Writes {
            appended: Rc::clone(&flight.appended),
            rows: flight.rows.clone(),
            reach: batch.reach.clone(),
            was: was.collect(),
            published: published.collect(),
            effects: effects.collect(),
        };
        env.trace.add(flight.appended.len() as u64);
        env.count("batches");
        store.write(flight.txn, writes);
        let delay = env.travel();
        self.schedule(delay, Deed::Commit(flight.txn), env);
        self.flight = Some(flight);
    }

    /// The commit is answered, or not.
    fn commit(&mut self, txn: TxnId, store: &mut Store<P>, env: &mut Env) -> Fate {
        let Some(mut flight) = self.flight.take_if(|flight| flight.txn == txn) else { return Fate::Lives };
        if env.strikes("crashed before a commit", |rates| rates.crash_before_commit) {
            self.flight = Some(flight);
            return Fate::Died;
        }
        let is_ended = !store.is_open(txn);
        if is_ended || env.strikes("cut before a commit", |rates| rates.cut_before_commit) {
            env.after(1, Event::Finish(P::TOPIC, txn, false));
            flight.batch.refuse_callers(Refused::Unavailable);
            self.work.push(flight.batch);
            self.disconnect(env);
            return Fate::Lives;
        }
        if env.strikes("cut in a commit", |rates| rates.cut_in_commit) {
            let (commits, delay) = (env.random.chance(500), env.random.between(1, 1_500));
            env.after(delay, Event::Finish(P::TOPIC, txn, commits));
            if env.lacks(Rule::Witness) {
                flight.batch.refuse_callers(Refused::Unavailable);
                self.work.push(flight.batch);
            } else {
                self.unsure = Some(flight);
            }
            self.disconnect(env);
            return Fate::Lives;
        }
        if let Err(constraint) = store.commit(txn, env.missing) {
            env.violations.push(format!("{}: {constraint}", P::SCHEMA));
            return Fate::Lives;
        }
        if env.strikes("crashed after a commit", |rates| rates.crash_after_commit) {
            return Fate::Died;
        }
        self.conclude(flight, env);
        Fate::Lives
    }

    fn disconnect(&mut self, env: &mut Env) {
        self.connected = false;
        let delay = env.random.between(50, 1_000);
        self.schedule(delay, Deed::Reconnected, env);
    }

    /// Whether a commit that nobody heard of happened, once nobody holds the lanes' locks any more.
    fn witness(&mut self, mut unsure: Flight<P>, store: &mut Store<P>, env: &mut Env) {
        let Some(txn) = store.begin(unsure.batch.lanes(), BTreeSet::new()) else {
            self.unsure = Some(unsure);
            return self.wait_for_locks(env);
        };
        store.roll_back(txn);
        if store.witnessed(&unsure.appended, &unsure.batch.reach, &self.holding) {
            self.conclude(unsure, env);
        } else {
            unsure.batch.refuse_callers(Refused::Unavailable);
            self.work.push(unsure.batch);
            self.go_soon(1, env);
        }
    }

    /// After a batch is durable: publish, ask the provider, answer.
    fn conclude(&mut self, flight: Flight<P>, env: &mut Env) {
        self.holding.stored_up_to(&flight.batch.reach);
        self.publish(&flight.appended, env);
        // The transaction is over, so these are the only ones left that know the rows.
        for call in flight.rows.and_then(Rc::into_inner).map(P::calls).unwrap_or_default() {
            self.offer(&call, env);
        }
        for (item, answer) in flight.batch.items.into_iter().zip(flight.answers) {
            if let Origin::Caller { answer: caller, .. } = item.origin {
                let _ = caller.send(Ok(answer));
            }
        }
        self.go_soon(1, env);
    }
}
