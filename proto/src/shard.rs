//! One shard's life across sockets: what to do once a socket is gone.
//!
//! The newest record of the log says whether there is a session to resume. A session that is given
//! up leaves a gap record, and that record is durable before IDENTIFY goes out, so that what a
//! session loses before its READY is covered. Nothing here gives up for good: whatever cannot go
//! on is parked, with a reason and a time at which it is tried again.

use std::time::{Duration, Instant};

use crate::close::{CloseCode, Next};
use crate::id::{Seq, SessionId};
use crate::reconnect::{Manner, Reconnect};
use crate::record::{GapReason, ResumePoint, Tail};
use crate::session::{Ending, Stage};

/// Resumes in a row that may lead nowhere before the session is given up.
///
/// Source: PLATFORM.md, "close codes".
const FRUITLESS_RESUMES: u32 = 3;

/// Identifies in a row that may be refused before the shard is parked: the platform answers a
/// missing permission that way as often as with 4014.
///
/// Source: PLATFORM.md, "intents".
const FRUITLESS_IDENTIFIES: u32 = 3;

/// Wait after opcode 9, from and to.
const AFTER_INVALID: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// How rarely a shard is tried whose reason says no other time.
const PROBE: Duration = Duration::from_secs(15 * 60);

/// What the shard's driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Write this gap to the log, and say [`Shard::gap_durable`] once it is there.
    Record(Loss),
    /// The gap is on its way.
    AwaitGap,
    /// A session was made, and nobody knows yet whether its READY is in the log: it is to be resumed,
    /// or else given up with a gap, if it is.
    AwaitReady,
    /// Open a socket, no sooner than this.
    Connect {
        /// The moment.
        at: Instant,
        /// The session to go on with; none, identify.
        resume: Option<ResumePoint>,
        /// Whether to fetch a new access token first.
        renew_token: bool,
    },
}

/// Frames that are lost with a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The session; none where there never was one.
    pub session: Option<SessionId>,
    /// The last sequence that the log holds.
    pub after: Seq,
    /// Why.
    pub reason: GapReason,
}

/// What a socket had come to when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// No connection was made, or no HELLO came: the session was not tried.
    Nothing,
    /// RESUME or IDENTIFY was sent.
    Asked,
    /// READY, RESUMED or a replayed frame came.
    Live,
}

/// Why a shard stands still, for people and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blocked {
    /// A close code that somebody must look at.
    Closed(CloseCode),
    /// IDENTIFY was refused several times: an intent is probably not granted.
    IdentifyRefused,
    /// READY named another bot than before.
    OtherBot,
}

impl Blocked {
    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed(code) => code.label(),
            Self::IdentifyRefused => "identify_refused",
            Self::OtherBot => "other_bot",
        }
    }

    /// Whether the platform wants another number of shards.
    #[must_use]
    pub fn asks_for_replan(self) -> bool {
        matches!(self, Self::Closed(code) if code.step(1).next == Next::Replan)
    }
}

/// One shard; see the module.
#[derive(Debug, Clone)]
pub struct Shard {
    stance: Stance,
    pace: Reconnect,
    /// The next socket opens no sooner.
    not_before: Instant,
    renew_token: bool,
    fruitless: u32,
    /// The session whose READY is on its way to the log.
    begun: Option<SessionId>,
    /// The code that ended the last sockets, and how many.
    closes: Option<(CloseCode, usize)>,
    blocked: Option<Blocked>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stance {
    Resume(ResumePoint),
    /// The loss must be recorded before anything else.
    Lost(Loss),
    Recording(Loss),
    Identify,
}

impl Shard {
    /// A shard whose newest record says `tail`.
    #[must_use]
    pub fn new(now: Instant, tail: Tail) -> Self {
        let loss = |reason| Stance::Lost(Loss { session: None, after: 0, reason });
        let stance = match tail {
            Tail::Absent => loss(GapReason::First),
            Tail::Ended => loss(GapReason::Ended),
            Tail::Lost => loss(GapReason::LogLost),
            Tail::Resume(point) => Stance::Resume(point),
            Tail::Open => Stance::Identify,
        };
        Self {
            stance,
            pace: Reconnect::default(),
            not_before: now,
            renew_token: false,
            fruitless: 0,
            begun: None,
            closes: None,
            blocked: None,
        }
    }

    /// What to do now.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let connect =
            |resume| Plan::Connect { at: self.not_before, resume, renew_token: self.renew_token };
        match &self.stance {
            Stance::Lost(loss) => Plan::Record(loss.clone()),
            Stance::Recording(_) => Plan::AwaitGap,
            Stance::Resume(point) => connect(Some(point.clone())),
            Stance::Identify if self.begun.is_some() => Plan::AwaitReady,
            Stance::Identify => connect(None),
        }
    }

