//! 7, for streams: versions are 1, 2, 3 … without a gap, all in the lane that the stream belongs to.

use contract::{Lane, Record};

use super::dossier::{Dossier, Told};
use super::invariant::Invariant::Sequences;
use super::moment::Moment;
use super::verdict::Verdicts;

/// Judges every stream that is about one order.
pub(super) fn judge(dossier: &Dossier, moment: &Moment, verdicts: &mut Verdicts) {
    let lane = moment.lanes.of_order(dossier.id);
    judge_stream(order::SCHEMA, records(&dossier.order), lane, verdicts);
    judge_stream(inventory::SCHEMA, records(&dossier.stock), lane, verdicts);
    judge_stream(payment::SCHEMA, records(&dossier.payment), lane, verdicts);
    for notice in dossier.told.chunk_by(|one, next| one.record.stream == next.record.stream) {
        judge_stream(notification::SCHEMA, records(notice), lane, verdicts);
    }
}

/// Judges one stream of the journal in `schema`, whose events belong in `lane`.
pub(super) fn judge_stream<'r>(
    schema: &'static str,
    records: impl Iterator<Item = &'r Record>,
    lane: Lane,
    verdicts: &mut Verdicts,
) {
    let (mut version, mut seq) = (0, 0);
    for record in records {
        let place = || format!("{schema}, stream {}", record.stream);
        verdicts.expect(Sequences, record.version == version + 1, || {
            format!("{}: version {} comes after version {version}", place(), record.version)
        });
        verdicts.expect(Sequences, record.lane == lane, || {
            format!("{}: version {} is in lane {} instead of {lane}", place(), record.version, record.lane)
        });
        verdicts.expect(Sequences, record.seq > seq, || {
            format!("{}: version {} has sequence {}, and the one before it {seq}", place(), record.version, record.seq)
        });
        (version, seq) = (record.version, record.seq);
    }
    verdicts.checked(Sequences, "streams", usize::from(version > 0));
}

/// What is kept of these events.
pub(super) fn records<E>(told: &[Told<E>]) -> impl Iterator<Item = &Record> {
    told.iter().map(|told| &told.record)
}
