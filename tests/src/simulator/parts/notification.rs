//! Notification.

use std::collections::BTreeMap;

use contract::{Record, Topic};
use journal::{Decision, Unreadable};
use notification::notice::{Key, Notice, Tell, Told};
use notification::store::Rows;
use uuid::Uuid;

use super::Part;

/// Notification.
pub struct Notices;

/// Its table.
#[derive(Default)]
pub struct Tables {
    /// The notices, by what there is one of.
    pub notices: BTreeMap<Key, Notice>,
}

impl Part for Notices {
    const TOPIC: Topic = Topic::Notifications;
    const SCHEMA: &'static str = notification::SCHEMA;
    const SOURCES: &'static [Topic] = notification::OPENING.consumes;
    const PASSES: &'static [&'static str] = notification::OPENING.passes;
    type Command = Tell;
    type Answer = ();
    type Rows = Rows;
    type Tables = Tables;

    fn read(_: Topic, record: &Record) -> Result<Option<Tell>, Unreadable> {
        Ok(notification::messages::read(record)?)
    }

    fn load(tables: &Tables, tells: &[&Tell]) -> Rows {
        let told = |order: Uuid| -> Told {
            let notices = tables.notices.values().filter(|notice| notice.order_id == order);
            notices.map(|notice| (notice.kind, notice.channel)).collect()
        };
        Rows::of(tells.iter().map(|tell| (tell.order_id, told(tell.order_id))))
    }

    fn decide(&self, rows: &mut Rows, tell: &Tell, decision: &mut Decision<'_>) {
        rows.settle(tell, decision);
    }

    fn store(tables: &mut Tables, rows: &Rows) -> Result<(), String> {
        for notice in rows.raised() {
            if tables.notices.insert(notice.key(), notice.clone()).is_some() {
                return Err(format!("there is a notice of {:?} already", notice.key()));
            }
        }
        Ok(())
    }
}
