//! What a rebuild did and found, for people and for programs.

use std::fmt;
use std::time::Duration;

use journal::Rebuilt;
use serde::Serialize;

use crate::audit::counted;

/// What a rebuild did and found. As JSON its names are stable: they are added to, not changed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The schema of the view.
    pub view: &'static str,
    /// Events that were replayed.
    pub events: u64,
    /// Events among them that cannot be read and were passed over.
    pub unreadable: u64,
    /// Events that the view has not applied yet.
    pub behind: u64,
    /// Rows of the rebuilt tables.
    pub rows: u64,
    /// Rows that differed.
    pub differing: u64,
    /// Some of them.
    pub examples: Vec<Example>,
    /// Whether the rebuilt tables are the live ones now.
    pub swapped: bool,
    /// How long it took.
    pub seconds: f64,
}

/// A row that differed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Its table.
    pub table: String,
    /// Its key.
    pub key: String,
    /// `missing`, `extra` or `changed`.
    pub is: &'static str,
}

impl Report {
    pub(super) fn of(view: &'static str, rebuilt: Rebuilt, took: Duration) -> Self {
        let Rebuilt { events, unreadable, rows, differing, examples, behind, swapped } = rebuilt;
        let example = |one: journal::Difference| Example { table: one.table, key: one.key, is: one.is.as_str() };
        let examples = examples.into_iter().map(example).collect();
        Self { view, events, unreadable, behind, rows, differing, examples, swapped, seconds: took.as_secs_f64() }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = if self.swapped { "swapped" } else { "compared only" };
        let (events, rows) = (counted(self.events, "events"), counted(self.rows, "rows"));
        writeln!(f, "{}: {events} replayed into {rows}, {done}, {:.1} s", self.view, self.seconds)?;
        write!(f, "{} differed", counted(self.differing, "rows"))?;
        for (place, Example { table, key, is }) in self.examples.iter().enumerate() {
            write!(f, "{}{table} {key} {is}", if place == 0 { ": " } else { ", " })?;
        }
        match self.differing - self.examples.len() as u64 {
            0 => writeln!(f)?,
            more => writeln!(f, " and {more} more")?,
        }
        if self.behind > 0 {
            let events = counted(self.behind, "events");
            writeln!(f, "the view stops {events} short of its source; its service applies them as it runs")?;
        }
        if self.unreadable > 0 {
            writeln!(f, "{} cannot be read and took no part", counted(self.unreadable, "events"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use journal::{Difference, Discrepancy};

    use super::*;

    fn report(differing: u64, behind: u64, swapped: bool) -> Report {
        let key = |number| format!("order-{number}");
        let difference = |number| Difference { table: "orders".to_owned(), key: key(number), is: Discrepancy::Missing };
        let examples = (1..=differing.min(2)).map(difference).collect();
        let rebuilt = Rebuilt { events: 18_210, unreadable: 0, rows: 5_312, differing, examples, behind, swapped };
        Report::of("orders_view", rebuilt, Duration::from_millis(1_240))
    }

    #[test]
    fn it_is_told_in_two_lines() {
        let text = "orders_view: 18,210 events replayed into 5,312 rows, swapped, 1.2 s\n0 rows differed\n";
        assert_eq!(report(0, 0, true).to_string(), text);
    }

    #[test]
    fn what_differed_is_told_by_example() {
        let text = report(3, 0, false).to_string();
        assert!(text.contains(", compared only, "), "{text}");
        assert!(
            text.ends_with("\n3 rows differed: orders order-1 missing, orders order-2 missing and 1 more\n"),
            "{text}"
        );
        assert!(report(1, 0, false).to_string().ends_with("\n1 row differed: orders order-1 missing\n"));
    }

    #[test]
    fn what_the_view_has_yet_to_apply_and_cannot_read_is_told() {
        let text = Report { unreadable: 2, ..report(0, 1, true) }.to_string();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "the view stops 1 event short of its source; its service applies them as it runs");
        assert_eq!(lines[1], "2 events cannot be read and took no part");
    }

    #[test]
    fn programs_find_the_same() {
        let json = report(3, 7, true).to_json().expect("encodes");
        let json: serde_json::Value = serde_json::from_str(&json).expect("is JSON");
        assert_eq!((&json["differing"], &json["behind"]), (&3.into(), &7.into()));
        assert_eq!(json["examples"][0], serde_json::json!({"table": "orders", "key": "order-1", "is": "missing"}));
        assert_eq!((&json["swapped"], &json["view"]), (&true.into(), &"orders_view".into()));
    }
}
