//! What may go wrong in a world, how often, and which of the protocol's rules it may lack.

use super::world::Millis;
use crate::random::Random;

/// How long the first phase lasts, in milliseconds.
pub const STORM: Millis = 12_000;
/// How often each kind of fault that has no rate of its own strikes in a storm, at most.
const MOST_STRIKES: u64 = 5;

/// A rule of the protocol that may be taken away, to see whether it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Records that were applied before are not applied again.
    DuplicateTest,
    /// Records are not applied while others before them are missing.
    GapTest,
    /// Batches look at the epochs of their lanes, and at where the inboxes stand that they move.
    Fencing,
    /// A commit that nobody heard of is looked for before it counts as not done.
    Witness,
    /// A failed or lost record is sent again.
    GoingBack,
}

impl Rule {
    /// Every one of them.
    pub const ALL: [Self; 5] = [Self::DuplicateTest, Self::GapTest, Self::Fencing, Self::Witness, Self::GoingBack];
}

/// How often each fault happens, of a thousand times that it could.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// A message to the broker is lost, and its sender told so.
    pub undelivered: u64,
    /// A message arrives at the broker once more, later.
    pub repeated: u64,
    /// A consumer is given again what it was given before.
    pub fetched_twice: u64,
    /// A request to send again, or a hint, is lost.
    pub unheard: u64,
    /// A message or a commit takes long.
    pub slow: u64,
    /// The process ends just before its commit.
    pub crash_before_commit: u64,
    /// The process ends just after its commit.
    pub crash_after_commit: u64,
    /// The connection is lost before the commit is sent.
    pub cut_before_commit: u64,
    /// The connection is lost while the commit is on its way.
    pub cut_in_commit: u64,
    /// Lanes are claimed, and nobody hears of it.
    pub claim_unheard: u64,
    /// A request never reaches the provider.
    pub provider_deaf: u64,
    /// The provider does what it is asked, and its answer is lost.
    pub provider_dumb: u64,
    /// A request, or its answer, takes longer than anyone waits.
    pub provider_late: u64,
    /// A request arrives twice, or its answer does.
    pub provider_twice: u64,
    /// The provider answers about another amount.
    pub provider_lies: u64,
    /// The provider cannot be reached.
    pub provider_away: u64,
    /// A client's request, or its answer, is lost.
    pub client_lost: u64,
}

/// Something that befalls a service as a whole.
#[derive(Clone, Copy, Debug)]
pub enum Strike {
    /// A process ends, and begins again after a while.
    Kill,
    /// A process is stopped, and goes on after a while without knowing.
    Stop {
        /// For how long, in milliseconds.
        millis: Millis,
    },
    /// Brokers lose the end of a lane that they had acknowledged.
    LoseTail,
    /// Brokers give the lanes anew, for no reason.
    Rebalance,
    /// Old messages of a lane come once more.
    Replay,
}

impl Rates {
    /// The rates of a seed: each fault is absent from half of the worlds, so that none hides another.
    pub fn draw(random: &mut Random) -> Self {
        let mut rate = |most: u64| if random.chance(500) { random.between(1, most) } else { 0 };
        Self {
            undelivered: rate(120),
            repeated: rate(120),
            fetched_twice: rate(150),
            unheard: rate(600),
            slow: rate(80),
            crash_before_commit: rate(25),
            crash_after_commit: rate(25),
            cut_before_commit: rate(40),
            cut_in_commit: rate(40),
            claim_unheard: rate(300),
            provider_deaf: rate(300),
            provider_dumb: rate(300),
            provider_late: rate(300),
            provider_twice: rate(300),
            provider_lies: rate(150),
            provider_away: rate(300),
            client_lost: rate(300),
        }
    }
}

impl Strike {
    /// What strikes in a storm: when, in milliseconds from its begin, and what.
    pub fn draw(random: &mut Random) -> Vec<(Millis, Self)> {
        let mut strikes = Vec::new();
        let kinds: [fn(&mut Random) -> Self; 5] = [
            |_| Self::Kill,
            |random| Self::Stop { millis: random.between(500, 9_000) },
            |_| Self::LoseTail,
            |_| Self::Rebalance,
            |_| Self::Replay,
        ];
        for kind in kinds {
            for _ in 0..random.below(MOST_STRIKES + 1) {
                strikes.push((random.below(STORM), kind(random)));
            }
        }
        strikes
    }
}
