//! What was promised, against the platform's sessions and the log. The numbers are those of the
//! reliability notes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use qqrelay_proto::id::{OwnerId, Seq, SessionId};
use qqrelay_proto::record::{Duplicate, Gap, Ownership, SessionRecord, Stored};
use qqrelay_proto::subject::LogSubject;

use crate::platform::{Frame, Platform};
use crate::shard::event_of;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub &'static str, pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

/// How far each session's frames stand in the log without a hole.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    reached: BTreeMap<SessionId, Seq>,
}

impl Durable {
    /// A record has been taken.
    pub(crate) fn take(&mut self, stored: &Stored) {
        let headers = &stored.record.headers;
        let (Some(session), Some(seq)) = (&headers.session, headers.seq) else { return };
        let reached = self.reached.entry(session.clone()).or_default();
        let is_gap = matches!(stored.record.subject.parse(), Ok(LogSubject::Gap(_)));
        if seq == *reached + 1 || (is_gap && seq > *reached) {
            *reached = seq;
        }
    }

    /// I4: what the platform is told is in the log.
    pub(crate) fn allows(&self, what: &str, session: &SessionId, seq: Seq) -> Option<Violation> {
        let reached = self.reached.get(session).copied().unwrap_or_default();
        (seq > reached).then(|| {
            Violation("I4", format!("{what} of {session} says {seq}, the log has {reached}"))
        })
    }
}

/// Judges a run that is over, in which each marker has so many fillers behind it.
pub(crate) fn judge(platform: &Platform, log: &[Stored], fillers: usize) -> Vec<Violation> {
    let mut found = Vec::new();
    owners(log, fillers, &mut found);
    let mut walk = Walk::default();
    for stored in log {
        walk.step(stored, &mut found);
    }
    walk.complete(platform, &mut found);
    found
}

/// I5: every record is of the owner that the nearest marker before it names, and batches are whole.
fn owners(log: &[Stored], whole: usize, found: &mut Vec<Violation>) {
    let mut owner: Option<OwnerId> = None;
    let mut fillers = whole;
    for stored in log {
        let is_own = matches!(stored.record.subject.parse(), Ok(LogSubject::Ownership(_)));
        if !is_own {
            if stored.record.headers.owner != owner || fillers != whole {
                let by = &stored.record.headers.owner;
                let what = format!("{} is of {by:?} behind {owner:?}'s marker", stored.number);
                found.push(Violation("I5", what));
            }
            continue;
        }
        match serde_json::from_slice::<Ownership>(&stored.record.payload) {
            Ok(Ownership { owner: by, filler: None, .. }) => (owner, fillers) = (Some(by), 0),
            Ok(Ownership { filler: Some(_), .. }) => fillers += 1,
            Err(error) => found.push(Violation("I5", format!("{}: {error}", stored.number))),
        }
    }
}

/// I1 to I3 and I9, source by source.
#[derive(Default)]
struct Walk {
    sources: BTreeMap<String, Source>,
    /// Every frame that has a record, and those that gaps cover.
    stored: BTreeMap<SessionId, BTreeSet<Seq>>,
    covered: BTreeMap<SessionId, Vec<(Seq, Seq)>>,
    /// The record of each event.
    events: BTreeMap<u64, u64>,
}

#[derive(Default)]
struct Source {
    session: Option<(SessionId, Seq)>,
    is_open: bool,
    had_gap: bool,
    over: BTreeSet<SessionId>,
}

impl Walk {
    fn step(&mut self, stored: &Stored, found: &mut Vec<Violation>) {
        let record = &stored.record;
        let Ok(subject) = record.subject.parse::<LogSubject>() else { return };
        let Some(of) = subject.source().map(|source| source.source.to_string()) else { return };
        let mut say = |rule, what: String| {
            found.push(Violation(rule, format!("{} {of}: {what}", stored.number)));
        };
        let source = self.sources.entry(of.clone()).or_default();
        if let LogSubject::Gap(_) = subject {
            let Ok(gap) = serde_json::from_slice::<Gap>(&record.payload) else { return };
            let known = source.session.clone();
            if gap.session.as_ref() != known.as_ref().map(|(session, _)| session)
                || gap.after != known.as_ref().map_or(0, |(_, last)| *last)
            {
                say("I9", format!("{gap:?} behind {known:?}"));
            }
            if let Some(session) = gap.session {
                let range = (gap.after, gap.until.unwrap_or(Seq::MAX));
                self.covered.entry(session.clone()).or_default().push(range);
                source.session = gap.until.map(|until| (session.clone(), until));
                if gap.until.is_none() {
                    source.over.insert(session);
                }
            }
            (source.is_open, source.had_gap) = (gap.until.is_none(), true);
            return;
        }
        let headers = &record.headers;
        let (Some(session), Some(seq)) = (headers.session.clone(), headers.seq) else { return };
        if !self.stored.entry(session.clone()).or_default().insert(seq) {
            say("I2", format!("{session} {seq} a second time"));
        }
        match event_of(record).map(|event| (event, self.events.get(&event).copied())) {
            Some((event, None)) => {
                self.events.insert(event, stored.number);
            }
            Some((event, Some(first))) => say("I2", format!("event {event}, which {first} has")),
            None => {
                if let LogSubject::Duplicate(_) = subject
                    && let Ok(duplicate) = serde_json::from_slice::<Duplicate>(&record.payload)
                    && self.events.get(&duplicate.id.parse().unwrap_or(0))
                        != Some(&duplicate.of.seq)
                {
                    say("I2", format!("{duplicate:?} names another record"));
                }
            }
        }
        let is_ready =
            matches!(serde_json::from_slice(&record.payload), Ok(SessionRecord::Ready { .. }))
                && matches!(subject, LogSubject::Session(_));
        if is_ready {
            if !std::mem::take(&mut source.is_open) {
                say("I1", format!("{session} begins without a gap before it"));
            }
            if source.over.contains(&session) {
                say("I3", format!("{session} begins a second time"));
            }
            source.session = Some((session, seq));
            return;
        }
        match &mut source.session {
            Some((now, last)) if *now == session => {
                if seq != *last + 1 {
                    say("I3", format!("{session} {seq} behind {last}"));
                }
                *last = seq;
            }
            known => say("I3", format!("{session} {seq} where {known:?} is written")),
        }
    }

    /// I1: every frame of every session has a record, or a gap covers it.
    fn complete(&self, platform: &Platform, found: &mut Vec<Violation>) {
        for (id, session) in &platform.sessions {
            let Some(stored) = self.stored.get(id) else {
                let sources = self.sources.values();
                if !sources.into_iter().any(|source| source.had_gap) {
                    found.push(Violation("I1", format!("{id} left no trace")));
                }
                continue;
            };
            let covered = self.covered.get(id).map_or(&[][..], Vec::as_slice);
            for (frame, seq) in session.frames.iter().zip(1..) {
                let is_covered = covered.iter().any(|(after, until)| *after < seq && seq <= *until);
                if !stored.contains(&seq) && !is_covered {
                    let frame: &Frame = frame;
                    let what = format!("{id} {seq}, {frame:?}, is neither stored nor in a gap");
                    found.push(Violation("I1", what));
                }
            }
        }
    }
}
