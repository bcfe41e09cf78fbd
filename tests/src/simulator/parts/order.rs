//! The order service.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contract::{Lane, Lanes, Record, Topic};
use journal::{Decision, Unreadable};
use order::order::{Order, Policy};
use order::store::{Answer, Command, Rows};
use uuid::Uuid;

use super::{KeyTable, Part};

/// The order service, with what its operator sets.
pub struct Orders(pub Policy);

/// Its tables.
#[derive(Default)]
pub struct Tables {
    /// The orders.
    pub orders: BTreeMap<Uuid, Order>,
    /// The keys under which they were placed.
    pub keys: KeyTable,
}

impl Part for Orders {
    const TOPIC: Topic = Topic::Orders;
    const SCHEMA: &'static str = order::SCHEMA;
    const SOURCES: &'static [Topic] = order::OPENING.consumes;
    const PASSES: &'static [&'static str] = order::OPENING.passes;
    type Command = Command;
    type Answer = Answer;
    type Rows = Rows;
    type Tables = Tables;

    fn read(source: Topic, record: &Record) -> Result<Option<Command>, Unreadable> {
        order::messages::read(source, record)
    }

    fn load(tables: &Tables, commands: &[&Command]) -> Rows {
        let existing = commands.iter().filter_map(|command| tables.orders.get(&command.existing_order()?));
        Rows::of(existing.cloned(), tables.keys.load(commands.iter().filter_map(|command| command.key())))
    }

    fn decide(&self, rows: &mut Rows, command: &Command, decision: &mut Decision<'_>) -> Answer {
        rows.settle(command, self.0, decision)
    }

    fn store(tables: &mut Tables, rows: &Rows) -> Result<(), String> {
        tables.orders.extend(rows.orders().map(|order| (order.shown.id, order.clone())));
        tables.keys.store(rows.keys())
    }

    fn overdue(tables: &Tables, lanes: Lanes, owned: &[Lane], now: DateTime<Utc>) -> Vec<(Lane, Command)> {
        let overdue = tables.orders.values().map(|order| &order.shown);
        let overdue = overdue.filter(|shown| shown.status.is_open() && shown.expires_at <= now);
        let expiry = |id| Command::Change { order: id, command: order::order::Command::Expire };
        let expiries = overdue.map(|shown| (lanes.of_order(shown.id), expiry(shown.id)));
        expiries.filter(|(lane, _)| owned.contains(lane)).collect()
    }
}
