//! A gateway process made of `proto`'s machines: the lease of one partition, its chain, and the
//! shards of a bot. What the tokio drivers of the real one move, this says as [`Effect`]s.

use std::time::{Duration, Instant};

use fastrand::Rng;
use qqrelay_proto::id::{AppId, OwnerId, ShardId};
use qqrelay_proto::identify::{OwnBudget, Permit, Share, StartLimit};
use qqrelay_proto::lease::{Holding, LeaseTimes, Watch, Watched};
use qqrelay_proto::record::{Record, Stored};
use qqrelay_proto::time::UnixMs;

use crate::held::Held;
use crate::mutant::Mutant;
use crate::platform::{Down, Link, Up};
use crate::redis::{Ask, Lease, Told};

/// How often a lease of somebody else's is looked at, and when a question counts as lost.
const LOOK_EVERY: Duration = Duration::from_millis(300);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What a process wants to be done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A question to the log, under this number.
    Log(u64, LogAsk),
    /// A question to the state.
    State(u64, Ask),
    /// A word to the platform.
    Up(Link, Up),
    /// Wake it no later than then.
    Wake(Instant),
}

/// A question to the log.
#[derive(Debug, Clone)]
pub(crate) enum LogAsk {
    Publish(u64, Record),
    Mark(Vec<Record>),
    /// The newest record of a source or of the ownership subject.
    Newest(String),
    Range(u64, u64),
}

/// The log's answer.
#[derive(Debug, Clone)]
pub(crate) enum LogTold {
    Stored(u64),
    Mismatch(u64),
    Marked(u64),
    Newest(Option<Stored>),
    Range(Vec<Stored>),
}

/// What every process of a schedule shares.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) app: AppId,
    pub(crate) shards: u16,
    pub(crate) window: usize,
    pub(crate) times: LeaseTimes,
    pub(crate) limit: StartLimit,
    pub(crate) mutant: Option<Mutant>,
}

impl Setting {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The fillers behind a marker.
    pub(crate) fn fillers(&self) -> usize {
        self.mutant.map_or(self.window, |mutant| mutant.fillers(self.window))
    }

    pub(crate) fn shard(&self, index: u16) -> ShardId {
        ShardId::new(index, self.shards).expect("below the count")
    }
}

/// What a process has besides what it holds: passed down to whoever asks or speaks.
pub(crate) struct Means {
    pub(crate) setting: Setting,
    pub(crate) me: OwnerId,
    pub(crate) rng: Rng,
    pub(crate) effects: Vec<Effect>,
    asked: u64,
    links: Link,
}

impl Means {
    pub(crate) fn ask_log(&mut self, ask: LogAsk) -> u64 {
        self.asked += 1;
        self.effects.push(Effect::Log(self.asked, ask));
        self.asked
    }

    pub(crate) fn ask_state(&mut self, ask: Ask) -> u64 {
        self.asked += 1;
        self.effects.push(Effect::State(self.asked, ask));
        self.asked
    }

    pub(crate) fn open_link(&mut self) -> Link {
        self.links += 1;
        self.effects.push(Effect::Up(self.links, Up::Open));
        self.links
    }

    pub(crate) fn say(&mut self, link: Link, up: Up) {
        self.effects.push(Effect::Up(link, up));
    }

    pub(crate) fn wake(&mut self, at: Instant) {
        self.effects.push(Effect::Wake(at));
    }
}

/// One process.
pub(crate) struct Gateway {
    means: Means,
    share: Share,
    own: OwnBudget,
    held: Option<Held>,
    holding: Option<(Lease, Holding)>,
    watch: Watch<Lease>,
    look_at: Instant,
    /// The question about the lease that is out, and until when.
    asking: Option<(u64, Instant)>,
    /// The shard that a question for leave to identify is about.
    permit: Option<(u64, u16, Instant)>,
}

impl Gateway {
    /// A process that has just started.
    pub(crate) fn new(setting: Setting, share: Share, start: u64, now: Instant, rng: Rng) -> Self {
        let times = setting.times;
        let me = OwnerId::from(format!("gw-{}-{start}", share.place));
        let links = (u64::from(share.place) << 48) | (start << 32);
        let means = Means { setting, me, rng, effects: Vec::new(), asked: 0, links };
        Self {
            means,
            share,
            own: OwnBudget::default(),
            held: None,
            holding: None,
            watch: Watch::new(times),
            look_at: now,
            asking: None,
            permit: None,
        }
    }

    pub(crate) const fn owner(&self) -> &OwnerId {
        &self.means.me
    }

    /// Whether it has the partition and nothing is on its way.
    pub(crate) fn is_settled(&self) -> bool {
        self.held.as_ref().is_some_and(Held::is_settled)
    }

