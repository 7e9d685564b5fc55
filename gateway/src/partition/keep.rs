//! Which sources' resume points need saying again, before retention takes them away.
//!
//! A quiet shard's newest record grows old, or comes near the end that retention takes away, while its
//! neighbours fill the stream. `ses {kept}` says the same session and sequence once more; the owner's
//! marker follows the same rule.

use std::time::{Duration, Instant};

use qqrelay_proto::record::{Headers, Record, ResumePoint, SessionRecord, Stored, Tail};
use qqrelay_proto::subject::SourceSubject;
use qqrelay_runtime::bus::Extent;

/// The age at which a source's newest record, or the owner's marker, is said again.
const KEPT_AFTER: Duration = Duration::from_secs(15 * 60);

/// Records after which a partition is looked over, however little time has passed, and at least: to
/// look means to ask the log how far it reaches.
const LOOK_AFTER_AT_LEAST: u64 = 1_024;

/// Where a record lies, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) number: u64,
    pub(super) at: Instant,
}

impl Placed {
    /// Whether it is old, or among the oldest quarter of its partition.
    pub(super) fn is_due(self, now: Instant, extent: Option<Extent>) -> bool {
        let is_near = |extent: Extent| self.number < extent.first + reach(extent) / 4;
        now.saturating_duration_since(self.at) >= KEPT_AFTER || extent.is_some_and(is_near)
    }
}

fn reach(extent: Extent) -> u64 {
    extent.last.saturating_sub(extent.first)
}

/// The number at which a partition of this extent is looked over again: an eighth of it may have been
/// taken away by then, and what is said again at a quarter is safe.
pub(super) fn look_at(extent: Extent) -> u64 {
    extent.last + (reach(extent) / 8).max(LOOK_AFTER_AT_LEAST)
}

/// The newest record of a source, and what it said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Freshness {
    newest: Option<(Placed, ResumePoint)>,
}

impl Freshness {
    /// That of a source whose newest record has just been read.
    pub(super) fn of(tail: &Tail, newest: Option<&Stored>, now: Instant, now_ms: u64) -> Self {
        let (Tail::Resume(point), Some(stored)) = (tail, newest) else { return Self::default() };
        let age = Duration::from_millis(now_ms.saturating_sub(stored.at_ms));
        let at = now.checked_sub(age).unwrap_or(now);
        Self { newest: Some((Placed { number: stored.number, at }, point.clone())) }
    }

    /// A record of the source has become durable. Behind an open gap or a session's end there is
    /// nothing to keep.
    pub(super) fn written(&mut self, written: Placed, point: Option<&ResumePoint>, is_end: bool) {
        if is_end {
            self.newest = None;
        } else if let Some(point) = point {
            self.newest = Some((written, point.clone()));
        }
    }

    /// The record that says the newest one again.
    pub(super) fn kept(&self, source: &SourceSubject) -> Option<(ResumePoint, Record)> {
        let (_, point) = self.newest.as_ref()?;
        let headers = Headers {
            session: Some(point.session.clone()),
            seq: Some(point.seq),
            ..Headers::default()
        };
        let payload = serde_json::to_vec(&SessionRecord::Kept).expect("plain data").into();
        Some((point.clone(), Record { subject: source.session(), headers, payload }))
    }

    fn is_due(&self, now: Instant, extent: Option<Extent>) -> bool {
        self.newest.as_ref().is_some_and(|(written, _)| written.is_due(now, extent))
    }
}

/// The places of the sources that are due.
pub(super) fn due<'a>(
    sources: impl Iterator<Item = &'a Freshness>,
    now: Instant,
    extent: Option<Extent>,
) -> Vec<usize> {
    let due = sources.enumerate().filter(|(_, source)| source.is_due(now, extent));
    due.map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seq: u64) -> ResumePoint {
        ResumePoint { session: "s".into(), seq }
    }

    fn extent(first: u64, last: u64) -> Option<Extent> {
        Some(Extent { first, last, created_ms: 1, bytes: 1 })
    }

    #[test]
    fn a_quiet_source_is_kept_and_a_busy_one_is_not() {
        let at = Instant::now();
        let (mut quiet, mut busy) = (Freshness::default(), Freshness::default());
        quiet.written(Placed { number: 1, at }, Some(&point(7)), false);
        busy.written(Placed { number: 2, at }, Some(&point(7)), false);
        let at = at + KEPT_AFTER;
        busy.written(Placed { number: 3, at }, Some(&point(8)), false);
        assert_eq!(due([&quiet, &busy].into_iter(), at, None), [0]);
        quiet.written(Placed { number: 4, at }, Some(&point(7)), false);
        assert!(due([&quiet, &busy].into_iter(), at, None).is_empty());
    }

    #[test]
    fn a_source_that_retention_comes_near_is_kept_however_young() {
        let at = Instant::now();
        let mut source = Freshness::default();
        source.written(Placed { number: 1_100, at }, Some(&point(7)), false);
        assert!(due([&source].into_iter(), at, extent(1_000, 1_400)).is_empty());
        assert_eq!(due([&source].into_iter(), at, extent(1_000, 1_404)), [0]);
        assert_eq!(due([&source].into_iter(), at, extent(1_090, 1_490)), [0]);
    }

    /// At a rate of one look to the next, nothing is taken away between them that was not said again.
    #[test]
    fn a_partition_is_looked_over_before_its_oldest_quarter_is_gone() {
        for reach in [8_192, 100_000, 10_000_000] {
            let extent = Extent { first: 5_000, last: 5_000 + reach, created_ms: 1, bytes: 1 };
            let taken_by_then = look_at(extent) - extent.last;
            assert!(taken_by_then <= reach / 8);
        }
    }

    #[test]
    fn behind_a_gap_nothing_is_kept() {
        let (mut source, at) = (Freshness::default(), Instant::now());
        source.written(Placed { number: 1, at }, Some(&point(7)), false);
        source.written(Placed { number: 2, at }, Some(&point(7)), true);
        assert!(due([&source].into_iter(), at + KEPT_AFTER, extent(9, 10)).is_empty());
    }
}
