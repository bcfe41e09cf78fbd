//! Lanes and their consumers: sequences without a gap, and positions that reach their source's.

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use contract::{Lane, Lanes, Topic};
use journal::Opening;
use tokio_postgres::Row;

use super::invariant::Invariant::Sequences;
use super::moment::Moment;
use super::report::{InFlight, Lag};
use super::snapshot::Snapshot;
use super::verdict::Verdicts;

/// Every journal and view.
const JOURNALS: [&Opening; 6] = [
    &order::OPENING,
    &order::VIEW_OPENING,
    &inventory::OPENING,
    &inventory::VIEW_OPENING,
    &payment::OPENING,
    &notification::OPENING,
];

const LANES: &str = "
SELECT h.lane, h.last_seq, coalesce(e.events, 0), coalesce(e.first, 1), coalesce(e.last, 0)
FROM lane_head h FULL JOIN
    (SELECT lane, count(*) AS events, min(seq) AS first, max(seq) AS last FROM event GROUP BY lane) e USING (lane)
ORDER BY 1";

/// A lane of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneCount {
    /// The journal's schema.
    pub schema: &'static str,
    /// The lane.
    pub lane: i16,
    /// The sequence that the journal says is its last.
    pub head: i64,
    /// How many events it has.
    pub events: i64,
    /// The lowest sequence.
    pub first: i64,
    /// The highest.
    pub last: i64,
}

/// How far a consumer has come in one lane of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// The consumer's schema.
    pub consumer: &'static str,
    /// The source.
    pub source: Topic,
    /// The lane.
    pub lane: Lane,
    /// The last sequence of the source.
    pub head: i64,
    /// The last sequence that was applied; nothing when the consumer has no place to keep it.
    pub applied: Option<i64>,
    /// When the next one was decided.
    pub next_at: Option<DateTime<Utc>>,
}

/// The system's number of lanes.
pub(super) async fn lanes(snapshot: &Snapshot<'_>) -> anyhow::Result<Lanes> {
    let known = snapshot.rows(order::SCHEMA, "SELECT FROM pg_namespace WHERE nspname = $1", &[&order::SCHEMA]).await?;
    ensure!(!known.is_empty(), "there is no order system in this database: it has no schema `{}`", order::SCHEMA);
    let rows = snapshot.rows(order::SCHEMA, "SELECT lanes FROM system", &[]).await?;
    let count: i16 = rows.first().context("the journal of orders was never opened")?.try_get(0)?;
    Ok(Lanes::new(count.unsigned_abs())?)
}

/// The lanes of every journal.
pub(super) async fn counts(snapshot: &Snapshot<'_>) -> anyhow::Result<Vec<LaneCount>> {
    let mut counts = Vec::new();
    for opening in JOURNALS.iter().filter(|opening| opening.publishes.is_some()) {
        for row in snapshot.rows(opening.schema, LANES, &[]).await? {
            counts.push(lane_count(opening.schema, &row)?);
        }
    }
    Ok(counts)
}

/// How far every consumer has come.
pub(super) async fn reached(snapshot: &Snapshot<'_>) -> anyhow::Result<Vec<Reach>> {
    let mut reached = Vec::new();
    for opening in JOURNALS {
        for source in opening.consumes {
            let sql = format!(
                "SELECT h.lane, h.last_seq, i.last_seq, e.at FROM {source}.lane_head h
                 LEFT JOIN inbox_lane i ON i.source = $1 AND i.lane = h.lane
                 LEFT JOIN {source}.event e ON e.lane = h.lane AND e.seq = i.last_seq + 1 ORDER BY h.lane"
            );
            for row in snapshot.rows(opening.schema, &sql, &[&source.code()]).await? {
                reached.push(reach(opening.schema, *source, &row)?);
            }
        }
    }
    Ok(reached)
}

/// How many records consumers could not read or settle.
pub(super) async fn dead_letters(snapshot: &Snapshot<'_>) -> anyhow::Result<u64> {
    let mut letters = 0;
    for opening in JOURNALS {
        let rows = snapshot.rows(opening.schema, "SELECT count(*) FROM dead_letter", &[]).await?;
        letters += rows[0].try_get::<_, i64>(0)?.unsigned_abs();
    }
    Ok(letters)
}

fn lane_count(schema: &'static str, row: &Row) -> anyhow::Result<LaneCount> {
    Ok(LaneCount {
        schema,
        lane: row.try_get(0)?,
        head: row.try_get::<_, Option<i64>>(1)?.unwrap_or_default(),
        events: row.try_get(2)?,
        first: row.try_get(3)?,
        last: row.try_get(4)?,
    })
}

fn reach(consumer: &'static str, source: Topic, row: &Row) -> anyhow::Result<Reach> {
    let lane: i16 = row.try_get(0)?;
    Ok(Reach {
        consumer,
        source,
        lane: Lane(lane.unsigned_abs()),
        head: row.try_get(1)?,
        applied: row.try_get(2)?,
        next_at: row.try_get(3)?,
    })
}

/// Judges the lanes: there are as many as there should be, and the sequences of each are 1, 2, 3 … up to its head.
pub(super) fn judge_lanes(counts: &[LaneCount], lanes: Lanes, verdicts: &mut Verdicts) {
    verdicts.checked(Sequences, "lanes", counts.len());
    for count in counts {
        let LaneCount { schema, lane, head, events, first, last } = *count;
        verdicts.expect(Sequences, (events, first, last) == (head, 1, head), || {
            format!("{schema}, lane {lane}: head is {head}, and there are {events} events from {first} to {last}")
        });
    }
    let wanted = usize::from(lanes.count()) * JOURNALS.iter().filter(|opening| opening.publishes.is_some()).count();
    verdicts.expect(Sequences, counts.len() == wanted, || format!("{} lanes instead of {wanted}", counts.len()));
}

