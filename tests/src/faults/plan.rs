//! What is going to go wrong, and when: a plan that follows from the seed alone.
//!
//! Several hands work at once, each at what is its own: the replicas of one service, the broker, the database, the
//! network, the topics. A hand goes through everything it can do in a new order each round, so that a short run has
//! something of everything.

use std::fmt;
use std::time::Duration;

use super::crash::{Place, places};
use super::random::Random;
use crate::system::Service;

/// Replicas of each service.
pub const REPLICAS: usize = 2;

/// Journals whose lanes are held. Every replica writes to every lane of the orders, so they are held most.
const SCHEMAS: [&str; 4] = [order::SCHEMA, order::SCHEMA, inventory::SCHEMA, payment::SCHEMA];

/// Who does harm, each one thing after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// To the replicas of a service.
    Replicas(Service),
    /// To the broker.
    Broker,
    /// To the database.
    Database,
    /// To the connections.
    Network,
    /// To what is in the topics, by writing more of it.
    Topics,
    /// To whoever wants a lane's lock.
    Locks,
}

impl Hand {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Replicas(Service::Order),
        Self::Replicas(Service::Inventory),
        Self::Replicas(Service::Payment),
        Self::Replicas(Service::Notification),
        Self::Broker,
        Self::Database,
        Self::Network,
        Self::Topics,
        Self::Locks,
    ];
}

/// Where connections lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// To the broker.
    Broker,
    /// To the database.
    Database,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A replica is killed and comes back.
    Kill { replica: usize, away: Duration },
    /// Every replica of a service is killed.
    KillAll { away: Duration },
    /// A replica is stopped for longer than its session, and goes on with what it has in memory.
    Freeze { replica: usize, away: Duration },
    /// A replica leaves in good order and comes back.
    Churn { replica: usize, away: Duration },
    /// A replica ends at a named place of its code and comes back.
    Crash { replica: usize, place: Place },
    /// The broker is killed and comes back.
    KillBroker { away: Duration },
    /// The broker is stopped in good order and comes back. Meanwhile it answers that there are no brokers.
    StopBroker { away: Duration },
    /// The broker loses the last batches of records that it had acknowledged, so many of a hundred partitions.
    LoseTail { percent: usize, seed: u64 },
    /// The broker's disk is full.
    FillBroker { away: Duration },
    /// The database ends without a checkpoint and comes back.
    KillDatabase { away: Duration },
    /// The database's disk is full.
    FillDatabase { away: Duration },
    /// Connections are cut, so many of a hundred.
    Cut { link: Link, percent: usize },
    /// Connections stand still, so many of a hundred.
    Stall { link: Link, percent: usize, away: Duration },
    /// What goes over connections comes late.
    Delay { link: Link, by: Duration, away: Duration },
    /// Records of a topic are produced once more by someone else, in the order they are in.
    SendTwice { topic: usize, records: usize },
    /// Somebody holds the locks of a journal's lanes, as a process does that is stopped in the middle of a batch.
    Hold { schema: &'static str, away: Duration },
}

