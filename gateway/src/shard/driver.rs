//! Moves one shard through its life: record what is lost, connect, and again.
//!
//! What follows from an end is [`Shard`]'s to say, and what passes is [`Gate`]'s; this moves time
//! and records. What was read goes to the log before the next socket is opened.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use qqrelay_proto::gate::Gate;
use qqrelay_proto::id::{AppId, Seq, SessionId, ShardId};
use qqrelay_proto::intent::Intents;
use qqrelay_proto::record::{EndReason, GapReason, Record, ResumePoint, SessionRecord};
use qqrelay_proto::session::{Ending, Patience};
use qqrelay_proto::shard::{Blocked, Loss, Plan, Reached, Shard};
use qqrelay_proto::silence::{Remedy, Silence};
use qqrelay_proto::subject::SourceSubject;
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::random::share;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, info, warn};

use super::opened::Opened;
use super::relay::Scribe;
use super::socket::{Socket, Way};
use crate::metrics::ShardMetrics;
use crate::partition::{
    About, Ask, Attached, Durable, Epoch, Handed, Inbox, Known, Sighted, SourceIndex, Standing,
};
use crate::platform::Bot;
use crate::status::{self, Phase};
use crate::trouble::InFull;

/// How often it is looked whether a READY is in the log whose socket has ended.
const READY_LOOK: Duration = Duration::from_millis(20);

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
    /// The shortest silence of a busy shard that is too long, if any is.
    pub(crate) silence: Option<Duration>,
    /// No socket is opened before.
    pub(crate) not_before: Instant,
}

/// What a shard is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Hold a session, and begin one where there is none.
    Serve,
    /// Hold the session that there is, and begin no other.
    Relieve,
    /// End the session.
    End(EndReason),
}

/// A shard's orders, and when to leave off.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    /// What to do.
    pub(crate) service: watch::Receiver<Service>,
    /// Cancelled with an order to end, and with `leave`.
    pub(crate) halt: CancellationToken,
    /// Cancelled when the partition is to be let go of: the session is another's to go on with.
    pub(crate) leave: CancellationToken,
}

impl Orders {
    /// Whether the session is not to be gone on with.
    pub(super) fn is_over(&self) -> bool {
        self.halt.is_cancelled() && !self.leave.is_cancelled()
    }
}

/// One shard's driver.
pub(crate) struct Driver {
    pub(super) settings: DriverSettings,
    pub(super) bot: Arc<Bot>,
    pub(super) inbox: Inbox,
    way: Way,
    pub(super) scribe: Scribe,
    pub(super) metrics: ShardMetrics,
    pub(super) status: status::Entry,
    pub(super) orders: Orders,
}

/// What holds for as long as the owner's memory does.
pub(super) struct Life {
    source: SourceIndex,
    epoch: Epoch,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) shard: Shard,
    pub(super) gate: Option<Gate>,
    /// Records that the partition has not taken yet. While there are any, nothing is read.
    pub(super) outbox: VecDeque<Handed>,
    /// Gap records handed over in this epoch.
    gaps: u64,
    /// Whether the session's end is in the log.
    ended: bool,
    /// The place at which a frame was too large to be read, once.
    pub(super) too_large_at: Option<Seq>,
    /// Outlives the owner's memory.
    pub(super) silence: Silence,
}

/// Why a driver goes back to the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// The owner forgot, or the partition is not ours: start from the tail.
    Reset,
    /// The process stops.
    Stop,
}

/// How a socket was done with.
pub(super) enum Left {
    /// It ended; the shard decides what follows.
    Ended(Ending, Reached),
    /// We left it.
    Ours,
    /// READY is of another bot than the one we asked for.
    OtherBot,
    /// It said nothing for too long.
    Silent(Remedy),
}

impl Driver {
    pub(crate) fn new(
        settings: DriverSettings,
        bot: Arc<Bot>,
        inbox: Inbox,
        way: Way,
        metrics: ShardMetrics,
        status: status::Entry,
        orders: Orders,
    ) -> Self {
        let scribe = Scribe {
            app: settings.app.clone(),
            source: settings.source.clone(),
            record_limit: settings.record_limit,
        };
        Self { settings, bot, inbox, way, scribe, metrics, status, orders }
    }

    /// Drives the shard until it is left, or its session is ended.
    pub(crate) async fn run(self) {
        let (reply, attached) = oneshot::channel();
        if self.inbox.asks.send(Ask::Attach(self.settings.source.clone(), reply)).await.is_err() {
            return; // the owner is gone, and so is the partition
        }
        let Ok(Attached { source, mut standing }) = attached.await else { return };
        self.status.follow(standing.clone());
        let mut silence = Silence::default();
        loop {
            self.phase(Phase::Waiting);
            let open = standing.wait_for(|standing| matches!(standing, Standing::Open(_)));
            let known = tokio::select! {
                () = self.orders.leave.cancelled() => return,
                open = open => match open.as_deref() {
                    Ok(Standing::Open(known)) => known.clone(),
                    Ok(Standing::Closed) => continue,
                    Err(_) => return,
                },
            };
            let mut life = Life::new(source, standing.clone(), known, silence);
            life.shard.hold_until(self.settings.not_before);
            let mut broke = self.live(&mut life).await;
            if broke == Break::Stop && !self.orders.leave.is_cancelled() {
                match self.finish(&mut life).await {
                    Ok(()) => return,
                    Err(reason) => broke = reason,
                }
            }
            match broke {
                Break::Reset => silence = life.silence,
                Break::Stop => {
                    self.flush(&mut life).await;
                    return;
                }
            }
        }
    }

