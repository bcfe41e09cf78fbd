//! Topics. Every topic of a system has the same number of partitions, its lanes, and is prefixed with the system's name.

use std::fmt;

/// A topic, and at once the service whose journal feeds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// What happened to orders.
    Orders,
    /// What happened to stock.
    Inventory,
    /// What happened to payments.
    Payments,
    /// What customers were told.
    Notifications,
}

impl Topic {
    /// Every topic that carries a journal.
    pub const ALL: [Self; 4] = [Self::Orders, Self::Inventory, Self::Payments, Self::Notifications];

    /// The topic's name without the system's prefix; also the schema of the journal that feeds it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Inventory => "inventory",
            Self::Payments => "payments",
            Self::Notifications => "notifications",
        }
    }

    /// The number under which an inbox keeps its position in this topic. It never changes.
    pub fn code(self) -> i16 {
        match self {
            Self::Orders => 1,
            Self::Inventory => 2,
            Self::Payments => 3,
            Self::Notifications => 4,
        }
    }

    /// The topic's full name in Kafka.
    pub fn name(self, prefix: &str) -> String {
        format!("{prefix}.{}", self.as_str())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The topic of records that could not be read or were refused for good.
pub fn dead_letters(prefix: &str) -> String {
    format!("{prefix}.dead-letters")
}

/// The topic in which a consumer that found a gap in a lane asks the lane's source to send again. It has a partition
/// per lane, so the lane's owner reads the request.
pub fn resend(prefix: &str) -> String {
    format!("{prefix}.resend")
}
