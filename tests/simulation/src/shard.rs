//! One shard of a process: its life over sockets, as the driver of the real one moves it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use qqrelay_proto::event::EventKind;
use qqrelay_proto::gate::{Gate, Verdict};
use qqrelay_proto::id::{AppId, Scene, Scope, Seq, SessionId};
use qqrelay_proto::record::{
    EventHeaders, Gap, GapReason, Headers, Record, ResumePoint, SessionRecord, Tail,
};
use qqrelay_proto::session::{Command, Ending, Input, Output, Patience, Session};
use qqrelay_proto::shard::{Loss, Plan, Reached, Shard};
use qqrelay_proto::subject::SourceSubject;

use crate::gateway::Means;
use crate::mutant::Mutant;
use crate::platform::{Down, Frame, Link, Up};

/// A fence reading older than this is made again.
const FENCE_FRESH: Duration = Duration::from_millis(200);
const FENCE_WITHIN: Duration = Duration::from_secs(5);

/// A socket that says nothing while it opens is given up.
const OPEN_WITHIN: Duration = Duration::from_secs(3);

const HEARTBEAT: Duration = Duration::from_secs(4);

/// What the log says of a source, while the partition is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) epoch: u64,
    pub(crate) tail: Tail,
    pub(crate) durable: Option<ResumePoint>,
    pub(crate) gaps: u64,
}

/// A record on its way to the chain.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) source: usize,
    pub(crate) epoch: u64,
    pub(crate) session: Option<SessionId>,
    pub(crate) seq: Seq,
    pub(crate) record: Record,
    pub(crate) about: About,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Event(u64),
    Session,
    Gap,
}

/// What holds for as long as the owner's memory does.
struct Life {
    epoch: u64,
    shard: Shard,
    gate: Option<Gate>,
    outbox: VecDeque<Handed>,
    gaps: u64,
    durable: Option<ResumePoint>,
}

struct Socket {
    link: Link,
    session: Session,
    opened: Instant,
    reached: Reached,
    /// What goes out once the fence has been read, and since when it waits.
    command: Option<(Command, Instant)>,
    /// Whether the question is out.
    is_asked: bool,
    /// What came while the outbox was full.
    unread: VecDeque<Down>,
}

pub(crate) struct Driver {
    index: u16,
    subject: SourceSubject,
    life: Option<Life>,
    socket: Option<Socket>,
    permit: Leave,
}

/// Leave to identify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    None,
    WantedAt(Instant),
    Given,
}

impl Driver {
    pub(crate) const fn new(index: u16, subject: SourceSubject) -> Self {
        Self { index, subject, life: None, socket: None, permit: Leave::None }
    }

    pub(crate) const fn index(&self) -> u16 {
        self.index
    }

    pub(crate) fn is_settled(&self) -> bool {
        let is_live = self
            .socket
            .as_ref()
            .is_some_and(|socket| socket.session.is_live() && socket.unread.is_empty());
        is_live && self.life.as_ref().is_some_and(|life| life.outbox.is_empty())
    }

    pub(crate) fn wants_permit(&self, now: Instant) -> bool {
        matches!(self.permit, Leave::WantedAt(at) if at <= now)
    }

    pub(crate) fn permitted(&mut self) {
        if let Leave::WantedAt(_) = self.permit {
            self.permit = Leave::Given;
        }
    }

    pub(crate) fn permit_again(&mut self, at: Instant) {
        if let Leave::WantedAt(_) = self.permit {
            self.permit = Leave::WantedAt(at);
        }
    }