/// Judges the consumers: none is ahead of its source, none lags behind for long.
pub(super) fn judge_consumers(reached: &[Reach], moment: &Moment, verdicts: &mut Verdicts) {
    verdicts.checked(Sequences, "positions", reached.len());
    for reach in reached {
        let Reach { consumer, source, lane, head, .. } = reach;
        let place = || format!("{consumer} reads {source}, lane {lane}");
        let Some(applied) = reach.applied else {
            verdicts.broken(Sequences, || format!("{}: no position is kept", place()));
            continue;
        };
        verdicts.expect(Sequences, applied <= *head, || format!("{}: at {applied}, past the head {head}", place()));
        // An event that is not there any more will never come.
        let late = reach.next_at.is_none_or(|at| moment.is_late(at));
        verdicts.expect(Sequences, applied >= *head || !late, || {
            let since = reach.next_at.map_or_else(String::new, |at| format!(" since {at}"));
            format!("{}: at {applied}, behind the head {head}{since}", place())
        });
    }
}

/// What consumers have yet to apply.
pub(super) fn in_flight(reached: &[Reach], at: DateTime<Utc>) -> InFlight {
    let mut consumers: Vec<Lag> = Vec::new();
    for reach in reached {
        let messages = (reach.head - reach.applied.unwrap_or_default()).max(0).unsigned_abs();
        if messages == 0 {
            continue;
        }
        let (consumer, source) = (reach.consumer, reach.source.as_str());
        let oldest_seconds = reach.next_at.map_or(0, |next| (at - next).num_seconds().max(0));
        match consumers.iter_mut().find(|lag| (lag.consumer, lag.source) == (consumer, source)) {
            Some(lag) => {
                lag.messages += messages;
                lag.oldest_seconds = lag.oldest_seconds.max(oldest_seconds);
            }
            None => consumers.push(Lag { consumer, source, messages, oldest_seconds }),
        }
    }
    InFlight { messages: consumers.iter().map(|lag| lag.messages).sum(), consumers, ..InFlight::default() }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::audit::PATIENCE_SECONDS;

    const LANES: u16 = 3;

    fn lanes() -> Lanes {
        Lanes::new(LANES).expect("in range")
    }

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(1)
    }

    /// A lane of a consumer that has applied so many of ten events, the next of which was decided seconds ago.
    fn reach(applied: Option<i64>, seconds: i64) -> Reach {
        let next_at = applied.is_some_and(|applied| applied < 10).then(|| now() - TimeDelta::seconds(seconds));
        Reach { consumer: "inventory", source: Topic::Orders, lane: Lane(1), head: 10, applied, next_at }
    }

    fn holds(reach: Reach, settled: bool) -> bool {
        let mut verdicts = Verdicts::default();
        judge_consumers(&[reach], &Moment::new(now(), lanes(), settled, PATIENCE_SECONDS, &[reach]), &mut verdicts);
        verdicts.of(Sequences).holds()
    }

    #[test]
    fn a_consumer_may_be_behind_for_a_minute_while_the_system_runs() {
        assert!(holds(reach(Some(9), 59), false));
        assert!(!holds(reach(Some(9), 61), false));
        assert!(!holds(reach(Some(9), 1), true));
        assert!(holds(reach(Some(10), 0), true));
    }

    #[test]
    fn a_consumer_is_never_ahead_nor_without_a_position_nor_waits_for_what_is_gone() {
        assert!(!holds(reach(Some(11), 0), false));
        assert!(!holds(reach(None, 0), false));
        assert!(!holds(Reach { next_at: None, ..reach(Some(9), 0) }, false));
    }

    #[test]
    fn what_is_in_flight_is_summed_for_each_consumer_and_source() {
        let reached = [reach(Some(9), 5), reach(Some(7), 3), reach(Some(10), 0)];
        let lag = Lag { consumer: "inventory", source: "orders", messages: 4, oldest_seconds: 5 };
        assert_eq!(in_flight(&reached, now()), InFlight { messages: 4, consumers: vec![lag], ..InFlight::default() });
    }

    fn count(head: i64, events: i64, first: i64, last: i64) -> LaneCount {
        LaneCount { schema: "orders", lane: 0, head, events, first, last }
    }

    fn are_whole(counts: &[LaneCount]) -> bool {
        let mut verdicts = Verdicts::default();
        judge_lanes(counts, lanes(), &mut verdicts);
        verdicts.of(Sequences).holds()
    }

    #[test]
    fn a_lane_has_every_sequence_up_to_its_head() {
        assert!(are_whole(&[count(5, 5, 1, 5); 12]));
        assert!(are_whole(&[count(0, 0, 1, 0); 12]));
        assert!(!are_whole(&[count(6, 5, 1, 5); 12]));
        assert!(!are_whole(&[count(5, 4, 1, 5); 12]));
        assert!(!are_whole(&[count(5, 5, 2, 6); 12]));
    }

    #[test]
    fn a_lane_too_few_is_seen() {
        assert!(!are_whole(&[count(5, 5, 1, 5); 11]));
    }
}
