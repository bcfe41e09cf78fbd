//! The four services, and what each of them reads.

use std::fmt;

use contract::Topic;

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceName {
    /// Takes orders and decides what becomes of them.
    Order,
    /// Keeps the stock.
    Inventory,
    /// Takes the money.
    Payment,
    /// Tells the customers.
    Notification,
}

impl ServiceName {
    /// In the order in which people think of them.
    pub const ALL: [Self; 4] = [Self::Order, Self::Inventory, Self::Payment, Self::Notification];

    /// In the order in which they are rolled: who reads an event before who writes it, so that nobody is told in words
    /// that it does not know yet.
    pub const CONSUMERS_FIRST: [Self; 4] = [Self::Notification, Self::Payment, Self::Inventory, Self::Order];

    /// The subcommand that runs it; also what its objects' names end with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::Notification => "notification",
        }
    }

    /// Its consumer groups, less the system's prefix, with the topics that each reads.
    pub fn reads(self) -> &'static [(&'static str, &'static [Topic])] {
        match self {
            Self::Order => &[("orders", &[Topic::Inventory, Topic::Payments]), ("orders_view", &[Topic::Orders])],
            Self::Inventory => &[("inventory", &[Topic::Orders]), ("inventory_view", &[Topic::Inventory])],
            Self::Payment => &[("payments", &[Topic::Orders])],
            Self::Notification => &[("notifications", &[Topic::Orders])],
        }
    }

    /// What its part of the API begins with.
    pub fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Order => &["/orders"],
            Self::Inventory => &["/inventory"],
            Self::Payment => &["/payments"],
            Self::Notification => &["/notifications"],
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