    /// No socket is opened before this.
    pub fn hold_until(&mut self, at: Instant) {
        self.not_before = self.not_before.max(at);
    }

    /// Why the shard stands still, where it is parked.
    #[must_use]
    pub const fn blocked(&self) -> Option<Blocked> {
        self.blocked
    }

    /// The gap is on its way to the log.
    pub fn recording(&mut self) {
        if let Stance::Lost(loss) = &self.stance {
            self.stance = Stance::Recording(loss.clone());
        }
    }

    /// The gap is in the log.
    pub fn gap_durable(&mut self) {
        if let Stance::Recording(_) = self.stance {
            self.stance = Stance::Identify;
        }
    }

    /// A socket is being opened.
    pub const fn opening(&mut self, now: Instant) {
        self.pace.opening(now);
        self.renew_token = false;
    }

    /// READY or RESUMED came: the session lives, and trouble of before is over.
    pub const fn live(&mut self) {
        self.fruitless = 0;
        self.blocked = None;
    }

    /// READY has come, and is on its way to the log.
    pub fn begun(&mut self, session: &SessionId) {
        self.begun = Some(session.clone());
    }

    /// The log holds the session up to here: READY makes it the one to resume, and progress
    /// begins the count of closes again.
    pub fn durable(&mut self, session: &SessionId, seq: Seq) {
        self.begun.take_if(|begun| begun == session);
        let newer = match &self.stance {
            Stance::Resume(point) => point.session != *session || point.seq < seq,
            Stance::Identify => true,
            Stance::Lost(_) | Stance::Recording(_) => false, // given up already
        };
        if newer {
            self.stance = Stance::Resume(ResumePoint { session: session.clone(), seq });
            self.closes = None;
        }
    }

    /// A socket ended. `jitter` is in `0.0..1.0`.
    pub fn ended(&mut self, now: Instant, ending: Ending, reached: Reached, jitter: f64) {
        match reached {
            Reached::Nothing => {}
            Reached::Asked => self.fruitless += 1,
            Reached::Live => self.fruitless = 0,
        }
        let routine = matches!(ending, Ending::Asked | Ending::Closed(Some(CloseCode(4009))));
        let manner = match reached {
            _ if routine => Manner::Routine,
            Reached::Nothing => Manner::Unopened,
            Reached::Asked | Reached::Live => Manner::Trouble,
        };
        self.not_before = self.pace.ended(now, manner, jitter);
        match self.next(ending, jitter) {
            Next::Resume(wait) => self.resume(now, wait),
            Next::RenewAndResume => {
                self.renew_token = true;
                self.resume(now, Duration::ZERO);
            }
            Next::Identify(wait) => self.identify(now, wait, GapReason::SessionInvalid),
            Next::Replan => self.park(now, PROBE, ending),
            Next::Park(wait) => self.park(now, wait, ending),
        }
    }

    /// The socket was left for a reason of ours: the session is resumed on another.
    pub fn left(&mut self, now: Instant, jitter: f64) {
        self.not_before = self.pace.ended(now, Manner::Trouble, jitter);
    }

    /// The socket was left because the session says nothing any more: another is begun.
    pub fn give_up(&mut self, now: Instant, jitter: f64) {
        self.left(now, jitter);
        self.identify(now, Duration::ZERO, GapReason::Silent);
    }

    /// What came over the socket cannot be ours: nothing of it is used, and a person must look.
    pub fn refuse(&mut self, now: Instant, why: Blocked) {
        self.not_before = now + PROBE;
        self.blocked = Some(why);
    }

    fn next(&mut self, ending: Ending, jitter: f64) -> Next {
        let code = match ending {
            Ending::Closed(Some(code)) => code,
            Ending::Closed(None) | Ending::Asked | Ending::Dead => {
                return Next::Resume(Duration::ZERO);
            }
            Ending::Late(Stage::Hello | Stage::Ready | Stage::Resumed) => {
                return Next::Resume(Duration::ZERO);
            }
            Ending::Refused { resumable } => {
                let (from, to) = AFTER_INVALID;
                let wait = from + (to - from).mul_f64(jitter);
                return if resumable { Next::Resume(wait) } else { Next::Identify(wait) };
            }
        };
        let in_a_row = self.closes.filter(|(last, _)| *last == code).map_or(1, |(_, n)| n + 1);
        self.closes = Some((code, in_a_row));
        code.step(in_a_row).next
    }

