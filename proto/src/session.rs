//! One shard's session over one socket.
//!
//! The driver says what happened and when, through [`Session::handle`], then drains
//! [`Session::poll`] and does what it is told, in order. It wakes again at [`Session::deadline`].
//!
//! Two sequences are kept apart. `received` is the newest the socket gave us. `durable` is the
//! newest the log has acknowledged, and the platform is told of no other: RESUME and heartbeats
//! carry it, so what only our memory holds is never taken for safe.
//!
//! Left to [`crate::shard`]: what follows once the socket is gone. Left to [`crate::gate`]: which
//! of the dispatches go on to the log.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use crate::close::CloseCode;
use crate::heartbeat::{Beat, Heartbeat};
use crate::id::Seq;
use crate::record::ResumePoint;

/// Something that happened outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Opcode 10: the platform greets us.
    Hello {
        /// Time between heartbeats.
        interval: Duration,
    },
    /// READY: a new session exists. Like RESUMED, it becomes a record of the log.
    Ready(Seq),
    /// RESUMED: everything missed has been sent again.
    Resumed(Seq),
    /// Any other opcode 0 frame, new or sent again.
    Dispatch(Seq),
    /// The log holds every record of this session up to and including this one.
    Durable(Seq),
    /// Opcode 1: the platform wants a heartbeat now.
    HeartbeatWanted,
    /// Opcode 11, or a frame that means nothing to us: a sign of life.
    Alive,
    /// Opcode 7: the platform asks for a new connection.
    Reconnect,
    /// Opcode 9: the platform refuses the session.
    InvalidSession {
        /// Its `d`: whether a resume may work all the same.
        resumable: bool,
    },
    /// Time passed.
    Tick,
    /// The socket is gone; no code when the transport died without a close frame.
    Closed(Option<CloseCode>),
}

/// Something the driver must do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this to the socket.
    Send(Command),
    /// READY or RESUMED has come, or a RESUME shows itself by its first frame.
    Live,
    /// Hand the frame with this sequence to the gate and the log.
    Relay(Seq),
    /// Count and log this; it has no meaning in the current state.
    Unexpected(Input),
    /// Close the socket if it is open, so that the session lives. Nothing follows.
    End(Ending),
}

/// Why the socket is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was closed from outside: [`CloseCode::step`] decides; no code, the transport died.
    Closed(Option<CloseCode>),
    /// Opcode 7: connect again at once and resume.
    Asked,
    /// Opcode 9.
    Refused {
        /// Whether the platform says that a resume may work all the same.
        resumable: bool,
    },
    /// Nothing came for a whole interval after a heartbeat.
    Dead,
    /// What had to come within a time did not.
    Late(Stage),
}

/// What a socket waits for at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Opcode 10.
    Hello,
    /// READY, after IDENTIFY.
    Ready,
    /// RESUMED or a first replayed frame, after RESUME.
    Resumed,
}

/// A message to the platform, before the driver adds the access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Opcode 1.
    Heartbeat(Option<Seq>),
    /// Opcode 2.
    Identify,
    /// Opcode 6.
    Resume(ResumePoint),
}

/// How long to wait for the platform's first words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For HELLO, once the socket is open.
    pub hello: Duration,
    /// For READY, after IDENTIFY.
    pub ready: Duration,
    /// For RESUMED or the first replayed frame, after RESUME.
    pub resumed: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            ready: Duration::from_secs(30),
            resumed: Duration::from_secs(30),
        }
    }
}

/// One shard's session; see the module.
#[derive(Debug)]
pub struct Session {
    state: State,
    outputs: VecDeque<Output>,
    patience: Patience,
    /// Share of the first heartbeat interval to wait, in `0.0..1.0`.
    jitter: f64,
}

/// What is true now. A state carries only the data that exists in it.
#[derive(Debug)]
enum State {
    AwaitHello {
        resume: Option<ResumePoint>,
        until: Instant,
    },
    Identifying {
        heartbeat: Heartbeat,
        until: Instant,
    },
    /// RESUME is out and nothing has come yet.
    AwaitReplay {
        link: Link,
        until: Instant,
    },
    /// The platform sends again what was missed.
    Replaying(Link),
    /// READY or RESUMED has come.
    Live(Link),
    Ended,
}

