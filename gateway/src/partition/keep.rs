//! Which sources' resume points need saying again, before retention takes them away.
//!
//! A quiet shard's newest record grows old while its neighbours fill the stream. `ses {kept}` says
//! the same session and sequence once more.

use std::time::{Duration, Instant};

use qqrelay_proto::record::{Headers, Record, ResumePoint, SessionRecord, Stored, Tail};
use qqrelay_proto::subject::SourceSubject;

/// The age at which a source's newest record, or the owner's marker, is said again.
pub(super) const KEPT_AFTER: Duration = Duration::from_secs(15 * 60);

/// When a source last had a record, and what it said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Freshness {
    newest: Option<(Instant, ResumePoint)>,
}

impl Freshness {
    /// That of a source whose newest record has just been read.
    pub(super) fn of(tail: &Tail, newest: Option<&Stored>, now: Instant, now_ms: u64) -> Self {
        let (Tail::Resume(point), Some(stored)) = (tail, newest) else { return Self::default() };
        let age = Duration::from_millis(now_ms.saturating_sub(stored.at_ms));
        let at = now.checked_sub(age).unwrap_or(now);
        Self { newest: Some((at, point.clone())) }
    }

    /// A record of the source has become durable. Behind an open gap there is nothing to keep.
    pub(super) fn written(&mut self, now: Instant, point: Option<&ResumePoint>, is_gap: bool) {
        if is_gap {
            self.newest = None;
        } else if let Some(point) = point {
            self.newest = Some((now, point.clone()));
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

    fn is_due(&self, now: Instant) -> bool {
        let age = |(at, _): &(Instant, _)| now.saturating_duration_since(*at);
        self.newest.as_ref().map(age).is_some_and(|age| age >= KEPT_AFTER)
    }
}

/// The places of the sources that are due.
pub(super) fn due<'a>(sources: impl Iterator<Item = &'a Freshness>, now: Instant) -> Vec<usize> {
    sources.enumerate().filter(|(_, source)| source.is_due(now)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seq: u64) -> ResumePoint {
        ResumePoint { session: "s".into(), seq }
    }

    #[test]
    fn a_quiet_source_is_kept_and_a_busy_one_is_not() {
        let start = Instant::now();
        let (mut quiet, mut busy) = (Freshness::default(), Freshness::default());
        quiet.written(start, Some(&point(7)), false);
        busy.written(start, Some(&point(7)), false);
        busy.written(start + KEPT_AFTER, Some(&point(8)), false);
        let now = start + KEPT_AFTER;
        assert_eq!(due([&quiet, &busy].into_iter(), now), [0]);
        quiet.written(now, Some(&point(7)), false);
        assert!(due([&quiet, &busy].into_iter(), now).is_empty());
    }

    #[test]
    fn behind_a_gap_nothing_is_kept() {
        let (mut source, start) = (Freshness::default(), Instant::now());
        source.written(start, Some(&point(7)), false);
        source.written(start, Some(&point(7)), true);
        assert!(due([&source].into_iter(), start + KEPT_AFTER).is_empty());
    }
}
