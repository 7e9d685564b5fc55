//! I1 and I2: the platform's frames against the log's records, one to one.

use std::collections::{BTreeMap, HashMap, HashSet};

use qqrelay_proto::id::{Seq, SessionId};
use qqrelay_proto::record::{Duplicate, SessionRecord};

use super::Owed;
use super::log::{Entry, Log, What};
use super::platform::{Frame, Platform, Session};
use super::report::{Report, Rule};

pub(super) fn check(platform: &Platform<'_>, log: &Log<'_>, owed: Owed, report: &mut Report) {
    let mut held = Held::default();
    let mut happened = BTreeMap::new();
    for (source, entries) in &log.sources {
        let app = source.split('.').next().unwrap_or_default();
        let happened = happened.entry(app).or_insert_with(Happened::default);
        for entry in entries {
            match &entry.what {
                What::Gap(gap) => {
                    held.gap(source, gap.session.as_ref(), gap.after, gap.until);
                }
                What::Session(SessionRecord::Ended { .. }) => held.end(entry),
                _ => {}
            }
            if let Some((session, seq)) = entry.frame() {
                held.frame(entry, session, seq, report);
                agrees(platform, entry, session, seq, report);
            }
            happened.take(platform, entry, report);
        }
    }
    for happened in happened.values() {
        happened.check(report);
    }
    for (id, session) in &platform.sessions {
        held.all_of(id, session, owed, report);
    }
}

/// What the log holds or gives up, by session.
#[derive(Default)]
struct Held<'a> {
    frames: HashMap<&'a SessionId, HashSet<Seq>>,
    /// What gaps cover, `after` to `until`.
    given_up: HashMap<SessionId, Vec<(Seq, Seq)>>,
    /// Sources that a session may have begun in and be lost with, before its READY was stored.
    open: HashSet<String>,
}

impl<'a> Held<'a> {
    fn gap(&mut self, source: &str, session: Option<&SessionId>, after: Seq, until: Option<Seq>) {
        if until.is_none() {
            self.open.insert(source.to_owned());
        }
        if let Some(session) = session {
            let range = (after, until.unwrap_or(Seq::MAX));
            self.given_up.entry(session.clone()).or_default().push(range);
        }
    }

    /// What a session that we ended has shown since is not wanted.
    fn end(&mut self, entry: &Entry<'_>) {
        let headers = &entry.stored.record.headers;
        if let (Some(session), Some(seq)) = (&headers.session, headers.seq) {
            self.given_up.entry(session.clone()).or_default().push((seq, Seq::MAX));
        }
    }

    fn frame(&mut self, entry: &Entry<'a>, session: &'a SessionId, seq: Seq, report: &mut Report) {
        if !self.frames.entry(session).or_default().insert(seq) {
            let found = format!("{} is the second record of its frame", entry.place());
            report.violated(Rule::Unique, found);
        }
    }

    fn all_of(&self, id: &SessionId, session: &Session<'_>, owed: Owed, report: &mut Report) {
        let Some(frames) = self.frames.get(id) else {
            if !self.open.contains(&session.source()) {
                let found = format!("session {id} of {} left no trace", session.source());
                report.violated(Rule::Complete, found);
            }
            return;
        };
        let newest = frames.iter().max().copied().unwrap_or_default();
        for (&seq, frame) in &session.frames {
            let covered = |ranges: &Vec<(Seq, Seq)>| {
                ranges.iter().any(|(after, until)| *after < seq && seq <= *until)
            };
            let is_there = frames.contains(&seq)
                || self.given_up.get(id).is_some_and(covered)
                || (owed == Owed::TailMayFollow && seq > newest)
                || (*frame == Frame::Skipped && seq > newest);
            if !is_there {
                let found =
                    format!("{frame:?}, {seq} of session {id}, is neither in the log nor in a gap");
                report.violated(Rule::Complete, found);
            }
        }
    }
}

