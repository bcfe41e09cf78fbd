//! A service's database: its lanes, inboxes, events and rows, the locks on them, and the transactions that hold those.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use contract::{Lane, Lanes, ProductId, Record, Topic};
use journal::protocol::{Holding, Position, Reach};
use uuid::Uuid;

use super::faults::Rule;
use super::parts::Part;

/// A lane's row.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// How often it was claimed.
    pub epoch: i64,
    /// The last sequence written.
    pub last: i64,
    /// The last sequence known to be published.
    pub published: i64,
}

/// A transaction's number.
pub type TxnId = u64;

/// What a transaction stores when it commits.
pub struct Writes<P: Part> {
    /// Events.
    pub appended: Rc<Vec<Record>>,
    /// Rows, if commands were settled.
    pub rows: Option<Rc<P::Rows>>,
    /// Inboxes, and where they stood before.
    pub reach: Reach,
    /// The sequences that the inboxes were seen at.
    pub was: BTreeMap<(Topic, Lane), i64>,
    /// How far the lanes are published.
    pub published: Vec<(Lane, i64)>,
    /// The records whose effects these are.
    pub effects: Vec<(Topic, Lane, i64)>,
}

struct Txn<P: Part> {
    lanes: Vec<Lane>,
    products: BTreeSet<ProductId>,
    writes: Option<Writes<P>>,
}

/// A service's database.
pub struct Store<P: Part> {
    /// The lanes.
    pub heads: Vec<Head>,
    /// How far each lane of each source was applied.
    pub inboxes: BTreeMap<(Topic, Lane), Position>,
    /// The events of each lane.
    pub events: Vec<Vec<Record>>,
    /// The service's own tables.
    pub tables: P::Tables,
    /// How often the effects of each record were stored; no table of the real one, but what the judge wants to know.
    pub effects: BTreeMap<(Topic, Lane, i64), u32>,
    versions: BTreeSet<(Uuid, i32)>,
    open: BTreeMap<TxnId, Txn<P>>,
    last_txn: TxnId,
}

impl<P: Part> Store<P> {
    /// An empty database of a system with these lanes.
    pub fn new(lanes: Lanes) -> Self {
        Self {
            heads: lanes.all().map(|_| Head::default()).collect(),
            inboxes: BTreeMap::new(),
            events: lanes.all().map(|_| Vec::new()).collect(),
            tables: P::Tables::default(),
            effects: BTreeMap::new(),
            versions: BTreeSet::new(),
            open: BTreeMap::new(),
            last_txn: 0,
        }
    }

    /// Begins a transaction that locks these lanes and the rows of these products; nothing while others hold any of them.
    pub fn begin(&mut self, lanes: Vec<Lane>, products: BTreeSet<ProductId>) -> Option<TxnId> {
        let blocks =
            |txn: &Txn<P>| txn.lanes.iter().any(|lane| lanes.contains(lane)) || !txn.products.is_disjoint(&products);
        if self.open.values().any(blocks) {
            return None;
        }
        self.last_txn += 1;
        self.open.insert(self.last_txn, Txn { lanes, products, writes: None });
        Some(self.last_txn)
    }

    /// Hands over what a transaction is to store, if it is still there.
    pub fn write(&mut self, txn: TxnId, writes: Writes<P>) {
        if let Some(open) = self.open.get_mut(&txn) {
            open.writes = Some(writes);
        }
    }

    /// Whether a transaction is still there: one that did nothing for too long was ended.
    pub fn is_open(&self, txn: TxnId) -> bool {
        self.open.contains_key(&txn)
    }

    /// Ends a transaction without a trace.
    pub fn roll_back(&mut self, txn: TxnId) {
        self.open.remove(&txn);
    }

    /// Ends a transaction and stores what it wrote. An error says which constraint that would break; then nothing is
    /// stored.
    pub fn commit(&mut self, txn: TxnId, missing: Option<Rule>) -> Result<(), String> {
        let Some(Txn { writes: Some(writes), .. }) = self.open.remove(&txn) else { return Ok(()) };
        self.check(&writes, missing)?;
        if let Some(rows) = &writes.rows {
            P::store(&mut self.tables, rows)?;
        }
        for record in writes.appended.iter() {
            self.versions.insert((record.stream, record.version));
            self.heads[record.lane.index()].last = record.seq;
            self.events[record.lane.index()].push(record.clone());
        }
        for (lane, published) in &writes.published {
            let head = &mut self.heads[lane.index()];
            head.published = head.published.max(*published);
        }
        self.inboxes.extend(writes.reach);
        for effect in writes.effects {
            *self.effects.entry(effect).or_default() += 1;
        }
        Ok(())
    }

    fn check(&self, writes: &Writes<P>, missing: Option<Rule>) -> Result<(), String> {
        for record in writes.appended.iter() {
            if self.versions.contains(&(record.stream, record.version)) {
                return Err(format!("version {} of {} is there already", record.version, record.stream));
            }
        }
        for (place, was) in &writes.was {
            let stands = self.inbox(place.0, place.1).seq;
            if stands != *was && missing != Some(Rule::Fencing) {
                return Err(format!("inbox {place:?} stands at {stands} and was to move from {was}"));
            }
        }
        Ok(())
    }

    /// Where an inbox stands.
    pub fn inbox(&self, source: Topic, lane: Lane) -> Position {
        self.inboxes.get(&(source, lane)).copied().unwrap_or_default()
    }

    /// Whether the batch that appended these events and moved these inboxes is there.
    pub fn witnessed(&self, appended: &[Record], reach: &Reach, holding: &Holding) -> bool {
        let epochs = reach.keys().map(|(_, lane)| (*lane, self.heads[lane.index()].epoch));
        match (appended.first(), holding.witness(reach, epochs)) {
            (Some(event), _) => self.events[event.lane.index()].iter().any(|stored| stored.id == event.id),
            (None, Some((source, lane, position))) => self.inbox(source, lane) == position,
            (None, None) => false,
        }
    }
}
