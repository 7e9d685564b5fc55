//! What of a session's frames goes on to the log: exactly the next one.
//!
//! A lower sequence is a replay and dropped. A higher one means that something is missing, and is
//! asked for again by resuming; storing it would hide the hole for ever. A hole that two resumes
//! do not mend is recorded with its exact range, and the session goes on behind it.

use crate::id::{Seq, SessionId};
use crate::record::ResumePoint;

/// Resumes that a hole is given before it is recorded as lost.
const MENDING_RESUMES: u8 = 2;

/// Backward sequences on one socket that make it suspect.
const REWINDS_MAX: u8 = 3;

/// Guards one source. It outlives sockets: what it has let through is on its way to the log, so
/// the replay of a resume from an older, durable sequence is dropped here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    session: SessionId,
    last: Seq,
    hole: Option<Hole>,
    /// Replays seen since the socket went live.
    rewinds: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hole {
    after: Seq,
    resumes: u8,
}

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one: log it.
    Pass,
    /// The log has it, or will: drop it.
    Replay,
    /// The session runs backwards: drop it and resume.
    Rewound,
    /// Something before it is missing: drop it and resume.
    Hole,
    /// What two resumes did not bring is lost: record the gap, then log the frame.
    Lost {
        /// The last sequence before the hole.
        after: Seq,
        /// The last sequence of the hole.
        until: Seq,
    },
}

impl Gate {
    /// A gate behind which the log holds everything up to `point`.
    #[must_use]
    pub fn new(point: ResumePoint) -> Self {
        Self { session: point.session, last: point.seq, hole: None, rewinds: 0 }
    }

    /// The session it guards.
    #[must_use]
    pub const fn session(&self) -> &SessionId {
        &self.session
    }

    /// The newest sequence it has let through.
    #[must_use]
    pub const fn last(&self) -> Seq {
        self.last
    }

    /// Where the session has come to.
    #[must_use]
    pub fn point(&self) -> ResumePoint {
        ResumePoint { session: self.session.clone(), seq: self.last }
    }

    /// A socket has been opened: what comes first is a replay by right.
    pub const fn socket_opened(&mut self) {
        self.rewinds = 0;
    }

    /// Judges the frame with sequence `seq`. `live` says that the replay of a resume is over.
    pub fn judge(&mut self, seq: Seq, live: bool) -> Verdict {
        if seq <= self.last {
            if !live {
                return Verdict::Replay;
            }
            self.rewinds = self.rewinds.saturating_add(1);
            return if self.rewinds < REWINDS_MAX { Verdict::Replay } else { Verdict::Rewound };
        }
        let after = self.last;
        if seq == after + 1 {
            self.last = seq;
            self.hole = None;
            return Verdict::Pass;
        }
        let resumes = self.hole.filter(|hole| hole.after == after).map_or(0, |hole| hole.resumes);
        if resumes < MENDING_RESUMES {
            self.hole = Some(Hole { after, resumes: resumes + 1 });
            return Verdict::Hole;
        }
        self.last = seq;
        self.hole = None;
        Verdict::Lost { after, until: seq - 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gate(last: Seq) -> Gate {
        Gate::new(ResumePoint { session: "s".into(), seq: last })
    }

    #[track_caller]
    fn check(gate: &mut Gate, seqs: impl IntoIterator<Item = Seq>, live: bool, expected: Verdict) {
        for seq in seqs {
            assert_eq!(gate.judge(seq, live), expected, "sequence {seq}");
        }
    }

    #[test]
    fn the_next_passes_and_what_was_there_is_dropped() {
        let mut gate = gate(7);
        check(&mut gate, [8, 9], true, Verdict::Pass);
        check(&mut gate, [1, 8, 9], false, Verdict::Replay);
        check(&mut gate, [10], false, Verdict::Pass);
    }

    #[test]
    fn a_session_that_runs_backwards_is_resumed_at_the_third_step() {
        let mut gate = gate(7);
        check(&mut gate, [6, 7], true, Verdict::Replay);
        check(&mut gate, [5], true, Verdict::Rewound);
        gate.socket_opened();
        check(&mut gate, [7], true, Verdict::Replay);
    }

    #[test]
    fn a_hole_is_resumed_twice_and_then_recorded_with_its_range() {
        let mut gate = gate(7);
        check(&mut gate, [10, 10], true, Verdict::Hole);
        check(&mut gate, [11], true, Verdict::Lost { after: 7, until: 10 });
        check(&mut gate, [12], true, Verdict::Pass);
    }

    #[test]
    fn a_hole_that_a_resume_mends_is_forgotten() {
        let mut gate = gate(7);
        check(&mut gate, [9], true, Verdict::Hole);
        check(&mut gate, [8], false, Verdict::Pass);
        check(&mut gate, [10, 10], true, Verdict::Hole);
        check(&mut gate, [9, 10], false, Verdict::Pass);
    }

    proptest! {
        /// What passes, together with what is recorded as lost, has no hole and no repetition.
        #[test]
        fn the_log_gets_every_sequence_once(seqs in prop::collection::vec((1..40_u64, any::<bool>()), 0..300)) {
            let mut gate = gate(0);
            let mut covered = 0;
            for (seq, live) in seqs {
                match gate.judge(seq, live) {
                    Verdict::Pass => {
                        prop_assert_eq!(seq, covered + 1);
                        covered = seq;
                    }
                    Verdict::Lost { after, until } => {
                        prop_assert_eq!(after, covered);
                        prop_assert_eq!(until + 1, seq);
                        covered = seq;
                    }
                    Verdict::Replay | Verdict::Rewound => prop_assert!(seq <= covered),
                    Verdict::Hole => prop_assert!(seq > covered + 1),
                }
            }
        }
    }
}