    async fn live(&self, life: &mut Life) -> Break {
        loop {
            let plan = life.shard.plan();
            if self.orders.is_over() || self.is_relieved(&plan) {
                return Break::Stop;
            }
            let step = match plan {
                Plan::Record(loss) => {
                    self.record_gap(life, loss);
                    life.shard.recording();
                    self.deliver(life, &self.orders.halt).await
                }
                Plan::AwaitGap => self.changed(life, &self.orders.halt).await,
                Plan::AwaitReady => self.ready_stored(life, &self.orders.halt).await,
                Plan::Connect { at, resume, renew_token } => {
                    self.connect(life, at, resume, renew_token).await
                }
            };
            if let Err(reason) = step {
                return reason;
            }
        }
    }

    /// Whether the plan is for a session that somebody else shall begin.
    fn is_relieved(&self, plan: &Plan) -> bool {
        let begins = match plan {
            Plan::Record(loss) => loss.session.is_none(),
            Plan::Connect { resume, .. } => resume.is_none(),
            Plan::AwaitGap | Plan::AwaitReady => false,
        };
        begins && *self.orders.service.borrow() == Service::Relieve
    }

    /// Ends the session in the log, if there is one: nobody goes on with it any more.
    async fn finish(&self, life: &mut Life) -> Result<(), Break> {
        let leave = &self.orders.leave;
        self.deliver(life, leave).await?;
        loop {
            let resume = match life.shard.plan() {
                Plan::Record(loss) if loss.session.is_some() => {
                    self.record_gap(life, loss);
                    life.shard.recording();
                    self.deliver(life, leave).await?;
                    continue;
                }
                Plan::AwaitGap => {
                    self.changed(life, leave).await?;
                    continue;
                }
                Plan::AwaitReady => {
                    self.ready_stored(life, leave).await?;
                    continue;
                }
                Plan::Record(_) => None,
                Plan::Connect { resume, .. } => resume,
            };
            let stored = life.gate.as_ref().map(Gate::point).or(resume);
            if let Some(point) = stored {
                self.end_session(life, point).await?;
            }
            self.bot.forget_resume(self.settings.source.source).await;
            return Ok(());
        }
    }

    async fn end_session(&self, life: &mut Life, point: ResumePoint) -> Result<(), Break> {
        let reason = match *self.orders.service.borrow() {
            Service::End(reason) => reason,
            Service::Serve | Service::Relieve => EndReason::Resharded,
        };
        let ResumePoint { session, seq } = point;
        info!(session = session.as_str(), ?reason, "session ended");
        let record = self.scribe.session(seq, &session, &SessionRecord::Ended { reason }).record;
        life.hand(Some(session), seq, record, About::Ended, Instant::now(), Span::none());
        self.deliver(life, &self.orders.leave).await?;
        while !life.ended {
            self.changed(life, &self.orders.leave).await?;
        }
        Ok(())
    }

    /// Whether another set of the bot's shards may have shown this event, and nobody has asked yet.
    pub(super) fn is_unsighted(&self, handed: &Handed) -> bool {
        handed.about == About::Event && handed.sighting.is_none() && self.bot.overlaps()
    }

    /// Asks whether another set of the bot's shards has shown this event.
    pub(super) async fn sight(&self, handed: Option<&Handed>) -> Sighted {
        match handed.and_then(|handed| handed.record.headers.event.as_ref()) {
            Some(event) => self.bot.see(&event.id, self.settings.source.source).await,
            None => Sighted::Unknown,
        }
    }

