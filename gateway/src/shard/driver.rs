//! Moves one shard through its life: plan, connect, relay, and again.
//!
//! The rules are [`Shard`]'s, [`Session`]'s and [`Gate`]'s; this moves bytes and time. Nothing here
//! waits for the log with a socket unread for ever: while a record waits for room the socket is not
//! read, its heartbeats go on, and after a while it is left so that the platform keeps the rest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use qqrelay_proto::frame::Frame;
use qqrelay_proto::gate::{Gate, Verdict};
use qqrelay_proto::greeting::{Hello, Ready};
use qqrelay_proto::id::{AppId, Seq, SessionId, ShardId};
use qqrelay_proto::intent::Intents;
use qqrelay_proto::opcode::Opcode;
use qqrelay_proto::outgoing::Outgoing;
use qqrelay_proto::record::{DropReason, GapReason, Record, ResumePoint, SessionRecord};
use qqrelay_proto::session::{Command, Ending, Input, Output, Patience, Session};
use qqrelay_proto::shard::{Blocked, Loss, Plan, Reached, Shard};
use qqrelay_proto::subject::SourceSubject;
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::random::share;
use rustls::ClientConfig;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, info, warn};

use super::relay::{Scribe, What, Written};
use super::socket::{Received, Socket};
use super::trace;
use crate::metrics::{Outcome, Paused, ShardMetrics};
use crate::partition::{About, Ask, Attached, Epoch, Handed, Inbox, Known, SourceIndex, Standing};
use crate::platform::Bot;
use crate::status::{self, Phase};
use crate::trouble::InFull;

/// A fence reading older than this is made again before RESUME or IDENTIFY goes out.
const FENCE_FRESH: Duration = Duration::from_millis(200);

/// How long the fence may take to be read before the attempt is given up.
const FENCE_WITHIN: Duration = Duration::from_secs(5);

/// How long a socket may stay unread because the log has no room.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What a shard's driver is made with.
#[derive(Debug, Clone)]
pub(crate) struct DriverSettings {
    pub(crate) app: AppId,
    pub(crate) shard: ShardId,
    pub(crate) intents: Intents,
    pub(crate) source: SourceSubject,
    pub(crate) record_limit: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) patience: Patience,
    /// The code that leaves a session alive.
    pub(crate) close_code: u16,
}

/// One shard's driver.
pub(crate) struct Driver {
    settings: DriverSettings,
    bot: Arc<Bot>,
    inbox: Inbox,
    tls: Arc<ClientConfig>,
    scribe: Scribe,
    metrics: ShardMetrics,
    status: status::Entry,
    stop: CancellationToken,
}

/// What holds for as long as the owner's memory does.
struct Life {
    source: SourceIndex,
    epoch: Epoch,
    standing: watch::Receiver<Standing>,
    shard: Shard,
    gate: Option<Gate>,
    /// Records that the partition has not taken yet. While there are any, nothing is read.
    outbox: VecDeque<Handed>,
    /// Gap records handed over in this epoch.
    gaps: u64,
    /// The place at which a frame was too large to be read, once.
    too_large_at: Option<Seq>,
}

/// Why a driver goes back to the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    /// The owner forgot, or the partition is not ours: start from the tail.
    Reset,
    /// The process stops.
    Stop,
}

/// How a socket was done with.
enum Left {
    /// It ended; the shard decides what follows.
    Ended(Ending, Reached),
    /// We left it.
    Ours,
    /// READY is of another bot than the one we asked for.
    OtherBot,
}

impl Driver {
    pub(crate) fn new(
        settings: DriverSettings,
        bot: Arc<Bot>,
        inbox: Inbox,
        tls: Arc<ClientConfig>,
        metrics: ShardMetrics,
        status: status::Entry,
        stop: CancellationToken,
    ) -> Self {
        let scribe = Scribe {
            app: settings.app.clone(),
            source: settings.source.clone(),
            record_limit: settings.record_limit,
        };
        Self { settings, bot, inbox, tls, scribe, metrics, status, stop }
    }

