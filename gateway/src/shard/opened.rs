//! A shard while its socket is open: frames in, records out, heartbeats in between.
//!
//! While a record waits for room in the partition nothing is read; heartbeats go on, and after a
//! while the socket is left, so that the platform keeps the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use qqrelay_proto::frame::Frame;
use qqrelay_proto::gate::{Gate, Verdict};
use qqrelay_proto::greeting::{Hello, Ready};
use qqrelay_proto::id::{Seq, SessionId};
use qqrelay_proto::opcode::Opcode;
use qqrelay_proto::outgoing::Outgoing;
use qqrelay_proto::record::{DropReason, GapReason, ResumePoint, SessionRecord};
use qqrelay_proto::session::{Command, Ending, Input, Output, Session};
use qqrelay_proto::shard::{Loss, Reached};
use qqrelay_runtime::random::share;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracing::{debug, info, warn};

use super::driver::{Break, Driver, Left, Life, now};
use super::relay::{What, Written};
use super::socket::{Received, Socket};
use super::trace;
use crate::alarm::Alarm;
use crate::metrics::{Outcome, Paused};
use crate::partition::{About, Ask, Durable};
use crate::status::{self, Phase};

/// A fence reading older than this is made again before RESUME or IDENTIFY goes out.
const FENCE_FRESH: Duration = Duration::from_millis(200);

/// How long the fence may take to be read before the attempt is given up.
const FENCE_WITHIN: Duration = Duration::from_secs(5);

/// How long a socket may stay unread because the log has no room.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The close code that ends a session; sent of one that nobody goes on with.
///
/// Source: PLATFORM.md, "close codes".
const ENDS: u16 = 1000;

/// A shard with an open socket.
pub(super) struct Opened<'a> {
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
    beat_alarm: Alarm,
    pause_alarm: Alarm,
    silence_alarm: Alarm,
}

/// A dispatch on its way from the session machine to the gate.
struct Dispatch<'a> {
    frame: Option<&'a Frame<'a>>,
    received: Instant,
}

impl<'a> Opened<'a> {
    pub(super) fn new(
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
            beat_alarm: Alarm::default(),
            pause_alarm: Alarm::default(),
            silence_alarm: Alarm::default(),
        }
    }

    pub(super) async fn run(mut self) -> Result<Left, Break> {
        self.doubt();
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
        let code =
            if self.driver.orders.is_over() { ENDS } else { self.driver.settings.close_code };
        Box::pin(self.socket.close(code)).await;
        left
    }

    async fn step(&mut self) -> Result<Option<Left>, Break> {
        let unread = !self.life.outbox.is_empty();
        self.note_pause(unread);
        let pause_over = self.pause.as_ref().map(|(since, _)| *since + PAUSE_MAX);
        self.beat_alarm.set(Some(self.session.deadline().unwrap_or_else(Instant::now)));
        self.pause_alarm.set(pause_over);
        let unsighted = self.life.outbox.front().filter(|it| self.driver.is_unsighted(it));
        let asks = unsighted.is_some();
        tokio::select! {
            biased;
            () = self.driver.orders.halt.cancelled() => Err(Break::Stop),
            () = self.beat_alarm.wait() => self.apply(Input::Tick, None).await,
            changed = self.life.standing.changed() => {
                changed.map_err(|_| Break::Stop)?;
                self.life.catch_up()?;
                Ok(None)
            }
            sighting = self.driver.sight(unsighted), if asks => {
                self.life.outbox.front_mut().expect("it was not empty").sighting = Some(sighting);
                Ok(None)
            }
            permit = self.driver.inbox.records.reserve(), if unread && !asks => {
                let permit = permit.map_err(|_| Break::Stop)?;
                permit.send(self.life.outbox.pop_front().expect("it was not empty"));
                Ok(None)
            }
            () = self.pause_alarm.wait() => {
                info!("the log has no room: socket left, the platform keeps the rest");
                Ok(Some(Left::Ours))
            }
            () = self.silence_alarm.wait() => Ok(self.doubt()),
            received = self.socket.receive(), if !unread => self.received(received).await,
        }
    }

    /// When a silence is too long is worked out once the alarm of the last time has rung: an event
    /// only makes it later.
    fn doubt(&mut self) -> Option<Left> {
        let (shortest, now) = (self.driver.settings.silence?, Instant::now());
        let deadline = self.life.silence.deadline(shortest);
        if self.reached == Reached::Live
            && deadline.is_some_and(|deadline| deadline <= now)
            && let Some(remedy) = self.life.silence.remedy(now)
        {
            return Some(Left::Silent(remedy));
        }
        let deadline = self.life.silence.deadline(shortest);
        self.silence_alarm.set(Some(deadline.unwrap_or(now + shortest).max(now + shortest / 8)));
        None
    }

    fn note_pause(&mut self, unread: bool) {
        if !unread {
            self.pause = None;
        } else if self.pause.is_none() {
            self.pause = Some((Instant::now(), self.driver.metrics.paused()));
        }
    }

    /// A heartbeat says what is durable, so the session has to know it by then.
    fn tell_durable(&mut self) -> Result<(), Break> {
        let durable = self.life.catch_up()?;
        let session = self.life.gate.as_ref().map(Gate::session);
        if let Some(Durable { point, .. }) = durable
            && session == Some(&point.session)
        {
            self.session.handle(Instant::now(), Input::Durable(point.seq));
        }
        Ok(())
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
        self.life.shard.begun(&ready.session_id);
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
        if matches!(input, Input::Tick | Input::HeartbeatWanted) {
            self.tell_durable()?;
        }
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
            if !Box::pin(self.verify_fence()).await? {
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
            reason = self.life.broken(&self.driver.orders.halt) => Err(reason),
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
            status.trouble = None;
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
                self.life.silence.event(received);
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
