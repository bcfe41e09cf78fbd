//! What the tests break on purpose: points at which a process ends as if it were killed, and safeguards that are left
//! out, to see that somebody notices.
//!
//! Both exist only in a build with the feature `faults`, which nothing that is released has. In any other build every
//! function here is empty, and every safeguard is in its place.

/// The variable that names where a process ends: `<point>/<schema>/<what>`, such as
/// `after-commit/orders/order.placed.v1`, or `lanes-claimed/orders/` where nothing is named.
pub const CRASH_AT: &str = "ORDERSYSTEM_CRASH_AT";
/// The variable that names the safeguard that is left out.
pub const SABOTAGE: &str = "ORDERSYSTEM_SABOTAGE";
/// What a process says at last, before the point it ends at.
pub const FAREWELL: &str = "the process ends here, as it was told: ";

/// What happens at a crash point, by which one is told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happens {
    /// Records are taken in, each of a kind.
    Received,
    /// Events are appended, each of a kind.
    Appended,
    /// A batch is settled: events are appended for commands and for the records that were taken in, each of a kind.
    Settled,
    /// The provider is asked for a step.
    Asked,
    /// Nothing that has a name.
    Nothing,
}

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $happens:ident, $kafka:literal;)*) => {
        /// A place in the code where a process may end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CrashPoint {
            $($(#[$doc])* $variant,)*
        }

        impl CrashPoint {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What happens there.
            pub fn happens(self) -> Happens {
                match self { $(Self::$variant => Happens::$happens,)* }
            }

            /// Whether it is passed over Kafka only.
            pub fn needs_kafka(self) -> bool {
                match self { $(Self::$variant => $kafka,)* }
            }
        }
    };
}

points! {
    /// Lanes are claimed in the database; nobody here knows yet.
    LanesClaimed = "lanes-claimed", Nothing, false;
    /// Lanes are about to be let go.
    LanesReleased = "lanes-released", Nothing, false;
    /// A record was taken in; nothing came of it.
    Received = "received", Received, false;
    /// Everything of a batch is written; the commit was not sent.
    BeforeCommit = "before-commit", Settled, false;
    /// A batch is durable; nobody was told.
    AfterCommit = "after-commit", Settled, false;
    /// What was appended was handed to the transport; the callers wait.
    HandedOver = "handed-over", Appended, false;
    /// The broker has an event; nobody here took note of that.
    Delivered = "delivered", Appended, true;
    /// The brokers are about to be told how far was read.
    OffsetsTold = "offsets-told", Nothing, true;
    /// A lane is about to be published again.
    WentBack = "went-back", Nothing, true;
    /// Dead letters are with the broker and not marked so.
    LettersPublished = "letters-published", Nothing, true;
    /// Old idempotency keys were deleted.
    KeysPurged = "keys-purged", Nothing, false;
    /// The provider is about to be asked.
    BeforeAsking = "before-asking", Asked, false;
    /// The provider has answered; the answer is not recorded.
    AfterAsking = "after-asking", Asked, false;
}

/// What keeps the books right whatever happens, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safeguard {
    /// Who does not own a lane any more changes nothing: the epoch and the position are compared.
    Fencing,
    /// What was applied is not applied again.
    DuplicateTest,
    /// What comes too early is not applied.
    GapTest,
    /// Lanes are locked in one order.
    LockOrder,
    /// A request is known again by its key.
    IdempotencyKeys,
}

impl Safeguard {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Fencing, Self::DuplicateTest, Self::GapTest, Self::LockOrder, Self::IdempotencyKeys];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fencing => "fencing",
            Self::DuplicateTest => "duplicate-test",
            Self::GapTest => "gap-test",
            Self::LockOrder => "lock-order",
            Self::IdempotencyKeys => "idempotency-keys",
        }
    }
}

/// Ends the process if it was told to end at this point, of this schema, when one of `names` is what happens.
#[inline]
pub fn reached<'n, N: IntoIterator<Item = &'n str>>(point: CrashPoint, schema: &str, names: impl FnOnce() -> N) {
    if is_due(point, schema, names) {
        end();
    }
}

#[cfg(feature = "faults")]
pub use told::{end, is_due, is_left_out};

#[cfg(not(feature = "faults"))]
pub use untold::{end, is_due, is_left_out};

#[cfg(feature = "faults")]
mod told {
    use std::sync::LazyLock;

    use super::{CRASH_AT, CrashPoint, FAREWELL, SABOTAGE, Safeguard};

    static CRASH: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(CRASH_AT).ok());
    static LEFT_OUT: LazyLock<Option<Safeguard>> = LazyLock::new(|| {
        let named = std::env::var(SABOTAGE).ok()?;
        Safeguard::ALL.into_iter().find(|safeguard| safeguard.name() == named)
    });

    /// Whether the process was told to end at this point.
    pub fn is_due<'n, N: IntoIterator<Item = &'n str>>(
        point: CrashPoint,
        schema: &str,
        names: impl FnOnce() -> N,
    ) -> bool {
        let Some(told) = CRASH.as_deref() else {
            return false;
        };
        let mut parts = told.splitn(3, '/');
        parts.next() == Some(point.name())
            && parts.next() == Some(schema)
            && parts.next().is_some_and(|wanted| names().into_iter().any(|name| name == wanted))
    }

    /// Ends the process at once: nothing is flushed, nobody says goodbye.
    pub fn end() {
        eprintln!("{FAREWELL}{}", CRASH.as_deref().unwrap_or_default());
        std::process::abort();
    }

    /// Whether this safeguard is left out.
    pub fn is_left_out(safeguard: Safeguard) -> bool {
        *LEFT_OUT == Some(safeguard)
    }
}

#[cfg(not(feature = "faults"))]
mod untold {
    use super::{CrashPoint, Safeguard};

    /// Whether the process was told to end at this point: it was not.
    #[inline]
    pub fn is_due<'n, N: IntoIterator<Item = &'n str>>(_: CrashPoint, _: &str, _: impl FnOnce() -> N) -> bool {
        false
    }

    /// Nothing ends.
    #[inline]
    pub fn end() {}

    /// Whether this safeguard is left out: it is not.
    #[inline]
    pub fn is_left_out(_: Safeguard) -> bool {
        false
    }
}