    /// Drives the shard until the process stops.
    pub(crate) async fn run(self) {
        let (reply, attached) = oneshot::channel();
        if self.inbox.asks.send(Ask::Attach(self.settings.source.clone(), reply)).await.is_err() {
            return; // the owner is gone, and so is the partition
        }
        let Ok(Attached { source, mut standing }) = attached.await else { return };
        loop {
            self.phase(Phase::Waiting);
            let open = standing.wait_for(|standing| matches!(standing, Standing::Open(_)));
            let known = tokio::select! {
                () = self.stop.cancelled() => return,
                open = open => match open.as_deref() {
                    Ok(Standing::Open(known)) => known.clone(),
                    Ok(Standing::Closed) => continue,
                    Err(_) => return,
                },
            };
            let mut life = Life::new(source, standing.clone(), known);
            match self.live(&mut life).await {
                Break::Reset => {}
                Break::Stop => {
                    self.flush(&mut life).await;
                    return;
                }
            }
        }
    }

    async fn live(&self, life: &mut Life) -> Break {
        loop {
            let step = match life.shard.plan() {
                Plan::Record(loss) => {
                    self.record_gap(life, loss);
                    life.shard.recording();
                    self.deliver(life).await
                }
                Plan::AwaitGap => self.changed(life).await,
                Plan::Connect { at, resume, renew_token } => {
                    self.connect(life, at, resume, renew_token).await
                }
            };
            if let Err(reason) = step {
                return reason;
            }
        }
    }

    /// Hands over everything in the outbox.
    async fn deliver(&self, life: &mut Life) -> Result<(), Break> {
        while let Some(handed) = life.outbox.pop_front() {
            tokio::select! {
                permit = self.inbox.records.reserve() => match permit {
                    Ok(permit) => permit.send(handed),
                    Err(_) => return Err(Break::Stop),
                },
                reason = life.broken(&self.stop) => {
                    life.outbox.push_front(handed);
                    return Err(reason);
                }
            }
        }
        Ok(())
    }

    /// What is read is not thrown away because the process stops: it may still become durable.
    async fn flush(&self, life: &mut Life) {
        for handed in life.outbox.drain(..) {
            if self.inbox.records.send(handed).await.is_err() {
                return;
            }
        }
    }

    /// Waits for the log to say something new.
    async fn changed(&self, life: &mut Life) -> Result<(), Break> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Break::Stop),
            changed = life.standing.changed() => match changed {
                Ok(()) => life.catch_up().map(|_| ()),
                Err(_) => Err(Break::Stop),
            },
        }
    }

    async fn connect(
        &self,
        life: &mut Life,
        at: Instant,
        resume: Option<ResumePoint>,
        renew_token: bool,
    ) -> Result<(), Break> {
        self.deliver(life).await?;
        let parked = life.shard.blocked();
        self.phase(if parked.is_some() { Phase::Parked } else { Phase::Connecting });
        self.blocked(parked);
        tokio::select! {
            () = sleep_until(at.into()) => {}
            reason = life.broken(&self.stop) => return Err(reason),
        }
        life.catch_up()?;
        let opening = self.open(resume.is_some(), renew_token);
        let opened = tokio::select! {
            opened = opening => opened,
            reason = life.broken(&self.stop) => return Err(reason),
        };
        life.shard.opening(Instant::now());
        let left = match opened {
            Ok((socket, token)) => {
                self.phase(Phase::Opening);
                let Plan::Connect { resume, .. } = life.shard.plan() else { return Ok(()) };
                Opened::new(self, life, socket, token, resume).run().await?
            }
            Err(error) => {
                warn!(error = %InFull(&*error), "no socket");
                Left::Ended(Ending::Closed(None), Reached::Nothing)
            }
        };
        self.left(life, left);
        Ok(())
    }

    async fn open(
        &self,
        is_resume: bool,
        renew_token: bool,
    ) -> Result<(Socket, Arc<str>), Box<dyn std::error::Error + Send + Sync>> {
        if !is_resume {
            self.bot.identify_permit().await?;
        }
        let token = self.bot.token(renew_token).await?;
        let url = self.bot.gateway_url().await?;
        let socket = Socket::connect(&url, self.tls.clone(), self.settings.connect_timeout).await;
        Ok((socket?, token))
    }

    fn left(&self, life: &mut Life, left: Left) {
        let (now, jitter) = (Instant::now(), share());
        match left {
            Left::Ended(ending, reached) => {
                if let Ending::Closed(Some(code)) = ending {
                    self.metrics.closed(code.label());
                }
                life.shard.ended(now, ending, reached, jitter);
                let blocked = life.shard.blocked();
                match blocked {
                    Some(why) => warn!(?ending, reason = why.label(), "shard parked"),
                    None => debug!(?ending, ?reached, "socket ended"),
                }
            }
            Left::Ours => life.shard.left(now, jitter),
            Left::OtherBot => {
                warn!("READY is of another bot: check app_id and secret");
                life.shard.refuse(now, Blocked::OtherBot);
            }
        }
    }

    fn record_gap(&self, life: &mut Life, mut loss: Loss) {
        // What the gate let through stands before the gap, durable or not.
        if let Some(gate) = life.gate.take_if(|gate| loss.session.as_ref() == Some(gate.session()))
        {
            loss.after = loss.after.max(gate.last());
        }
        self.hand_gap(life, &loss, None);
    }

    fn hand_gap(&self, life: &mut Life, loss: &Loss, until: Option<Seq>) {
        if loss.reason == GapReason::First {
            debug!("a new source begins");
        } else {
            let session = loss.session.as_ref().map(SessionId::as_str);
            warn!(session, after = loss.after, until, reason = loss.reason.as_str(), "gap");
        }
        self.metrics.gap(loss.reason);
        life.gaps += 1;
        let record = self.scribe.gap(loss, until, now());
        let seq = until.unwrap_or(loss.after);
        let (session, received) = (loss.session.clone(), Instant::now());
        life.hand(session, seq, record, About::Gap, received, Span::none());
    }

    fn phase(&self, phase: Phase) {
        self.metrics.phase(phase);
        self.status.update(|status| status.phase = phase);
    }

    fn blocked(&self, blocked: Option<Blocked>) {
        let now = blocked.map(Blocked::label);
        self.status.update(|status| {
            if status.blocked != now {
                self.metrics.blocked(status.blocked, now);
                status.blocked = now;
            }
        });
    }
}

