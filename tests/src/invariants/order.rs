//! I3 and I9: inside a source, sessions follow one another, sequences go up by one, and a gap
//! stands exactly where something is missing.
//!
//! This looks at the log alone. What the platform says of the same frames is `frames`' to compare.

use std::collections::BTreeSet;

use qqrelay_proto::id::{Seq, SessionId};
use qqrelay_proto::record::{Gap, SessionRecord};

use super::log::{Entry, Log, What};
use super::report::{Report, Rule};

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    for (source, entries) in &log.sources {
        let mut walk = Walk { source, ..Walk::default() };
        for entry in entries {
            walk.step(entry, report);
        }
    }
}

/// Where a source's records have come to.
#[derive(Default)]
struct Walk<'a> {
    source: &'a str,
    /// The session that is written, and the newest sequence the log has or gives up.
    session: Option<(&'a SessionId, Seq)>,
    /// Whether an open gap stands since the last frame: a new session may begin.
    open_gap: bool,
    over: BTreeSet<&'a SessionId>,
}

impl<'a> Walk<'a> {
    fn step(&mut self, entry: &Entry<'a>, report: &mut Report) {
        match &entry.what {
            What::Gap(gap) => self.gap(entry, gap, report),
            What::Session(SessionRecord::Ready { .. }) => self.ready(entry, report),
            What::Session(SessionRecord::Kept) => self.kept(entry, report),
            What::Session(SessionRecord::Ended { .. }) => self.end(),
            What::Session(SessionRecord::Resumed | SessionRecord::Dropped { .. })
            | What::Event { .. }
            | What::Duplicate(_) => self.frame(entry, report),
            What::Owner(_) => {}
        }
    }

    fn end(&mut self) {
        self.over.extend(self.session.take().map(|(session, _)| session));
    }

    fn gap(&mut self, entry: &Entry<'a>, gap: &Gap, report: &mut Report) {
        let known = self.session.map_or(0, |(_, last)| last);
        if gap.session.as_ref() != self.session.map(|(session, _)| session) {
            let found = format!("{} is of a session that is not written here", entry.place());
            report.violated(Rule::Exact, found);
        } else if gap.after != known {
            let found = format!("{} begins after {}, not {known}", entry.place(), gap.after);
            report.violated(Rule::Exact, found);
        }
        match (gap.until, &mut self.session) {
            (Some(until), Some((_, last))) if until > *last => *last = until,
            (Some(until), _) => {
                let found = format!("{} ends at {until}, where nothing is missing", entry.place());
                report.violated(Rule::Exact, found);
            }
            (None, _) => {
                self.end();
                self.open_gap = true;
            }
        }
    }

    fn ready(&mut self, entry: &Entry<'a>, report: &mut Report) {
        let Some((session, seq)) = located(entry, report) else { return };
        if self.over.contains(session) || self.session.is_some_and(|(now, _)| now == session) {
            report.violated(Rule::Ordered, format!("{} begins a second time", entry.place()));
        }
        if !std::mem::take(&mut self.open_gap) {
            let found = format!("{} begins without a gap before it", entry.place());
            report.violated(Rule::Complete, found);
        }
        self.end();
        self.session = Some((session, seq));
    }

    fn frame(&mut self, entry: &Entry<'a>, report: &mut Report) {
        let Some((session, seq)) = located(entry, report) else { return };
        match &mut self.session {
            Some((now, last)) if *now == session => {
                if seq != *last + 1 {
                    let found = format!("{} comes behind {last}", entry.place());
                    report.violated(Rule::Ordered, found);
                }
                *last = seq.max(*last);
            }
            _ if self.over.contains(session) => {
                let found = format!("{} comes after its session was over", entry.place());
                report.violated(Rule::Ordered, found);
            }
            _ => {
                let found = format!("{} of {} has no READY", entry.place(), self.source);
                report.violated(Rule::Ordered, found);
            }
        }
    }

    fn kept(&self, entry: &Entry<'a>, report: &mut Report) {
        let headers = &entry.stored.record.headers;
        let said = headers.session.as_ref().zip(headers.seq);
        if said != self.session {
            let found = format!("{} keeps what is not the newest record", entry.place());
            report.violated(Rule::Ordered, found);
        }
    }
}

fn located<'a>(entry: &Entry<'a>, report: &mut Report) -> Option<(&'a SessionId, Seq)> {
    let located = entry.frame();
    if located.is_none() {
        let found = format!("{} says neither session nor sequence", entry.place());
        report.violated(Rule::Ordered, found);
    }
    located
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
    fn frames_out_of_order_are_found() {
        check(|run| run.swap("s1", 3, 4), Rule::Ordered);
    }

    #[test]
    fn a_session_that_goes_on_after_it_was_given_up_is_found() {
        check(
            |run| {
                run.open_gap("s1", 5);
                run.ready("s2");
                run.event("s1", 6, 90);
            },
            Rule::Ordered,
        );
    }

    #[test]
    fn a_frame_before_its_ready_is_found() {
        check(
            |run| {
                run.open_gap("s1", 5);
                run.event("s2", 2, 90);
            },
            Rule::Ordered,
        );
    }

    #[test]
    fn a_session_without_a_gap_before_it_is_found() {
        check(|run| run.ready("s2"), Rule::Complete);
    }

    #[test]
    fn a_gap_in_the_wrong_place_is_found() {
        check(|run| run.open_gap("s1", 4), Rule::Exact);
        check(|run| run.open_gap("s9", 5), Rule::Exact);
        check(|run| run.closed_gap("s1", 5, 5), Rule::Exact);
    }

    #[test]
    fn keeping_an_older_record_than_the_newest_is_found() {
        check(|run| run.kept("s1", 4), Rule::Ordered);
    }
}