    /// When time alone moves it next. What is due already waits for something else.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let socket = self.socket.as_ref().map(|socket| {
            let session = socket.session.deadline().unwrap_or(socket.opened + OPEN_WITHIN);
            match socket.command {
                Some((_, since)) => session.min(since + FENCE_WITHIN),
                None => session,
            }
        });
        let permit = match self.permit {
            Leave::WantedAt(at) => Some(at),
            Leave::None | Leave::Given => None,
        };
        let plan = match (&self.life, &self.socket) {
            (Some(life), None) => match life.shard.plan() {
                Plan::Connect { at, .. } => Some(at),
                Plan::Record(_) | Plan::AwaitGap | Plan::AwaitReady => None,
            },
            _ => None,
        };
        let waits = [permit, plan].into_iter().flatten().filter(|at| *at > now);
        socket.into_iter().chain(waits).min()
    }

    /// The next record for the chain.
    pub(crate) fn next(&mut self) -> Option<Handed> {
        self.life.as_mut()?.outbox.pop_front()
    }

    pub(crate) fn tick(&mut self, now: Instant, means: &mut Means) {
        let Some(socket) = &self.socket else { return };
        if socket.command.as_ref().is_some_and(|(_, since)| *since + FENCE_WITHIN <= now) {
            return self.left(now, means);
        }
        if socket.session.deadline().is_some_and(|at| at <= now) {
            self.tell_durable(now, means);
            self.apply(now, Input::Tick, None, means);
        }
    }

    /// The partition is not ours any more: the socket is closed, the session lives.
    pub(crate) fn leave(&mut self, means: &mut Means) {
        if let Some(socket) = self.socket.take() {
            means.say(socket.link, Up::Close);
        }
        (self.life, self.permit) = (None, Leave::None);
    }

    /// The question about the fence is lost with the connection.
    pub(crate) const fn fence_lost(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.is_asked = false;
        }
    }

    pub(crate) fn heard(&mut self, now: Instant, link: Link, down: &Down, means: &mut Means) {
        let Some(socket) = self.socket.as_mut().filter(|socket| socket.link == link) else {
            return;
        };
        socket.unread.push_back(down.clone());
        self.read(now, means);
    }

    /// Reads what has come, while the outbox takes it.
    fn read(&mut self, now: Instant, means: &mut Means) {
        while let (Some(life), Some(socket)) = (&self.life, &mut self.socket)
            && life.outbox.is_empty()
            && let Some(down) = socket.unread.pop_front()
        {
            self.one(now, down, means);
        }
    }

    fn one(&mut self, now: Instant, down: Down, means: &mut Means) {
        match down {
            Down::Hello => self.apply(now, Input::Hello { interval: HEARTBEAT }, None, means),
            Down::Ack => self.apply(now, Input::Alive, None, means),
            Down::Reconnect => self.apply(now, Input::Reconnect, None, means),
            Down::InvalidSession => {
                self.apply(now, Input::InvalidSession { resumable: false }, None, means);
            }
            Down::Closed(code) => self.apply(now, Input::Closed(code), None, means),
            Down::Dispatch(seq, frame) => {
                let input = match &frame {
                    Frame::Ready(session) => {
                        let point = ResumePoint { session: session.clone(), seq: seq - 1 };
                        if let Some(life) = &mut self.life {
                            life.gate = Some(Gate::new(point));
                            life.shard.begun(session);
                        }
                        Input::Ready(seq)
                    }
                    Frame::Resumed => Input::Resumed(seq),
                    Frame::Event(_) => Input::Dispatch(seq),
                };
                self.apply(now, input, Some(&frame), means);
            }
        }
    }

    fn tell_durable(&mut self, now: Instant, means: &Means) {
        let (Some(life), Some(socket)) = (&self.life, &mut self.socket) else { return };
        let Some(gate) = &life.gate else { return };
        let durable = life.durable.as_ref().filter(|point| point.session == *gate.session());
        let seq = match durable {
            _ if means.setting.is(Mutant::HeartbeatFromMemory) => gate.last(),
            Some(point) => point.seq,
            None => return,
        };
        socket.session.handle(now, Input::Durable(seq));
    }

    fn apply(&mut self, now: Instant, input: Input, frame: Option<&Frame>, means: &mut Means) {
        let Some(socket) = &mut self.socket else { return };
        socket.session.handle(now, input);
        while let Some(socket) = &mut self.socket
            && let Some(output) = socket.session.poll()
        {
            match output {
                Output::Send(Command::Heartbeat(seq)) => means.say(socket.link, Up::Heartbeat(seq)),
                Output::Send(command) => {
                    socket.command = Some((command, now));
                    let unchecked = [Mutant::NoFenceCheck, Mutant::ResumeFromMemory];
                    if unchecked.iter().any(|mutant| means.setting.is(*mutant)) {
                        self.fence_read(now, now, means);
                    }
                }
                Output::Live => {
                    socket.reached = Reached::Live;
                    if let Some(life) = &mut self.life {
                        life.shard.live();
                    }
                }
                Output::Relay(seq) => self.relay(now, seq, frame, means),
                Output::Unexpected(_) => {}
                Output::End(ending) => self.ended(now, ending, means),
            }
        }
    }

    /// The fence was read at `at` and is ours.
    pub(crate) fn fence_read(&mut self, now: Instant, at: Instant, means: &mut Means) {
        let Some(socket) = &mut self.socket else { return };
        socket.is_asked = false;
        if now.duration_since(at) > FENCE_FRESH {
            return; // asked again
        }
        let Some((command, _)) = socket.command.take() else { return };
        socket.reached = Reached::Asked;
        let up = match command {
            Command::Identify => Up::Identify(self.index),
            Command::Resume(ResumePoint { session, seq }) => Up::Resume(session, seq),
            Command::Heartbeat(seq) => Up::Heartbeat(seq),
        };
        means.say(socket.link, up);
    }

    fn relay(&mut self, now: Instant, seq: Seq, frame: Option<&Frame>, means: &mut Means) {
        let (Some(life), Some(socket), Some(frame)) = (&mut self.life, &self.socket, frame) else {
            return;
        };
        let Some(gate) = &mut life.gate else { return };
        let is_event = matches!(frame, Frame::Event(_));
        let verdict = gate.judge(seq, socket.session.is_live() && is_event);
        let session = gate.session().clone();
        match verdict {
            Verdict::Pass => {}
            Verdict::Replay if means.setting.is(Mutant::NoGate) => {}
            Verdict::Replay => return,
            Verdict::Rewound | Verdict::Hole => return self.left(now, means),
            Verdict::Lost { after, until } => {
                let loss = Loss { session: Some(session.clone()), after, reason: GapReason::Hole };
                self.hand_gap(&loss, Some(until));
            }
        }
        if means.setting.is(Mutant::ReadyUnrecorded) && matches!(frame, Frame::Ready(_)) {
            return;
        }
        let (record, about) = record(&self.subject, &session, seq, frame);
        self.hand(Some(session), seq, record, about);
    }

    fn hand_gap(&mut self, loss: &Loss, until: Option<Seq>) {
        let seq = until.unwrap_or(loss.after);
        let Loss { session, after, reason } = loss.clone();
        let headers = Headers { session: session.clone(), seq: Some(seq), ..Headers::default() };
        let gap = Gap { session: session.clone(), after, until, reason, at: String::new() };
        let payload = serde_json::to_vec(&gap).expect("plain data").into();
        let record = Record { subject: self.subject.gap(), headers, payload };
        if let Some(life) = &mut self.life {
            life.gaps += 1;
        }
        self.hand(session, seq, record, About::Gap);
    }

    fn hand(&mut self, session: Option<SessionId>, seq: Seq, record: Record, about: About) {
        if let Some(life) = &mut self.life {
            let (source, epoch) = (usize::from(self.index), life.epoch);
            life.outbox.push_back(Handed { source, epoch, session, seq, record, about });
        }
    }

    /// The socket is left for a reason of ours.
    fn left(&mut self, now: Instant, means: &mut Means) {
        if let Some(socket) = self.socket.take() {
            means.say(socket.link, Up::Close);
        }
        if let Some(life) = &mut self.life {
            life.shard.left(now, means.rng.f64());
        }
    }

    fn ended(&mut self, now: Instant, ending: Ending, means: &mut Means) {
        let Some(socket) = self.socket.take() else { return };
        means.say(socket.link, Up::Close);
        if let Some(life) = &mut self.life {
            catch_up(life);
            life.shard.ended(now, ending, socket.reached, means.rng.f64());
        }
    }

    /// Does what is due; says whether the fence is to be read.
    pub(crate) fn drive(&mut self, now: Instant, known: Option<Known>, means: &mut Means) -> bool {
        let Some(known) = known else {
            self.leave(means);
            return false;
        };
        if self.life.as_ref().is_none_or(|life| life.epoch != known.epoch) {
            self.leave(means);
            self.life = Some(Life {
                epoch: known.epoch,
                shard: Shard::new(now, known.tail.clone()),
                gate: None,
                outbox: VecDeque::new(),
                gaps: 0,
                durable: None,
            });
        }
        let life = self.life.as_mut().expect("it was just made");
        life.durable.clone_from(&known.durable);
        if known.gaps >= life.gaps {
            life.shard.gap_durable();
        }
        catch_up(life);
        self.read(now, means);
        while self.socket.is_none() && self.step(now, means) {}
        let Some(socket) = &mut self.socket else { return false };
        let wants = socket.command.is_some() && !socket.is_asked;
        socket.is_asked |= wants;
        wants
    }

    /// One step of the shard's plan; whether there may be another.
    fn step(&mut self, now: Instant, means: &mut Means) -> bool {
        let Some(life) = &mut self.life else { return false };
        match life.shard.plan() {
            Plan::Record(mut loss) => {
                let gate = life.gate.take_if(|gate| loss.session.as_ref() == Some(gate.session()));
                loss.after = loss.after.max(gate.map_or(0, |gate| gate.last()));
                life.shard.recording();
                if means.setting.is(Mutant::NoGap) {
                    life.shard.gap_durable();
                } else {
                    self.hand_gap(&loss, None);
                }
                true
            }
            Plan::AwaitGap | Plan::AwaitReady => false,
            Plan::Connect { at, resume, .. } => {
                if !life.outbox.is_empty() || now < at {
                    return false;
                }
                if resume.is_none() && !means.setting.is(Mutant::NoBudget) {
                    match self.permit {
                        Leave::Given => {}
                        Leave::WantedAt(_) => return false,
                        Leave::None => {
                            self.permit = Leave::WantedAt(now);
                            return false;
                        }
                    }
                }
                self.permit = Leave::None;
                self.open(now, resume, means);
                false
            }
        }
    }

    fn open(&mut self, now: Instant, resume: Option<ResumePoint>, means: &mut Means) {
        let Some(life) = &mut self.life else { return };
        life.shard.opening(now);
        let resume = match (&life.gate, resume) {
            (Some(gate), Some(point))
                if means.setting.is(Mutant::ResumeFromMemory)
                    && *gate.session() == point.session =>
            {
                Some(gate.point())
            }
            (_, resume) => resume,
        };
        match (&mut life.gate, &resume) {
            (Some(gate), Some(point)) if *gate.session() == point.session => gate.socket_opened(),
            (gate, Some(point)) => *gate = Some(Gate::new(point.clone())),
            (gate, None) => *gate = None,
        }
        let patience = Patience { hello: OPEN_WITHIN, ready: OPEN_WITHIN, resumed: OPEN_WITHIN };
        let session = Session::new(now, resume, patience, means.rng.f64());
        self.socket = Some(Socket {
            link: means.open_link(),
            session,
            opened: now,
            reached: Reached::Nothing,
            command: None,
            is_asked: false,
            unread: VecDeque::new(),
        });
    }
}