impl Life {
    fn new(source: SourceIndex, mut standing: watch::Receiver<Standing>, known: Known) -> Self {
        standing.mark_changed();
        Self {
            source,
            epoch: known.epoch,
            standing,
            shard: Shard::new(Instant::now(), known.tail),
            gate: None,
            outbox: VecDeque::new(),
            gaps: 0,
            too_large_at: None,
        }
    }

    /// Takes over what the log says; gives the newest durable point.
    fn catch_up(&mut self) -> Result<Option<ResumePoint>, Break> {
        let known = match &*self.standing.borrow_and_update() {
            Standing::Open(known) if known.epoch == self.epoch => known.clone(),
            Standing::Open(_) | Standing::Closed => return Err(Break::Reset),
        };
        if known.gaps >= self.gaps {
            self.shard.gap_durable();
        }
        if let Some(point) = &known.durable {
            self.shard.durable(&point.session, point.seq);
        }
        Ok(known.durable)
    }

    /// Resolves when this life is over.
    async fn broken(&self, stop: &CancellationToken) -> Break {
        let (mut standing, epoch) = (self.standing.clone(), self.epoch);
        let moved = standing.wait_for(|standing| match standing {
            Standing::Open(known) => known.epoch != epoch,
            Standing::Closed => true,
        });
        tokio::select! {
            () = stop.cancelled() => Break::Stop,
            moved = moved => if moved.is_ok() { Break::Reset } else { Break::Stop },
        }
    }

    fn hand(
        &mut self,
        session: Option<SessionId>,
        seq: Seq,
        record: Record,
        about: About,
        received: Instant,
        span: Span,
    ) {
        let (source, epoch) = (self.source, self.epoch);
        let handed = Handed { source, epoch, session, seq, record, about, received, span };
        self.outbox.push_back(handed);
    }
}

/// A shard with an open socket.
struct Opened<'a> {
    driver: &'a Driver,
    life: &'a mut Life,
    socket: Socket,
    token: Arc<str>,
    session: Session,
    is_resume: bool,
    reached: Reached,
    /// When the last heartbeat went out, until it is acknowledged.
    beat: Option<Instant>,
    /// Since when nothing is read, and the guard that counts it.
    pause: Option<(Instant, Paused)>,
}

