//! The tables of a journal, the same in every service's schema, and the statements that touch them.

use crate::faults::{self, Safeguard};

/// The journal's own migration steps.
///
/// A table that grows with use is analysed anew when it has doubled. PostgreSQL's default is a tenth, which at thousands of
/// orders a second is every minute, 30,000 pages of each table, for the very same plans.
pub(crate) const STEPS: &[&str] = &[
    r#"
CREATE TABLE system (lanes int2 NOT NULL, name text NOT NULL);
CREATE TABLE lane_head (
    lane int2 PRIMARY KEY,
    epoch int8 NOT NULL DEFAULT 0,
    owner text,
    last_seq int8 NOT NULL DEFAULT 0,
    published_seq int8 NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
CREATE TABLE inbox_lane (
    source int2,
    lane int2,
    last_seq int8 NOT NULL DEFAULT 0,
    next_offset int8 NOT NULL DEFAULT 0,
    PRIMARY KEY (source, lane)
) WITH (fillfactor = 10);
CREATE TABLE event (
    seq int8 NOT NULL,
    lane int2 NOT NULL,
    version int4 NOT NULL,
    stream_id uuid NOT NULL,
    event_id uuid NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    data bytea NOT NULL,
    cause uuid,
    subject text,
    trace text,
    PRIMARY KEY (lane, seq),
    UNIQUE (stream_id, version)
) WITH (autovacuum_analyze_scale_factor = 1);
CREATE TABLE dead_letter (
    id uuid PRIMARY KEY,
    source int2 NOT NULL,
    lane int2 NOT NULL,
    place int8 NOT NULL,
    reason text NOT NULL,
    kind text,
    key bytea,
    payload bytea,
    at timestamptz NOT NULL,
    published boolean NOT NULL DEFAULT false
);
CREATE INDEX dead_letter_unpublished ON dead_letter (id) WHERE NOT published;
CREATE TABLE member (
    id text PRIMARY KEY,
    seen_at timestamptz NOT NULL,
    backend_pid int4 NOT NULL,
    backend_start timestamptz NOT NULL
);
CREATE TABLE idempotency (
    scope text COLLATE "C",
    key text COLLATE "C",
    request_hash bytea NOT NULL,
    stream_id uuid NOT NULL,
    version int4 NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
) WITH (autovacuum_analyze_scale_factor = 1);
CREATE INDEX idempotency_age ON idempotency USING brin (created_at);
"#,
    "ALTER TABLE lane_head ADD COLUMN writes int8 NOT NULL DEFAULT 0",
];

/// Locks lanes for a batch, always in lane order, so that no two batches can wait for each other.
pub(crate) const LOCK_LANES: &str =
    "SELECT lane, epoch, last_seq, writes FROM lane_head WHERE lane = ANY($1) ORDER BY lane FOR UPDATE";

/// Advances lanes, and counts the batch that wrote into them.
pub(crate) const ADVANCE_LANES: &str = "
UPDATE lane_head h SET last_seq = v.last, published_seq = GREATEST(h.published_seq, v.published), writes = h.writes + 1
FROM (SELECT unnest($1::int2[]) AS lane, unnest($2::int8[]) AS last, unnest($3::int8[]) AS published) AS v
WHERE h.lane = v.lane";

/// Advances inboxes from the position that the batch began at. Another position than that becomes NULL, which the column
/// refuses, and the whole batch with it.
pub(crate) const ADVANCE_INBOXES: &str = "
UPDATE inbox_lane i SET last_seq = CASE WHEN i.last_seq = v.was THEN v.now END, next_offset = v.next
FROM (SELECT unnest($1::int2[]) AS source, unnest($2::int2[]) AS lane, unnest($3::int8[]) AS was,
    unnest($4::int8[]) AS now, unnest($5::int8[]) AS next) AS v
WHERE i.source = v.source AND i.lane = v.lane";

/// Appends events.
pub(crate) const APPEND: &str = "
INSERT INTO event (seq, lane, version, stream_id, event_id, at, kind, data, cause, subject, trace)
SELECT unnest($1::int8[]), unnest($2::int2[]), unnest($3::int4[]), unnest($4::uuid[]), unnest($5::uuid[]),
    unnest($6::timestamptz[]), unnest($7::text[]), unnest($8::bytea[]), unnest($9::uuid[]), unnest($10::text[]),
    unnest($11::text[])";

/// Keeps dead letters.
pub(crate) const BURY: &str = "
INSERT INTO dead_letter (id, source, lane, place, reason, kind, key, payload, at)
SELECT unnest($1::uuid[]), unnest($2::int2[]), unnest($3::int2[]), unnest($4::int8[]), unnest($5::text[]),
    unnest($6::text[]), unnest($7::bytea[]), unnest($8::bytea[]), unnest($9::timestamptz[])";

/// The writer's own statements, prepared beside the model's.
pub(crate) fn statements() -> [&'static str; 5] {
    [lock_lanes(), ADVANCE_LANES, advance_inboxes(), APPEND, BURY]
}

/// [`LOCK_LANES`], unless that safeguard is left out: then in any order.
pub(crate) fn lock_lanes() -> &'static str {
    const DISORDERLY: &str =
        "SELECT lane, epoch, last_seq, writes FROM lane_head WHERE lane = ANY($1) ORDER BY random() FOR UPDATE";
    if faults::is_left_out(Safeguard::LockOrder) { DISORDERLY } else { LOCK_LANES }
}

/// [`ADVANCE_INBOXES`], unless that safeguard is left out: then from any position.
pub(crate) fn advance_inboxes() -> &'static str {
    const UNFENCED: &str = "
UPDATE inbox_lane i SET last_seq = v.now, next_offset = v.next
FROM (SELECT unnest($1::int2[]) AS source, unnest($2::int2[]) AS lane, unnest($3::int8[]) AS was,
    unnest($4::int8[]) AS now, unnest($5::int8[]) AS next) AS v
WHERE i.source = v.source AND i.lane = v.lane";
    if faults::is_left_out(Safeguard::Fencing) { UNFENCED } else { ADVANCE_INBOXES }
}

/// The columns of an event, called `e` in the query, in the order that [`crate::record_from_row`] reads them.
pub const EVENT_COLUMNS: &str =
    "e.seq, e.lane, e.version, e.stream_id, e.event_id, e.at, e.kind, e.data, e.cause, e.subject, e.trace";

/// Takes lanes: whoever held one before is fenced off by the new epoch.
pub(crate) const CLAIM: &str = "
UPDATE lane_head SET epoch = epoch + 1, owner = $2
WHERE lane = ANY($1) AND ($3::text[] IS NULL OR owner IS NULL OR NOT owner = ANY($3))
RETURNING lane, epoch, last_seq, published_seq";

/// Lets lanes go, those that are still ours.
pub(crate) const RELEASE: &str = "
UPDATE lane_head h SET owner = NULL, published_seq = GREATEST(h.published_seq, v.published)
FROM (SELECT unnest($1::int2[]) AS lane, unnest($2::int8[]) AS epoch, unnest($3::int8[]) AS published) AS v
WHERE h.lane = v.lane AND h.epoch = v.epoch";