/// What all states in which events may arrive know.
#[derive(Debug)]
struct Link {
    heartbeat: Heartbeat,
    received: Seq,
    durable: Option<Seq>,
}

impl Session {
    /// A session on a socket that has just opened, continuing `resume` where there is one.
    #[must_use]
    pub fn new(now: Instant, resume: Option<ResumePoint>, patience: Patience, jitter: f64) -> Self {
        let state = State::AwaitHello { resume, until: now + patience.hello };
        Self { state, outputs: VecDeque::new(), patience, jitter }
    }

    /// Applies one input. Drain [`Session::poll`] to `None` before applying the next.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if input.is_frame() {
            self.state.heard();
        }
        let state = mem::replace(&mut self.state, State::Ended);
        self.state = match (state, input) {
            (State::Ended, _) => State::Ended,
            (_, Input::Closed(code)) => self.end(Ending::Closed(code)),
            (_, Input::Reconnect) => self.end(Ending::Asked),
            (_, Input::InvalidSession { resumable }) => self.end(Ending::Refused { resumable }),

            (State::AwaitHello { resume, .. }, Input::Hello { interval }) => {
                self.greet(now, resume, interval)
            }
            (State::Identifying { heartbeat, .. }, Input::Ready(seq)) => {
                let link = Link { heartbeat, received: seq, durable: None };
                self.outputs.push_back(Output::Live);
                State::Live(self.relay(link, seq))
            }
            (State::AwaitReplay { link, .. }, Input::Dispatch(seq)) => {
                self.outputs.push_back(Output::Live);
                State::Replaying(self.relay(link, seq))
            }
            (State::AwaitReplay { link, .. }, Input::Resumed(seq)) => {
                self.outputs.push_back(Output::Live);
                State::Live(self.relay(link, seq))
            }
            (State::Replaying(link) | State::Live(link), Input::Resumed(seq)) => {
                State::Live(self.relay(link, seq))
            }
            (State::Replaying(link), Input::Dispatch(seq)) => {
                State::Replaying(self.relay(link, seq))
            }
            (State::Live(link), Input::Dispatch(seq)) => State::Live(self.relay(link, seq)),
            (state, Input::Tick) => self.tick(now, state),
            (state, input) => self.note(state, input),
        };
    }

    /// The next thing to do, oldest first.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to apply the next [`Input::Tick`]; `None` once it has ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::AwaitHello { until, .. } => Some(*until),
            State::Identifying { heartbeat, until } => Some(heartbeat.due().min(*until)),
            State::AwaitReplay { link, until } => Some(link.heartbeat.due().min(*until)),
            State::Replaying(link) | State::Live(link) => Some(link.heartbeat.due()),
            State::Ended => None,
        }
    }

    /// Whether READY or RESUMED has come on this socket.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    fn greet(&mut self, now: Instant, resume: Option<ResumePoint>, interval: Duration) -> State {
        let heartbeat = Heartbeat::new(now, interval, self.jitter);
        match resume {
            None => {
                self.outputs.push_back(Output::Send(Command::Identify));
                State::Identifying { heartbeat, until: now + self.patience.ready }
            }
            Some(point) => {
                let link = Link { heartbeat, received: point.seq, durable: Some(point.seq) };
                self.outputs.push_back(Output::Send(Command::Resume(point)));
                State::AwaitReplay { link, until: now + self.patience.resumed }
            }
        }
    }

    fn tick(&mut self, now: Instant, mut state: State) -> State {
        let late = match &state {
            State::AwaitHello { until, .. } => (*until, Stage::Hello),
            State::Identifying { until, .. } => (*until, Stage::Ready),
            State::AwaitReplay { until, .. } => (*until, Stage::Resumed),
            State::Replaying(_) | State::Live(_) | State::Ended => (now, Stage::Hello),
        };
        let waits = !matches!(state, State::Replaying(_) | State::Live(_));
        if waits && late.0 <= now {
            return self.end(Ending::Late(late.1));
        }
        let beat = Output::Send(Command::Heartbeat(state.durable()));
        match state.heartbeat().map(|heartbeat| heartbeat.tick(now)) {
            None | Some(Beat::Wait) => state,
            Some(Beat::Missed) => self.end(Ending::Dead),
            Some(Beat::Send) => {
                self.outputs.push_back(beat);
                state
            }
        }
    }

    /// What changes no state: acknowledgements, signs of life, and what makes no sense.
    fn note(&mut self, mut state: State, input: Input) -> State {
        match input {
            Input::Alive => {}
            Input::Durable(seq) if state.link().is_some() => {
                if let Some(link) = state.link().filter(|link| link.awaits(seq)) {
                    link.durable = Some(seq);
                }
            }
            Input::HeartbeatWanted if state.heartbeat().is_some() => {
                let beat = Command::Heartbeat(state.durable());
                self.outputs.push_back(Output::Send(beat));
            }
            input => self.outputs.push_back(Output::Unexpected(input)),
        }
        state
    }

    fn relay(&mut self, link: Link, seq: Seq) -> Link {
        self.outputs.push_back(Output::Relay(seq));
        Link { received: link.received.max(seq), ..link }
    }

    fn end(&mut self, why: Ending) -> State {
        self.outputs.push_back(Output::End(why));
        State::Ended
    }
}