/// A dispatch on its way from the session machine to the gate.
struct Dispatch<'a> {
    frame: Option<&'a Frame<'a>>,
    received: Instant,
}

impl<'a> Opened<'a> {
    fn new(
        driver: &'a Driver,
        life: &'a mut Life,
        socket: Socket,
        token: Arc<str>,
        resume: Option<ResumePoint>,
    ) -> Self {
        let is_resume = resume.is_some();
        match (&mut life.gate, &resume) {
            (Some(gate), Some(point)) if *gate.session() == point.session => gate.socket_opened(),
            (gate, Some(point)) => *gate = Some(Gate::new(point.clone())),
            (gate, None) => *gate = None,
        }
        let patience = driver.settings.patience;
        let session = Session::new(Instant::now(), resume, patience, share());
        Self {
            driver,
            life,
            socket,
            token,
            session,
            is_resume,
            reached: Reached::Nothing,
            beat: None,
            pause: None,
        }
    }

    async fn run(mut self) -> Result<Left, Break> {
        let left = loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(left)) => break Ok(left),
                Err(reason) => break Err(reason),
            }
        };
        if self.reached == Reached::Asked {
            self.driver.metrics.asked(self.is_resume, Outcome::Failed);
        }
        self.socket.close(self.driver.settings.close_code).await;
        left
    }

    async fn step(&mut self) -> Result<Option<Left>, Break> {
        let wake = self.session.deadline().unwrap_or_else(Instant::now);
        let unread = !self.life.outbox.is_empty();
        self.note_pause(unread);
        let pause_over = self.pause.as_ref().map_or(wake, |(since, _)| *since + PAUSE_MAX);
        tokio::select! {
            biased;
            () = self.driver.stop.cancelled() => Err(Break::Stop),
            () = sleep_until(wake.into()) => self.apply(Input::Tick, None).await,
            changed = self.life.standing.changed() => {
                changed.map_err(|_| Break::Stop)?;
                match self.life.catch_up()? {
                    Some(point) => self.durable(&point).await,
                    None => Ok(None),
                }
            }
            permit = self.driver.inbox.records.reserve(), if unread => {
                let permit = permit.map_err(|_| Break::Stop)?;
                permit.send(self.life.outbox.pop_front().expect("it was not empty"));
                Ok(None)
            }
            () = sleep_until(pause_over.into()), if unread => {
                info!("the log has no room: socket left, the platform keeps the rest");
                Ok(Some(Left::Ours))
            }
            received = self.socket.receive(), if !unread => self.received(received).await,
        }
    }

    fn note_pause(&mut self, unread: bool) {
        if !unread {
            self.pause = None;
        } else if self.pause.is_none() {
            self.pause = Some((Instant::now(), self.driver.metrics.paused()));
        }
    }

    async fn durable(&mut self, point: &ResumePoint) -> Result<Option<Left>, Break> {
        self.driver.status.update(|status| status.durable = Some(point.seq));
        let gate = self.life.gate.as_ref();
        if gate.is_some_and(|gate| *gate.session() == point.session) {
            return self.apply(Input::Durable(point.seq), None).await;
        }
        Ok(None)
    }

    async fn received(&mut self, received: Received) -> Result<Option<Left>, Break> {
        match received {
            Received::Text(text) => self.text(&text).await,
            Received::Noise => self.apply(Input::Alive, None).await,
            Received::Closed(code) => self.apply(Input::Closed(code), None).await,
            Received::TooLarge => {
                self.driver.metrics.bad_frame("too_large");
                self.note_too_large();
                self.apply(Input::Closed(None), None).await
            }
        }
    }

    /// A frame that cannot even be received comes again with the next RESUME. The second time at
    /// the same place it is what stands there, and its place is filled with the reason.
    fn note_too_large(&mut self) {
        let Some(gate) = &mut self.life.gate else { return };
        let next = gate.last() + 1;
        if self.life.too_large_at.replace(next) != Some(next) {
            return;
        }
        self.life.too_large_at = None;
        gate.judge(next, false);
        let session = gate.session().clone();
        let written = self.driver.scribe.dropped(next, &session, DropReason::TooLarge);
        self.hand(written, next, session, Instant::now());
    }

    async fn text(&mut self, text: &Utf8Bytes) -> Result<Option<Left>, Break> {
        let received = Instant::now();
        let frame = match Frame::parse(text) {
            Ok(frame) => frame,
            Err(error) => {
                self.driver.metrics.bad_frame(error.label());
                debug!(%error, "a frame cannot be read");
                return match error.seq() {
                    Some(seq) => {
                        let dispatch = Dispatch { frame: None, received };
                        self.apply(Input::Dispatch(seq), Some(dispatch)).await
                    }
                    None => self.apply(Input::Alive, None).await,
                };
            }
        };
        self.driver.metrics.frame(frame.op);
        let input = match frame.op {
            Opcode::Dispatch => match (frame.numbered(), frame.t.as_deref()) {
                (Ok(seq), Some("READY")) => return self.ready(&frame, seq, received).await,
                (Ok(seq), Some("RESUMED")) => Input::Resumed(seq),
                (Ok(seq), _) => Input::Dispatch(seq),
                (Err(error), _) => {
                    self.driver.metrics.bad_frame(error.label());
                    Input::Alive
                }
            },
            Opcode::Hello => Input::Hello { interval: Hello::read(&frame).interval },
            Opcode::Heartbeat => Input::HeartbeatWanted,
            Opcode::HeartbeatAck => {
                self.acknowledged(received);
                Input::Alive
            }
            Opcode::Reconnect => Input::Reconnect,
            Opcode::InvalidSession => Input::InvalidSession { resumable: frame.is_resumable() },
            _ => Input::Alive,
        };
        self.apply(input, Some(Dispatch { frame: Some(&frame), received })).await
    }

    fn acknowledged(&mut self, received: Instant) {
        if let Some(sent) = self.beat.take() {
            self.driver.metrics.acknowledged(received.saturating_duration_since(sent));
        }
        self.driver.status.update(|status| status.last_ack_at = Some(status::seconds_now()));
    }

    async fn ready(
        &mut self,
        frame: &Frame<'_>,
        seq: Seq,
        received: Instant,
    ) -> Result<Option<Left>, Break> {
        let ready = match Ready::read(frame) {
            Ok(ready) => ready,
            Err(error) => {
                warn!(%error, "the session cannot be used");
                let refused = Input::InvalidSession { resumable: false };
                return self.apply(refused, None).await;
            }
        };
        if !self.driver.bot.is(ready.user.as_ref()) {
            return Ok(Some(Left::OtherBot));
        }
        if ready.shard.is_some_and(|shard| shard != self.driver.settings.shard) {
            debug!(shard = ?ready.shard, "READY names another shard");
        }
        let point = ResumePoint { session: ready.session_id, seq: seq.saturating_sub(1) };
        self.life.gate = Some(Gate::new(point));
        let dispatch = Dispatch { frame: Some(frame), received };
        self.apply(Input::Ready(seq), Some(dispatch)).await
    }

    /// Applies an input to the session, and does what it asks for.
    async fn apply(
        &mut self,
        input: Input,
        dispatch: Option<Dispatch<'_>>,
    ) -> Result<Option<Left>, Break> {
        let said = match &input {
            Input::Ready(_) => {
                let bot = self.driver.bot.user().map(|user| user.to_string());
                Some(SessionRecord::Ready { bot })
            }
            Input::Resumed(_) => Some(SessionRecord::Resumed),
            _ => None,
        };
        self.session.handle(Instant::now(), input);
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(command) => {
                    if let Some(left) = self.send(command).await? {
                        return Ok(Some(left));
                    }
                }
                Output::Live => self.live(),
                Output::Relay(seq) => {
                    if let Some(left) = self.relay(seq, said.as_ref(), dispatch.as_ref()) {
                        return Ok(Some(left));
                    }
                }
                Output::Unexpected(input) => {
                    self.driver.metrics.bad_frame("unexpected");
                    debug!(?input, "has no meaning now");
                }
                Output::End(ending) => return Ok(Some(Left::Ended(ending, self.reached))),
            }
        }
        Ok(None)
    }

    async fn send(&mut self, command: Command) -> Result<Option<Left>, Break> {
        let settings = &self.driver.settings;
        let token = self.token.clone();
        let frame = match &command {
            Command::Heartbeat(seq) => {
                self.beat = Some(Instant::now());
                Outgoing::Heartbeat(*seq)
            }
            Command::Identify => Outgoing::Identify {
                token: &token,
                intents: settings.intents,
                shard: settings.shard,
            },
            Command::Resume(ResumePoint { session, seq }) => {
                Outgoing::Resume { token: &token, session_id: session, seq: *seq }
            }
        };
        if !matches!(command, Command::Heartbeat(_)) {
            if !self.verify_fence().await? {
                return Ok(Some(Left::Ours));
            }
            self.reached = Reached::Asked;
            self.driver.metrics.asked(self.is_resume, Outcome::Sent);
        }
        if self.socket.send(frame.encode()).await.is_err() {
            return Ok(Some(Left::Ended(Ending::Closed(None), self.reached)));
        }
        Ok(None)
    }

    /// Whether the partition is ours by a reading that is fresh enough to act upon.
    async fn verify_fence(&mut self) -> Result<bool, Break> {
        let ask = async {
            loop {
                let (reply, answer) = oneshot::channel();
                self.driver.inbox.asks.send(Ask::Verify(reply)).await.ok()?;
                if answer.await.ok()?.elapsed() <= FENCE_FRESH {
                    return Some(());
                }
            }
        };
        tokio::select! {
            verified = timeout(FENCE_WITHIN, ask) => Ok(matches!(verified, Ok(Some(())))),
            reason = self.life.broken(&self.driver.stop) => Err(reason),
        }
    }

    fn live(&mut self) {
        self.reached = Reached::Live;
        self.life.shard.live();
        let driver = self.driver;
        driver.metrics.asked(self.is_resume, Outcome::Live);
        driver.blocked(None);
        driver.phase(Phase::Live);
        let session = self.life.gate.as_ref().map(|gate| gate.session().clone());
        let is_resume = self.is_resume;
        let shown = session.as_ref().map(SessionId::as_str);
        info!(session = shown, how = if is_resume { "resumed" } else { "identified" }, "live");
        driver.status.update(|status| {
            status.session = session;
            *(if is_resume { &mut status.resumes } else { &mut status.identifies }) += 1;
        });
    }

    /// Puts a frame before the gate, and what passes into the outbox.
    fn relay(
        &mut self,
        seq: Seq,
        said: Option<&SessionRecord>,
        dispatch: Option<&Dispatch<'_>>,
    ) -> Option<Left> {
        let (Some(gate), Some(dispatch)) = (&mut self.life.gate, dispatch) else { return None };
        let verdict = gate.judge(seq, self.session.is_live() && said.is_none());
        let session = gate.session().clone();
        match verdict {
            Verdict::Pass => {}
            Verdict::Replay => {
                self.driver.metrics.replayed();
                return None;
            }
            Verdict::Rewound | Verdict::Hole => {
                warn!(seq, last = gate.last(), ?verdict, "the sequence does not go on: resuming");
                return Some(Left::Ours);
            }
            Verdict::Lost { after, until } => {
                let (session, reason) = (Some(session.clone()), GapReason::Hole);
                self.driver.hand_gap(self.life, &Loss { session, after, reason }, Some(until));
            }
        }
        let scribe = &self.driver.scribe;
        let written = match (said, dispatch.frame) {
            (Some(said), _) => scribe.session(seq, &session, said),
            (None, Some(frame)) => {
                let user = self.driver.bot.user();
                scribe.dispatch(frame, seq, &session, user, now())
            }
            (None, None) => scribe.dropped(seq, &session, DropReason::Unreadable),
        };
        self.hand(written, seq, session, dispatch.received);
        None
    }

    fn hand(&mut self, mut written: Written, seq: Seq, session: SessionId, received: Instant) {
        let metrics = &self.driver.metrics;
        let about = match written.what {
            What::Event { kind, lag } => {
                metrics.event(kind, lag);
                self.driver.status.update(|it| it.last_event_at = Some(status::seconds_now()));
                About::Event
            }
            What::Session => About::Session,
            What::Dropped(reason) => {
                metrics.dropped(reason);
                warn!(seq, ?reason, "a dispatch cannot be relayed");
                About::Session
            }
        };
        let span = trace::begin(&mut written.record);
        self.life.hand(Some(session), seq, written.record, about, received, span);
    }
}

fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixMs(since.map_or(0, |since| since.as_millis() as u64))
}