fn catch_up(life: &mut Life) {
    if let Some(point) = &life.durable {
        life.shard.durable(&point.session, point.seq);
    }
}

/// The record of a frame.
fn record(source: &SourceSubject, session: &SessionId, seq: Seq, frame: &Frame) -> (Record, About) {
    let headers = Headers { session: Some(session.clone()), seq: Some(seq), ..Headers::default() };
    let said = |said: SessionRecord| {
        let payload = serde_json::to_vec(&said).expect("plain data").into();
        Record { subject: source.session(), headers: headers.clone(), payload }
    };
    match frame {
        Frame::Ready(_) => (said(SessionRecord::Ready { bot: None }), About::Session),
        Frame::Resumed => (said(SessionRecord::Resumed), About::Session),
        Frame::Event(event) => {
            let kind = EventKind::MessageCreate;
            let id = event.to_string().into();
            let event_headers = EventHeaders { id, app: AppId::from("102"), kind };
            let headers = Headers { event: Some(event_headers), ..headers };
            let subject = source.event(&Scope::new(Scene::Group, "g"), kind);
            (Record { subject, headers, payload: "{}".into() }, About::Event(*event))
        }
    }
}

/// The event that a record holds, by its number.
pub(crate) fn event_of(record: &Record) -> Option<u64> {
    record.headers.event.as_ref()?.id.parse().ok()
}