impl Input {
    /// Whether the platform sent it.
    const fn is_frame(&self) -> bool {
        !matches!(self, Self::Durable(_) | Self::Tick | Self::Closed(_))
    }
}

impl Link {
    /// Whether an acknowledgement of `seq` is news, and of something we relayed.
    fn awaits(&self, seq: Seq) -> bool {
        self.durable < Some(seq) && seq <= self.received
    }
}

impl State {
    const fn heartbeat(&mut self) -> Option<&mut Heartbeat> {
        match self {
            Self::Identifying { heartbeat, .. } => Some(heartbeat),
            Self::AwaitReplay { link, .. } | Self::Replaying(link) | Self::Live(link) => {
                Some(&mut link.heartbeat)
            }
            Self::AwaitHello { .. } | Self::Ended => None,
        }
    }

    const fn link(&mut self) -> Option<&mut Link> {
        match self {
            Self::AwaitReplay { link, .. } | Self::Replaying(link) | Self::Live(link) => Some(link),
            Self::AwaitHello { .. } | Self::Identifying { .. } | Self::Ended => None,
        }
    }

    fn heard(&mut self) {
        if let Some(heartbeat) = self.heartbeat() {
            heartbeat.heard();
        }
    }

    fn durable(&mut self) -> Option<Seq> {
        self.link().and_then(|link| link.durable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(45);
    const HELLO: Input = Input::Hello { interval: INTERVAL };

    fn point(seq: Seq) -> ResumePoint {
        ResumePoint { session: "session".into(), seq }
    }

    /// A session whose inputs come 1 s apart.
    struct Driven {
        session: Session,
        now: Instant,
    }

    impl Driven {
        #[expect(clippy::disallowed_methods, reason = "an `Instant` has no literal to start from")]
        fn new(resume: Option<ResumePoint>) -> Self {
            let now = Instant::now();
            Self { session: Session::new(now, resume, Patience::default(), 0.0), now }
        }

        fn apply(&mut self, input: Input) -> Vec<Output> {
            self.now += Duration::from_secs(1);
            self.session.handle(self.now, input);
            std::iter::from_fn(|| self.session.poll()).collect()
        }

        fn after(&mut self, wait: Duration, input: Input) -> Vec<Output> {
            self.now += wait;
            self.apply(input)
        }
    }

    #[test]
    fn a_new_session_identifies_and_is_live_with_ready() {
        let mut shard = Driven::new(None);
        assert_eq!(shard.apply(HELLO), [Output::Send(Command::Identify)]);
        assert_eq!(shard.apply(Input::Ready(1)), [Output::Live, Output::Relay(1)]);
        assert!(shard.session.is_live());
    }

    #[test]
    fn a_known_session_resumes_and_is_live_once_the_replay_is_over() {
        let mut shard = Driven::new(Some(point(41)));
        assert_eq!(shard.apply(HELLO), [Output::Send(Command::Resume(point(41)))]);
        assert_eq!(shard.apply(Input::Dispatch(42)), [Output::Live, Output::Relay(42)]);
        assert!(!shard.session.is_live());
        assert_eq!(shard.apply(Input::Resumed(43)), [Output::Relay(43)]);
        assert!(shard.session.is_live());
    }

    #[test]
    fn an_unanswered_heartbeat_ends_the_socket_but_not_the_session() {
        let mut shard = Driven::new(Some(point(7)));
        shard.apply(HELLO);
        assert_eq!(shard.apply(Input::Resumed(8)), [Output::Live, Output::Relay(8)]);
        assert_eq!(shard.apply(Input::Tick), [Output::Send(Command::Heartbeat(Some(7)))]);
        assert_eq!(shard.after(INTERVAL, Input::Tick), [Output::End(Ending::Dead)]);
    }

    #[test]
    fn any_frame_answers_a_heartbeat() {
        let mut shard = Driven::new(Some(point(7)));
        shard.apply(HELLO);
        shard.apply(Input::Tick);
        shard.apply(Input::Dispatch(8));
        let beat = Output::Send(Command::Heartbeat(Some(7)));
        assert_eq!(shard.after(INTERVAL, Input::Tick), [beat]);
    }

    #[test]
    fn the_platform_may_ask_for_a_heartbeat() {
        let mut shard = Driven::new(Some(point(7)));
        shard.apply(HELLO);
        let beat = Output::Send(Command::Heartbeat(Some(7)));
        assert_eq!(shard.apply(Input::HeartbeatWanted), [beat]);
    }

    #[test]
    fn what_never_comes_ends_the_socket() {
        let wait = Duration::from_secs(30);
        let late = |stage| [Output::End(Ending::Late(stage))];
        assert_eq!(Driven::new(None).after(wait, Input::Tick), late(Stage::Hello));
        let mut identifying = Driven::new(None);
        identifying.apply(HELLO);
        assert_eq!(identifying.after(wait, Input::Tick), late(Stage::Ready));
        let mut resuming = Driven::new(Some(point(7)));
        resuming.apply(HELLO);
        assert_eq!(resuming.after(wait, Input::Tick), late(Stage::Resumed));
    }

    #[test]
    fn a_replay_without_its_resumed_is_a_living_session() {
        let mut shard = Driven::new(Some(point(7)));
        shard.apply(HELLO);
        shard.apply(Input::Dispatch(8));
        let beat = Output::Send(Command::Heartbeat(Some(7)));
        assert_eq!(shard.after(Duration::from_secs(31), Input::Tick), [beat]);
    }

    #[test]
    fn the_platforms_endings_are_told_apart() {
        let ends = |input| {
            let mut shard = Driven::new(Some(point(7)));
            shard.apply(HELLO);
            shard.apply(input)
        };
        let end = |ending| [Output::End(ending)];
        let refused = |resumable| Ending::Refused { resumable };
        assert_eq!(ends(Input::InvalidSession { resumable: true }), end(refused(true)));
        assert_eq!(ends(Input::InvalidSession { resumable: false }), end(refused(false)));
        assert_eq!(ends(Input::Reconnect), end(Ending::Asked));
        assert_eq!(ends(Input::Closed(None)), end(Ending::Closed(None)));
    }

    fn any_input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(HELLO),
            (1..50_u64).prop_map(Input::Ready),
            (1..50_u64).prop_map(Input::Resumed),
            (1..50_u64).prop_map(Input::Dispatch),
            (1..50_u64).prop_map(Input::Durable),
            Just(Input::HeartbeatWanted),
            Just(Input::Alive),
            Just(Input::Tick),
        ]
    }

    proptest! {
        /// The platform is told of nothing the log does not hold, and never of less than before.
        #[test]
        fn what_we_tell_is_durable(inputs in prop::collection::vec(any_input(), 0..200)) {
            let mut shard = Driven::new(Some(point(1)));
            let (mut durable, mut told) = (Some(1), Some(1));
            for input in inputs {
                if let Input::Durable(seq) = input {
                    durable = durable.max(Some(seq));
                }
                for output in shard.apply(input) {
                    if let Output::Send(Command::Heartbeat(seq)) = output {
                        prop_assert!(told <= seq && seq <= durable);
                        told = seq;
                    }
                }
            }
        }

        /// A session that has not ended always knows when to wake.
        #[test]
        fn a_living_session_has_a_deadline(inputs in prop::collection::vec(any_input(), 0..100)) {
            let mut shard = Driven::new(None);
            let mut ended = false;
            for input in inputs {
                let outputs = shard.apply(input);
                ended |= outputs.iter().any(|output| matches!(output, Output::End(_)));
                prop_assert_eq!(shard.session.deadline().is_none(), ended);
            }
        }
    }
}