/// A fault without its particulars; what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A replica was killed.
    Kill,
    /// All replicas of a service were.
    KillAll,
    /// A replica was stopped.
    Freeze,
    /// A replica left and came back.
    Churn,
    /// A replica ended at a named place.
    Crash,
    /// The broker was killed.
    KillBroker,
    /// The broker was stopped in good order.
    StopBroker,
    /// The broker lost records.
    LoseTail,
    /// Its disk was full.
    FillBroker,
    /// The database was ended.
    KillDatabase,
    /// Its disk was full.
    FillDatabase,
    /// Connections were cut.
    Cut,
    /// They stood still.
    Stall,
    /// They were slow.
    Delay,
    /// Records came twice.
    SendTwice,
    /// Somebody held lanes' locks.
    Hold,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Kill,
        Self::KillAll,
        Self::Freeze,
        Self::Churn,
        Self::Crash,
        Self::KillBroker,
        Self::StopBroker,
        Self::LoseTail,
        Self::FillBroker,
        Self::KillDatabase,
        Self::FillDatabase,
        Self::Cut,
        Self::Stall,
        Self::Delay,
        Self::SendTwice,
        Self::Hold,
    ];

    /// What happened, in a few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "replica killed",
            Self::KillAll => "every replica of a service killed",
            Self::Freeze => "replica stopped beyond its session",
            Self::Churn => "replica left and came back",
            Self::Crash => "process ended at a named point",
            Self::KillBroker => "broker killed",
            Self::StopBroker => "broker stopped in good order",
            Self::LoseTail => "broker lost acknowledged records",
            Self::FillBroker => "broker's disk full",
            Self::KillDatabase => "database ended at once",
            Self::FillDatabase => "database's disk full",
            Self::Cut => "connections cut",
            Self::Stall => "connections stalled",
            Self::Delay => "connections delayed",
            Self::SendTwice => "records produced twice",
            Self::Hold => "lanes' locks held",
        }
    }

    /// What each hand can do.
    pub(super) fn of(hand: Hand) -> &'static [Self] {
        match hand {
            Hand::Replicas(_) => &[Self::Kill, Self::KillAll, Self::Freeze, Self::Churn, Self::Crash],
            Hand::Broker => &[Self::KillBroker, Self::StopBroker, Self::LoseTail, Self::FillBroker],
            Hand::Database => &[Self::KillDatabase, Self::FillDatabase],
            Hand::Network => &[Self::Cut, Self::Cut, Self::Stall, Self::Delay],
            Hand::Topics => &[Self::SendTwice],
            Hand::Locks => &[Self::Hold],
        }
    }
}

impl Fault {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Kill { .. } => Kind::Kill,
            Self::KillAll { .. } => Kind::KillAll,
            Self::Freeze { .. } => Kind::Freeze,
            Self::Churn { .. } => Kind::Churn,
            Self::Crash { .. } => Kind::Crash,
            Self::KillBroker { .. } => Kind::KillBroker,
            Self::StopBroker { .. } => Kind::StopBroker,
            Self::LoseTail { .. } => Kind::LoseTail,
            Self::FillBroker { .. } => Kind::FillBroker,
            Self::KillDatabase { .. } => Kind::KillDatabase,
            Self::FillDatabase { .. } => Kind::FillDatabase,
            Self::Cut { .. } => Kind::Cut,
            Self::Stall { .. } => Kind::Stall,
            Self::Delay { .. } => Kind::Delay,
            Self::SendTwice { .. } => Kind::SendTwice,
            Self::Hold { .. } => Kind::Hold,
        }
    }
}

/// A hand's plan: what it does, and how long it rests before.
#[derive(Clone, Debug)]
pub struct Plan {
    hand: Hand,
    random: Random,
    able: Vec<Kind>,
    /// What is left of this round.
    round: Vec<Kind>,
    places: Vec<Place>,
}

impl Plan {
    /// What `hand` does under a seed, but `only` this, unless it is nothing.
    pub fn of(seed: u64, hand: Hand, only: &[Kind]) -> Self {
        let places = match hand {
            Hand::Replicas(service) => places(service),
            _ => Vec::new(),
        };
        let able = Kind::of(hand).iter().copied().filter(|kind| only.is_empty() || only.contains(kind)).collect();
        Self { hand, random: Random::of(seed, &format!("{hand:?}")), able, round: Vec::new(), places }
    }

    /// The rest of a hand: what it harms has to work for some of the time, or there is nothing to harm.
    fn rest(&mut self) -> Duration {
        match self.hand {
            Hand::Replicas(_) | Hand::Network => self.random.millis(1_000, 5_000),
            // It takes some seconds to start besides.
            Hand::Broker => self.random.millis(3_000, 8_000),
            Hand::Database => self.random.millis(6_000, 14_000),
            Hand::Topics => self.random.millis(2_000, 8_000),
            Hand::Locks => self.random.millis(500, 4_000),
        }
    }