/// A record is of a frame that the platform sent, and says what that frame said.
fn agrees(
    platform: &Platform<'_>,
    entry: &Entry<'_>,
    session: &SessionId,
    seq: Seq,
    report: &mut Report,
) {
    let frame = platform.frame(session, seq);
    let agrees = match (&entry.what, frame) {
        (What::Session(SessionRecord::Ready { .. }), Some(Frame::Ready))
        | (What::Session(SessionRecord::Resumed), Some(Frame::Resumed))
        | (What::Duplicate(_), Some(Frame::Event { .. })) => true,
        // What stands in a frame's place says nothing of its kind.
        (What::Session(SessionRecord::Dropped { .. }), frame) => frame.is_some(),
        (What::Event { .. }, Some(Frame::Event { wire_type, .. })) => {
            let stored = &entry.stored.record.payload;
            serde_json::from_slice::<Typed<'_>>(stored)
                .is_ok_and(|event| event.wire_type == wire_type)
        }
        _ => false,
    };
    if !agrees {
        let found = format!("{} stands for {frame:?}", entry.place());
        report.violated(Rule::Complete, found);
    }
}

#[derive(serde::Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    wire_type: std::borrow::Cow<'a, str>,
}

/// What happened to one bot, whichever of its shards told it.
#[derive(Default)]
struct Happened<'a> {
    /// The record of each event, by the injection.
    stored: HashMap<u64, First<'a>>,
    /// Records of the same events again.
    again: Vec<(u64, Entry<'a>, &'a Duplicate)>,
}

/// The first record of something that happened.
struct First<'a> {
    id: &'a str,
    stream: String,
    number: u64,
}

impl<'a> Happened<'a> {
    fn take(&mut self, platform: &Platform<'_>, entry: &'a Entry<'a>, report: &mut Report) {
        let Some((session, seq)) = entry.frame() else { return };
        let Some(Frame::Event { injection, .. }) = platform.frame(session, seq) else { return };
        let happened = platform.first_of(injection);
        match &entry.what {
            What::Event { id } => match self.stored.get(&happened) {
                None => {
                    let (stream, number) = (entry.partition.stream(), entry.stored.number);
                    self.stored.insert(happened, First { id, stream, number });
                }
                Some(first) => {
                    let found =
                        format!("{} is an event that {} has already", entry.place(), first.number);
                    report.violated(Rule::Unique, found);
                }
            },
            What::Duplicate(duplicate) => self.again.push((happened, entry.clone(), duplicate)),
            What::Session(_) | What::Gap(_) | What::Owner(_) => {}
        }
    }

    /// What happened once is one event; its repetitions point at it.
    fn check(&self, report: &mut Report) {
        for (happened, entry, duplicate) in &self.again {
            let found = match self.stored.get(happened) {
                Some(first)
                    if duplicate.of.stream == first.stream
                        && duplicate.of.seq == first.number
                        && duplicate.id == first.id =>
                {
                    continue;
                }
                Some(first) => {
                    format!("{} names {duplicate:?}, not {}", entry.place(), first.number)
                }
                None => format!("{} is a dup of what the log never had", entry.place()),
            };
            report.violated(Rule::Unique, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Scene};
    use super::*;

    #[track_caller]
    fn check(break_it: impl FnOnce(&mut Scene), expected: Rule) {
        fixture::check(break_it, expected);
    }

    #[test]
    fn a_frame_without_a_record_is_found() {
        check(|run| run.forget("s1", 5), Rule::Complete);
        check(|run| run.forget("s1", 3), Rule::Complete);
    }

    #[test]
    fn a_session_that_left_no_trace_is_found() {
        check(|run| run.pushed_elsewhere("s2"), Rule::Complete);
    }

    #[test]
    fn a_record_of_no_frame_is_found() {
        check(|run| run.event("s1", 6, 90), Rule::Complete);
    }

    #[test]
    fn a_record_of_another_type_than_its_frame_is_found() {
        check(|run| run.retype("s1", 3, "GUILD_CREATE"), Rule::Complete);
    }

    #[test]
    fn a_frame_with_two_records_is_found() {
        check(|run| run.copy("s1", 5), Rule::Unique);
    }

    #[test]
    fn an_event_that_is_stored_twice_is_found() {
        check(
            |run| {
                run.pushed_again("s1", 6, 91, 3);
                run.event("s1", 6, 3);
            },
            Rule::Unique,
        );
    }

    #[test]
    fn a_dup_that_names_another_record_is_found() {
        check(
            |run| {
                run.pushed_again("s1", 6, 91, 3);
                run.duplicate("s1", 6, 3, 4);
            },
            Rule::Unique,
        );
    }

    #[test]
    fn a_dup_of_something_new_is_found() {
        check(
            |run| {
                run.pushed("s1", 6, 91);
                run.duplicate("s1", 6, 91, 3);
            },
            Rule::Unique,
        );
    }
}