    /// Hands over everything in the outbox.
    async fn deliver(&self, life: &mut Life, stop: &CancellationToken) -> Result<(), Break> {
        while let Some(mut handed) = life.outbox.pop_front() {
            if self.is_unsighted(&handed) {
                handed.sighting = Some(self.sight(Some(&handed)).await);
            }
            tokio::select! {
                permit = self.inbox.records.reserve() => match permit {
                    Ok(permit) => permit.send(handed),
                    Err(_) => return Err(Break::Stop),
                },
                reason = life.broken(stop) => {
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
    async fn changed(&self, life: &mut Life, stop: &CancellationToken) -> Result<(), Break> {
        tokio::select! {
            () = stop.cancelled() => Err(Break::Stop),
            changed = life.standing.changed() => match changed {
                Ok(()) => life.catch_up().map(|_| ()),
                Err(_) => Err(Break::Stop),
            },
        }
    }

    /// Waits a moment for a READY that is on its way; that it is stored is not announced.
    async fn ready_stored(&self, life: &mut Life, stop: &CancellationToken) -> Result<(), Break> {
        self.deliver(life, stop).await?;
        tokio::select! {
            () = sleep(READY_LOOK) => life.catch_up().map(|_| ()),
            reason = life.broken(stop) => Err(reason),
        }
    }

    async fn connect(
        &self,
        life: &mut Life,
        at: Instant,
        resume: Option<ResumePoint>,
        renew_token: bool,
    ) -> Result<(), Break> {
        self.deliver(life, &self.orders.halt).await?;
        let parked = life.shard.blocked();
        self.phase(if parked.is_some() { Phase::Parked } else { Phase::Connecting });
        self.blocked(parked);
        tokio::select! {
            () = sleep_until(at.into()) => {}
            reason = life.broken(&self.orders.halt) => return Err(reason),
        }
        life.catch_up()?;
        // For as long as it takes: the shard's own future lives as long as the shard.
        let opening = Box::pin(self.open(resume.is_some(), renew_token));
        let opened = tokio::select! {
            opened = opening => opened,
            reason = life.broken(&self.orders.halt) => return Err(reason),
        };
        life.catch_up()?;
        life.shard.opening(Instant::now());
        let left = match opened {
            Ok((socket, token)) => {
                self.phase(Phase::Opening);
                let Plan::Connect { resume, .. } = life.shard.plan() else { return Ok(()) };
                Opened::new(self, life, socket, token, resume).run().await?
            }
            Err(error) => {
                let why = InFull(&*error).to_string();
                warn!(error = why, "no socket");
                self.status.update(|status| status.trouble = Some(why));
                Left::Ended(Ending::Closed(None), Reached::Nothing)
            }
        };
        // What follows depends on what is durable by now: a session that ended with its READY in the
        // log leaves a gap, one without it never was.
        life.catch_up()?;
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
        Ok((self.way.open(&url, self.settings.connect_timeout).await?, token))
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
                if blocked.is_some_and(Blocked::asks_for_replan) {
                    self.bot.replan();
                }
                match blocked {
                    Some(why) => warn!(?ending, reason = why.label(), "shard parked"),
                    None => debug!(?ending, ?reached, "socket ended"),
                }
            }
            Left::Ours => life.shard.left(now, jitter),
            Left::Silent(remedy) => {
                warn!(?remedy, "a busy shard says nothing any more");
                self.metrics.silent(remedy);
                match remedy {
                    Remedy::Resume => life.shard.left(now, jitter),
                    Remedy::GiveUp => life.shard.give_up(now, jitter),
                }
            }
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

    pub(super) fn hand_gap(&self, life: &mut Life, loss: &Loss, until: Option<Seq>) {
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

    pub(super) fn phase(&self, phase: Phase) {
        self.status.update(|status| status.phase = phase);
    }

    pub(super) fn blocked(&self, blocked: Option<Blocked>) {
        self.status.update(|status| status.blocked = blocked.map(Blocked::label));
    }
}

impl Life {
    fn new(
        source: SourceIndex,
        mut standing: watch::Receiver<Standing>,
        known: Known,
        silence: Silence,
    ) -> Self {
        standing.mark_changed();
        Self {
            source,
            epoch: known.epoch,
            standing,
            shard: Shard::new(Instant::now(), known.tail),
            gate: None,
            outbox: VecDeque::with_capacity(2),
            gaps: 0,
            ended: false,
            too_large_at: None,
            silence,
        }
    }

    /// Takes over what the log says; gives the newest durable point.
    pub(super) fn catch_up(&mut self) -> Result<Option<Durable>, Break> {
        let known = match &*self.standing.borrow_and_update() {
            Standing::Open(known) if known.epoch == self.epoch => known.clone(),
            Standing::Open(_) | Standing::Closed => return Err(Break::Reset),
        };
        if known.gaps >= self.gaps {
            self.shard.gap_durable();
        }
        self.ended = known.ended;
        if let Some(Durable { point, .. }) = &known.durable {
            self.shard.durable(&point.session, point.seq);
        }
        Ok(known.durable)
    }

    /// Resolves when this life is over.
    pub(super) async fn broken(&self, stop: &CancellationToken) -> Break {
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

    pub(super) fn hand(
        &mut self,
        session: Option<SessionId>,
        seq: Seq,
        record: Record,
        about: About,
        received: Instant,
        span: Span,
    ) {
        let (source, epoch, sighting) = (self.source, self.epoch, None);
        let handed =
            Handed { source, epoch, session, seq, record, about, sighting, received, span };
        self.outbox.push_back(handed);
    }
}

/// The wall clock.
pub(crate) fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixMs(since.map_or(0, |since| since.as_millis() as u64))
}
