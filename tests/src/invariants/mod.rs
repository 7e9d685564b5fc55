//! Checkers: what was promised, against what a run left behind.
//!
//! Each is a pure function over the platform's journal, the stored log and the outcomes of
//! commands; none asks the relay how it went. The rule a newcomer would break: a checker without a
//! test that shows it a broken run is no checker. The numbers are those of the reliability notes.

#[cfg(test)]
mod fixture;
mod frames;
mod log;
mod order;
mod ownership;
mod platform;
mod replies;
mod report;
mod told;

use qqrelay_proto::record::GapReason;
use qqrelay_simulator::journal::{Entry, Line};

use self::log::{Log, What};
use self::platform::Platform;
pub use self::report::{Report, Rule, Tally, Violation};
use crate::run::Run;

/// What this run shall have come to, beside what holds for every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// How many IDENTIFYs the platform shall have seen; absent where it is not the question.
    pub identifies: Option<usize>,
    /// Whether the platform may still owe the end of a session.
    pub owed: Owed,
    /// What the handler answers.
    pub answers: Answers,
}

/// Whether the run went on until the log had everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owed {
    /// It did.
    #[default]
    Nothing,
    /// It was stopped before, or a shard was parked: what follows a session's newest record is
    /// still to come.
    TailMayFollow,
}

/// What the handler answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answers {
    /// Whatever it likes.
    #[default]
    Any,
    /// Each message of a person, once; and nothing else.
    Echo,
}

/// Judges a run.
#[must_use]
pub fn check(run: &Run, expected: &Expected) -> Report {
    let mut report = Report::default();
    let platform = Platform::of(&run.journal);
    let log = Log::of(&run.log, &mut report);
    report.tally = tally(&run.journal, &platform, &log);
    frames::check(&platform, &log, expected.owed, &mut report);
    order::check(&log, &mut report);
    told::check(&run.journal, &log, &mut report);
    ownership::check(&log, run.window, &mut report);
    replies::check(&run.journal, &log, &run.results, expected.answers, &mut report);
    let identifies = report.tally.identifies;
    if expected.identifies.is_some_and(|expected| expected != identifies) {
        report.violated(Rule::Identifies, format!("there were {identifies} IDENTIFYs"));
    }
    report
}

fn tally(journal: &[Line], platform: &Platform<'_>, log: &Log<'_>) -> Tally {
    let mut tally = Tally {
        frames: platform.frame_count(),
        takeovers: ownership::takeovers(log),
        ..Tally::default()
    };
    for line in journal {
        match &line.entry {
            Entry::Resumed { .. } => tally.resumes += 1,
            Entry::Identify { .. } => tally.identifies += 1,
            Entry::Heartbeat { .. } => tally.heartbeats += 1,
            _ => {}
        }
    }
    for entry in log.sources.values().flatten() {
        tally.records += 1;
        match &entry.what {
            What::Event { .. } => tally.events += 1,
            What::Duplicate(_) => tally.duplicates += 1,
            What::Gap(gap) if gap.reason != GapReason::First => tally.gaps += 1,
            What::Gap(_) | What::Session(_) | What::Owner(_) => {}
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_kept_every_promise_is_clean() {
        let run = fixture::Scene::new().run();
        let expected =
            Expected { identifies: Some(1), owed: Owed::Nothing, answers: Answers::Echo };
        let report = check(&run, &expected);
        report.assert_clean();
        let tally = Tally {
            frames: 5,
            records: 6,
            events: 3,
            takeovers: 1,
            resumes: 1,
            identifies: 1,
            heartbeats: 1,
            replies: 3,
            ..Tally::default()
        };
        assert_eq!(report.tally, tally);
    }

    #[test]
    fn an_identify_too_many_is_found() {
        let run = fixture::Scene::new().run();
        let expected = Expected { identifies: Some(2), ..Expected::default() };
        let rules: Vec<_> = check(&run, &expected).violations.iter().map(|it| it.rule).collect();
        assert_eq!(rules, [Rule::Identifies]);
    }

    #[test]
    fn the_end_of_a_session_may_be_owed_and_nothing_else() {
        let expected = Expected { owed: Owed::TailMayFollow, ..Expected::default() };
        let mut scene = fixture::Scene::new();
        scene.pushed("s1", 6, 90);
        check(&scene.run(), &expected).assert_clean();
        let mut scene = fixture::Scene::new();
        scene.forget("s1", 3);
        assert!(!check(&scene.run(), &expected).is_clean());
    }

    #[test]
    fn a_loss_that_is_written_down_is_none() {
        let mut scene = fixture::Scene::new();
        scene.pushed("s1", 6, 90);
        scene.open_gap("s1", 5);
        scene.begun("s2");
        scene.ready("s2");
        check(&scene.run(), &Expected::default()).assert_clean();

        let mut scene = fixture::Scene::new();
        scene.skipped("s1", 6, 7);
        scene.closed_gap("s1", 5, 7);
        scene.pushed("s1", 8, 90);
        scene.event("s1", 8, 90);
        let report = check(&scene.run(), &Expected::default());
        report.assert_clean();
        assert_eq!(report.tally.gaps, 1);
    }

    #[test]
    fn an_event_that_came_again_and_is_a_dup_is_right() {
        let mut scene = fixture::Scene::new();
        scene.pushed_again("s1", 6, 91, 3);
        scene.duplicate("s1", 6, 3, 3);
        let report = check(&scene.run(), &Expected::default());
        report.assert_clean();
        assert_eq!(report.tally.duplicates, 1);
    }
}