    fn resume(&mut self, now: Instant, wait: Duration) {
        match &self.stance {
            Stance::Resume(_) if self.fruitless >= FRUITLESS_RESUMES => {
                self.identify(now, wait, GapReason::ResumeFailed);
            }
            Stance::Identify => self.identify(now, wait, GapReason::SessionInvalid),
            Stance::Resume(_) | Stance::Lost(_) | Stance::Recording(_) => {
                self.not_before = self.not_before.max(now + wait);
            }
        }
    }

    fn identify(&mut self, now: Instant, wait: Duration, reason: GapReason) {
        self.not_before = self.not_before.max(now + wait);
        match &self.stance {
            Stance::Resume(ResumePoint { session, seq }) => {
                let session = Some(session.clone());
                self.stance = Stance::Lost(Loss { session, after: *seq, reason });
                self.fruitless = 0;
            }
            Stance::Identify if self.fruitless >= FRUITLESS_IDENTIFIES => {
                self.not_before = now + PROBE;
                self.blocked = Some(Blocked::IdentifyRefused);
            }
            Stance::Identify | Stance::Lost(_) | Stance::Recording(_) => {}
        }
    }

    fn park(&mut self, now: Instant, wait: Duration, ending: Ending) {
        self.not_before = now + wait;
        if let Ending::Closed(Some(code)) = ending {
            self.blocked = Some(Blocked::Closed(code));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Driven {
        shard: Shard,
        now: Instant,
    }

    fn point(seq: Seq) -> ResumePoint {
        ResumePoint { session: "s".into(), seq }
    }

    impl Driven {
        #[expect(clippy::disallowed_methods, reason = "an `Instant` has no literal to start from")]
        fn new(tail: Tail) -> Self {
            let now = Instant::now();
            Self { shard: Shard::new(now, tail), now }
        }

        fn resuming() -> Self {
            Self::new(Tail::Resume(point(7)))
        }

        /// A socket that lived for a second and ended so; gives the wait and the plan.
        fn socket(&mut self, reached: Reached, ending: Ending) -> (Duration, Plan) {
            self.shard.opening(self.now);
            if reached == Reached::Live {
                self.shard.live();
            }
            self.now += Duration::from_secs(1);
            self.shard.ended(self.now, ending, reached, 0.0);
            let plan = self.shard.plan();
            let wait = self.shard.not_before.saturating_duration_since(self.now);
            self.now += wait;
            (wait, plan)
        }

        fn record(&mut self) {
            self.shard.recording();
            assert_eq!(self.shard.plan(), Plan::AwaitGap);
            self.shard.gap_durable();
        }
    }

    fn closed(code: u16) -> Ending {
        Ending::Closed(Some(CloseCode(code)))
    }

    #[track_caller]
    fn resumes(plan: &Plan) {
        assert!(matches!(plan, Plan::Connect { resume: Some(_), .. }), "{plan:?}");
    }

    #[track_caller]
    fn identifies(plan: &Plan) {
        assert!(matches!(plan, Plan::Connect { resume: None, .. }), "{plan:?}");
    }

    #[track_caller]
    fn loses(plan: &Plan, expected: GapReason) {
        assert!(
            matches!(plan, Plan::Record(Loss { reason, .. }) if *reason == expected),
            "{plan:?} should be {expected:?}"
        );
    }

    #[test]
    fn a_session_whose_ready_is_on_its_way_is_not_passed_over() {
        let mut driven = Driven::new(Tail::Open);
        driven.shard.begun(&"s".into());
        let refused = Ending::Refused { resumable: false };
        let (_, plan) = driven.socket(Reached::Live, refused);
        assert_eq!(plan, Plan::AwaitReady);
        driven.shard.durable(&"s".into(), 1);
        assert!(matches!(driven.shard.plan(), Plan::Connect { resume: Some(_), .. }));
        let (_, plan) = driven.socket(Reached::Asked, refused);
        assert!(matches!(plan, Plan::Record(Loss { session: Some(_), after: 1, .. })), "{plan:?}");
    }

    #[test]
    fn the_newest_record_decides_how_a_shard_begins() {
        loses(&Driven::new(Tail::Absent).shard.plan(), GapReason::First);
        loses(&Driven::new(Tail::Ended).shard.plan(), GapReason::Ended);
        identifies(&Driven::new(Tail::Open).shard.plan());
        resumes(&Driven::resuming().shard.plan());
    }

    #[test]
    fn no_identify_goes_out_before_the_gap_is_durable() {
        let mut shard = Driven::resuming();
        let (_, plan) = shard.socket(Reached::Asked, closed(4006));
        let loss = Loss { session: Some("s".into()), after: 7, reason: GapReason::SessionInvalid };
        assert_eq!(plan, Plan::Record(loss));
        shard.record();
        identifies(&shard.shard.plan());
    }

    #[test]
    fn the_half_hourly_cycle_is_resumed_at_once() {
        for ending in [Ending::Asked, closed(4009)] {
            let (wait, plan) = Driven::resuming().socket(Reached::Live, ending);
            assert_eq!(wait, Duration::ZERO);
            resumes(&plan);
        }
    }

    #[test]
    fn three_resumes_that_lead_nowhere_end_the_session() {
        let mut shard = Driven::resuming();
        for _ in 0..2 {
            resumes(&shard.socket(Reached::Asked, Ending::Closed(None)).1);
        }
        loses(&shard.socket(Reached::Asked, Ending::Closed(None)).1, GapReason::ResumeFailed);
    }

    #[test]
    fn connections_that_are_not_made_never_cost_the_session() {
        let mut shard = Driven::resuming();
        for _ in 0..50 {
            resumes(&shard.socket(Reached::Nothing, Ending::Closed(None)).1);
        }
    }

    #[test]
    fn a_session_reset_by_another_socket_is_tried_three_times() {
        let mut shard = Driven::resuming();
        for _ in 0..3 {
            resumes(&shard.socket(Reached::Live, closed(4902)).1);
        }
        loses(&shard.socket(Reached::Live, closed(4902)).1, GapReason::SessionInvalid);
    }

    #[test]
    fn progress_begins_the_count_again() {
        let mut shard = Driven::resuming();
        for seq in 8..30 {
            resumes(&shard.socket(Reached::Live, closed(4902)).1);
            shard.shard.durable(&"s".into(), seq);
        }
    }

    #[test]
    fn a_refused_session_waits_and_asks_again_as_the_platform_says() {
        let (wait, plan) =
            Driven::resuming().socket(Reached::Asked, Ending::Refused { resumable: true });
        assert_eq!(wait, AFTER_INVALID.0);
        resumes(&plan);
        let (_, plan) =
            Driven::resuming().socket(Reached::Asked, Ending::Refused { resumable: false });
        loses(&plan, GapReason::SessionInvalid);
    }

    #[test]
    fn a_bad_token_is_renewed_before_the_session_is_given_up() {
        let mut shard = Driven::resuming();
        let (_, plan) = shard.socket(Reached::Asked, closed(4004));
        assert!(matches!(plan, Plan::Connect { resume: Some(_), renew_token: true, .. }));
        loses(&shard.socket(Reached::Asked, closed(4004)).1, GapReason::SessionInvalid);
        shard.record();
        let (wait, _) = shard.socket(Reached::Asked, closed(4004));
        assert_eq!(
            (wait, shard.shard.blocked().map(Blocked::label)),
            (PROBE, Some("authentication_failed"))
        );
    }

    #[test]
    fn what_a_person_must_mend_is_parked_with_its_reason_and_probed() {
        let check = |code, minutes: u64, label| {
            let mut shard = Driven::resuming();
            let (wait, plan) = shard.socket(Reached::Asked, closed(code));
            assert_eq!(wait, Duration::from_secs(60 * minutes), "{code}");
            assert_eq!(shard.shard.blocked().map(Blocked::label), Some(label), "{code}");
            resumes(&plan);
            shard.shard.live();
            assert_eq!(shard.shard.blocked(), None);
        };
        check(4010, 15, "bad_shard");
        check(4013, 15, "bad_intents");
        check(4014, 15, "intents_not_granted");
        check(4914, 10, "bot_offline");
        check(4915, 30, "bot_banned");
    }

    #[test]
    fn an_identify_refused_again_and_again_is_a_missing_permission() {
        let mut shard = Driven::new(Tail::Open);
        let refused = Ending::Refused { resumable: false };
        for _ in 0..2 {
            identifies(&shard.socket(Reached::Asked, refused).1);
        }
        let (wait, plan) = shard.socket(Reached::Asked, refused);
        identifies(&plan);
        assert_eq!((wait, shard.shard.blocked()), (PROBE, Some(Blocked::IdentifyRefused)));
    }

    #[test]
    fn ready_makes_the_session_the_one_to_resume() {
        let mut shard = Driven::new(Tail::Open);
        shard.shard.durable(&"new".into(), 1);
        let point = ResumePoint { session: "new".into(), seq: 1 };
        let plan = shard.shard.plan();
        assert!(matches!(plan, Plan::Connect { resume: Some(found), .. } if found == point));
    }
}