    fn fault(&mut self, kind: Kind) -> Fault {
        let random = &mut self.random;
        let replica = random.below(REPLICAS);
        let link = *random.one_of(&[Link::Broker, Link::Database]);
        let percent = *random.one_of(&[30, 100]);
        match kind {
            Kind::Kill => Fault::Kill { replica, away: random.millis(0, 3_000) },
            Kind::KillAll => Fault::KillAll { away: random.millis(0, 2_000) },
            // A session is 6 s.
            Kind::Freeze => Fault::Freeze { replica, away: random.millis(7_000, 10_000) },
            Kind::Churn => Fault::Churn { replica, away: random.millis(0, 1_000) },
            Kind::Crash => Fault::Crash { replica, place: *random.one_of(&self.places) },
            Kind::KillBroker => Fault::KillBroker { away: random.millis(0, 2_000) },
            Kind::StopBroker => Fault::StopBroker { away: random.millis(0, 2_000) },
            Kind::LoseTail => Fault::LoseTail { percent: 60, seed: random.number() },
            Kind::FillBroker => Fault::FillBroker { away: random.millis(1_000, 3_000) },
            Kind::KillDatabase => Fault::KillDatabase { away: random.millis(0, 2_000) },
            Kind::FillDatabase => Fault::FillDatabase { away: random.millis(1_000, 3_000) },
            Kind::Cut => Fault::Cut { link, percent },
            Kind::Stall => Fault::Stall { link, percent, away: random.millis(500, 8_000) },
            Kind::Delay => Fault::Delay { link, by: random.millis(5, 200), away: random.millis(1_000, 5_000) },
            Kind::SendTwice => Fault::SendTwice { topic: random.below(4), records: 1 + random.below(200) },
            Kind::Hold => Fault::Hold { schema: SCHEMAS[random.below(SCHEMAS.len())], away: random.millis(50, 1_000) },
        }
    }
}

impl Iterator for Plan {
    type Item = (Duration, Fault);

    fn next(&mut self) -> Option<Self::Item> {
        if self.round.is_empty() {
            self.round = self.random.shuffled(&self.able);
        }
        let kind = self.round.pop()?;
        Some((self.rest(), self.fault(kind)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind().name())?;
        match self {
            Self::Crash { replica, place } => write!(f, ", number {replica}: {place}"),
            Self::Kill { replica, away } | Self::Freeze { replica, away } | Self::Churn { replica, away } => {
                write!(f, ", number {replica}, {away:?}")
            }
            Self::KillAll { away }
            | Self::KillBroker { away }
            | Self::StopBroker { away }
            | Self::FillBroker { away }
            | Self::KillDatabase { away }
            | Self::FillDatabase { away } => write!(f, ", {away:?}"),
            Self::LoseTail { percent, .. } => write!(f, ", in {percent} % of the partitions"),
            Self::Cut { link, percent } => write!(f, ", {link:?}, {percent} %"),
            Self::Stall { link, percent, away } => write!(f, ", {link:?}, {percent} %, {away:?}"),
            Self::Delay { link, by, away } => write!(f, ", {link:?}, by {by:?}, {away:?}"),
            Self::Hold { schema, away } => write!(f, ", {schema}, {away:?}"),
            Self::SendTwice { topic, records } => write!(f, ", {records} of topic {topic}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_plan_follows_from_its_seed() {
        for hand in Hand::ALL {
            let plan = |seed| Plan::of(seed, hand, &[]).take(50).collect::<Vec<_>>();
            assert_eq!(plan(3), plan(3));
            assert_ne!(plan(3), plan(4));
        }
    }

    #[test]
    fn the_first_round_of_every_hand_has_everything() {
        let first = |hand| Plan::of(9, hand, &[]).take(Kind::of(hand).len()).map(|(_, fault)| fault.kind());
        let kinds: BTreeSet<Kind> = Hand::ALL.into_iter().flat_map(first).collect();
        assert_eq!(kinds, Kind::ALL.into_iter().collect());
    }

    #[test]
    fn a_frozen_replica_outlives_its_session() {
        let away = Plan::of(1, Hand::Replicas(Service::Order), &[]).take(500).filter_map(|(_, fault)| match fault {
            Fault::Freeze { away, .. } => Some(away),
            _ => None,
        });
        assert!(away.min() > Some(Duration::from_secs(6)));
    }
}