    /// Whether it believes that it has the partition.
    pub(crate) const fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// It takes the partition whatever the lease says: only the log can tell.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Effect> {
        if self.held.is_none() {
            self.held = Some(Held::take(now, &mut self.means));
        }
        self.done(now)
    }

    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Effect> {
        if let Some(held) = &mut self.held {
            held.tick(now, &mut self.means);
        }
        self.done(now)
    }

    pub(crate) fn log_told(&mut self, now: Instant, id: u64, told: LogTold) -> Vec<Effect> {
        if let Some(held) = &mut self.held {
            held.told(now, id, told, &mut self.means);
        }
        self.done(now)
    }

    /// The connection to the log went.
    pub(crate) fn disconnected(&mut self, now: Instant) -> Vec<Effect> {
        if let Some(held) = &mut self.held {
            held.disconnected(now);
        }
        self.done(now)
    }

    pub(crate) fn heard(&mut self, now: Instant, link: Link, down: Down) -> Vec<Effect> {
        if let Some(held) = &mut self.held {
            held.heard(now, link, down, &mut self.means);
        }
        self.done(now)
    }

    /// The state's answer; none, it is away.
    pub(crate) fn state_told(
        &mut self,
        now: Instant,
        wall: UnixMs,
        id: u64,
        told: Option<Told>,
    ) -> Vec<Effect> {
        if let Some((_, shard, _)) = self.permit.take_if(|(asked, ..)| *asked == id) {
            self.permitted(now, wall, shard, told);
        } else if self.asking.take_if(|(asked, _)| *asked == id).is_some()
            && let Some(told) = told
        {
            self.leased(now, told);
        }
        self.done(now)
    }

    fn permitted(&mut self, now: Instant, wall: UnixMs, shard: u16, told: Option<Told>) {
        let permit = match told {
            Some(Told::Permit(permit)) => {
                self.own.together();
                self.own.settling(wall).map_or(permit, Permit::After)
            }
            _ => self.own.ask(self.means.setting.limit, self.share, wall),
        };
        let Some(held) = &mut self.held else { return };
        match permit {
            Permit::Now => held.permitted(shard),
            Permit::After(wait) => held.permit_again(shard, now + wait),
            Permit::RefusedUntil(_) => held.permit_again(shard, now + Duration::from_secs(60)),
        }
    }

    fn leased(&mut self, now: Instant, told: Told) {
        match told {
            Told::Lease(lease) => {
                let ours = lease.as_ref().is_some_and(|lease| lease.owner == self.means.me);
                match self.watch.saw(now, lease) {
                    Watched::Free | Watched::Abandoned if !ours => {
                        let seen = self.watch.seen().cloned();
                        let take = Ask::Take(self.means.me.clone(), seen);
                        self.ask(now, take);
                    }
                    _ => {}
                }
            }
            Told::Taken(Some(lease)) => {
                let holding = Holding::taken(self.means.setting.times, now);
                self.holding = Some((lease, holding));
                if self.held.is_none() {
                    self.held = Some(Held::take(now, &mut self.means));
                }
            }
            Told::Renewed(true) => {
                if let Some((_, holding)) = &mut self.holding {
                    holding.renewed();
                }
            }
            // The owner goes on; the lease is had again as by anybody.
            Told::Renewed(false) => self.holding = None,
            Told::Taken(None) | Told::Released | Told::Permit(_) => {}
        }
    }

    fn ask(&mut self, now: Instant, ask: Ask) {
        let id = self.means.ask_state(ask);
        self.asking = Some((id, now + ANSWER_WITHIN));
    }

    /// What follows from everything that has happened.
    fn done(&mut self, now: Instant) -> Vec<Effect> {
        if let Some(held) = &mut self.held {
            held.drive(now, &mut self.means);
            if held.is_over() {
                self.held = None;
                self.watch = Watch::new(self.means.setting.times);
                self.look_at = now + self.means.setting.times.renew;
                if let Some((lease, _)) = self.holding.take() {
                    self.means.ask_state(Ask::Release(lease));
                }
            }
        }
        self.asking.take_if(|(_, until)| *until <= now);
        self.permit.take_if(|(.., until)| *until <= now);
        if self.asking.is_none() {
            self.lease(now);
        }
        if self.permit.is_none()
            && let Some(shard) = self.held.as_ref().and_then(|held| held.wants_permit(now))
        {
            let id = self.means.ask_state(Ask::Permit);
            self.permit = Some((id, shard, now + ANSWER_WITHIN));
        }
        let times = [self.asking.map(|(_, until)| until), self.permit.map(|(.., until)| until)];
        for at in times.into_iter().flatten() {
            self.means.wake(at);
        }
        std::mem::take(&mut self.means.effects)
    }

    fn lease(&mut self, now: Instant) {
        match &mut self.holding {
            Some((lease, holding)) => {
                if holding.renew_at() <= now {
                    holding.asking(now);
                    let renew = Ask::Renew(lease.clone());
                    self.ask(now, renew);
                } else {
                    let at = holding.renew_at();
                    self.means.wake(at);
                }
            }
            None => {
                if self.look_at <= now {
                    self.look_at = now + LOOK_EVERY;
                    self.ask(now, Ask::Look);
                } else {
                    self.means.wake(self.look_at);
                }
            }
        }
    }
}
