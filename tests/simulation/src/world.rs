//! Everything that a schedule is made of, moved from one seed: processes, network, log, state,
//! platform, and what goes wrong.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;
use qqrelay_proto::close::CloseCode;
use qqrelay_proto::id::{AppId, OwnerId, SessionId};
use qqrelay_proto::identify::{Share, StartLimit};
use qqrelay_proto::lease::LeaseTimes;
use qqrelay_proto::record::{Ownership, Stored};
use qqrelay_proto::time::UnixMs;

use crate::checker::{self, Durable, Violation};
use crate::gateway::{Effect, Gateway, LogAsk, LogTold, Setting};
use crate::held::PARTITION;
use crate::mutant::Mutant;
use crate::platform::{Down, Frame, Habits, Link, Platform, Up};
use crate::redis::{Ask, Redis, Told};
use crate::stream::{self, Stream};

/// When faults end, and how long everything may take to come to rest after that: a shard that was
/// parked is tried again after a quarter of an hour.
const FAULTS_UNTIL: u64 = 20_000;
const REST_WITHIN: u64 = 1_100_000;

/// A schedule that takes more steps spins.
const STEPS_MAX: u64 = 300_000;

/// The wall clock at the beginning.
const WALL: u64 = 1_800_000_000_000;

/// How long ago the fence may have been looked at when a RESUME or IDENTIFY goes out; the look's own
/// way there and back is in it.
const FENCE_AGE: u64 = 200;

/// What came of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// How often rare things happened, by their name.
    pub seen: BTreeMap<&'static str, u64>,
    /// Steps that were taken.
    pub steps: u64,
    /// A hash over everything that happened, in order.
    pub trace: u64,
}

/// Something on its way.
#[derive(Debug)]
enum Event {
    ToLog { slot: usize, life: u64, conn: u64, id: u64, ask: LogAsk },
    FromLog { slot: usize, life: u64, conn: u64, id: u64, told: LogTold },
    ToState { slot: usize, life: u64, id: u64, ask: Ask },
    FromState { slot: usize, life: u64, id: u64, told: Option<Told> },
    ToPlatform { link: Link, up: Up },
    FromPlatform { slot: usize, link: Link, down: Down },
    Disconnected { slot: usize, life: u64, conn: u64 },
    Wake { slot: usize, life: u64, at: u64 },
    Start { slot: usize },
    GoOn { slot: usize },
    Happen,
    Fault,
}

/// A place for a process.
struct Slot {
    gateway: Option<Gateway>,
    /// How often it was started.
    life: u64,
    /// Which connection to the log it has.
    conn: u64,
    /// When the last question on it arrives, and the last answer: a connection keeps its order.
    asks_until: u64,
    answers_until: u64,
    /// What it sends to the log is held back until then.
    held_until: u64,
    /// It stands still, and what came meanwhile.
    asleep: Option<VecDeque<Event>>,
    wakes_at: u64,
}

/// What a schedule draws before it begins.
struct Plan {
    latency: u64,
    /// A fault about every so many milliseconds.
    fault_every: u64,
    happen_every: u64,
    faults: Vec<Fault>,
    /// One answer of the log in so many is lost while faults last; 0, none.
    lost: u64,
    again: bool,
}

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Crash,
    Sleep,
    /// What a process sends to the log is held back, and then arrives all the same.
    HoldBack,
    Cut,
    LogPaused,
    StateAway,
    StateForgets,
    Take,
    /// The nemesis of pipelining: the owner's window is held back, another takes over, and then it arrives.
    HoldBackAndTake,
    Reconnect,
    Close,
    EndSession,
}

const FAULTS: [Fault; 12] = [
    Fault::Crash,
    Fault::Sleep,
    Fault::HoldBack,
    Fault::Cut,
    Fault::LogPaused,
    Fault::StateAway,
    Fault::StateForgets,
    Fault::Take,
    Fault::HoldBackAndTake,
    Fault::Reconnect,
    Fault::Close,
    Fault::EndSession,
];

const CODES: [u16; 7] = [4009, 4902, 4006, 4007, 4000, 4900, 4008];

/// A schedule that runs.
struct World {
    now: u64,
    base: Instant,
    rng: Rng,
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
    setting: Setting,
    plan: Plan,
    slots: Vec<Slot>,
    links: BTreeMap<Link, (usize, u64, u64)>,
    log: Stream,
    state: Redis,
    platform: Platform,
    log_paused_until: u64,
    state_away_until: u64,
    durable: Durable,
    /// Whose markers were written, and when.
    markers: Vec<(u64, OwnerId)>,
    checkpoints: BTreeMap<u16, (SessionId, u64)>,
    violations: Vec<Violation>,
    seen: BTreeMap<&'static str, u64>,
    steps: u64,
    trace: u64,
}

/// Runs the schedule of a seed.
#[must_use]
pub fn run(seed: u64, mutant: Option<Mutant>) -> Outcome {
    World::new(seed, mutant).run(|_, _| {})
}

/// The same, telling each step and when it was, in milliseconds.
pub fn run_told(seed: u64, mutant: Option<Mutant>, tell: impl FnMut(u64, String)) -> Outcome {
    let mut tell = tell;
    World::new(seed, mutant).run(|at, event| tell(at, format!("{event:?}")))
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (shards, gateways) = (rng.u16(1..=3), rng.usize(2..=3));
        let max_concurrency = rng.u32(1..=3);
        let limit = StartLimit {
            total: 1_000,
            remaining: 1_000,
            reset_after: Duration::from_secs(24 * 3600),
            max_concurrency,
        };
        let times = LeaseTimes {
            renew: Duration::from_millis(500),
            act: Duration::from_millis(1_200),
            observe: Duration::from_millis(2_000),
        };
        let (app, window) = (AppId::from("102"), rng.usize(1..=4));
        let setting = Setting { app, shards, window, times, limit, mutant };
        let mut faults = FAULTS.to_vec();
        rng.shuffle(&mut faults);
        faults.truncate(rng.usize(1..=FAULTS.len()));
        let plan = Plan {
            latency: *rng.choice(&[1, 5, 30]).expect("there are some"),
            fault_every: rng.u64(300..3_000),
            happen_every: rng.u64(20..200),
            faults,
            lost: *rng.choice(&[0, 0, 5, 50]).expect("there are some"),
            again: rng.bool(),
        };
        let habits = Habits { replay: rng.usize(5..200), max_concurrency };
        let slot = |_| Slot {
            gateway: None,
            life: 0,
            conn: 0,
            asks_until: 0,
            answers_until: 0,
            held_until: 0,
            asleep: None,
            wakes_at: u64::MAX,
        };
        let mut world = Self {
            now: 0,
            base: start(),
            rng,
            queue: BTreeMap::new(),
            order: 0,
            setting,
            plan,
            slots: (0..gateways).map(slot).collect(),
            links: BTreeMap::new(),
            log: Stream::default(),
            state: Redis::default(),
            platform: Platform::new(habits),
            log_paused_until: 0,
            state_away_until: 0,
            durable: Durable::default(),
            markers: Vec::new(),
            checkpoints: BTreeMap::new(),
            violations: Vec::new(),
            seen: BTreeMap::new(),
            steps: 0,
            trace: seed,
        };
        for slot in 0..gateways {
            let at = world.rng.u64(0..500);
            world.push(at, Event::Start { slot });
        }
        world.push(100, Event::Happen);
        world.push(1_000, Event::Fault);
        world
    }

    fn run(mut self, mut tell: impl FnMut(u64, &Event)) -> Outcome {
        while let Some(((at, order), event)) = self.queue.pop_first() {
            self.now = at;
            tell(at, &event);
            self.steps += 1;
            self.trace = self.trace.rotate_left(5) ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ order;
            self.take(event);
            if !self.violations.is_empty() {
                break;
            }
            if at > FAULTS_UNTIL + 3_000 && self.steps.is_multiple_of(16) && self.is_at_rest() {
                break;
            }
            if at > FAULTS_UNTIL + REST_WITHIN || self.steps > STEPS_MAX {
                let what = format!("not at rest after {at} ms and {} steps", self.steps);
                self.violations.push(Violation("I7", what));
                break;
            }
        }
        if self.violations.is_empty() {
            let log = self.log.all();
            self.violations = checker::judge(&self.platform, log, self.setting.fillers());
        }
        if self.violations.is_empty() {
            self.violations.extend(self.too_many_identifies());
        }
        let Self { violations, seen, steps, trace, .. } = self;
        Outcome { violations, seen, steps, trace }
    }

    fn is_at_rest(&self) -> bool {
        let owners = self.slots.iter().filter_map(|slot| slot.gateway.as_ref());
        self.platform.is_whole(self.setting.shards)
            && owners.filter(|gateway| gateway.holds()).all(Gateway::is_settled)
            && self.slots.iter().any(|slot| slot.gateway.as_ref().is_some_and(Gateway::holds))
            && !self.queue.values().any(|event| {
                matches!(
                    event,
                    Event::ToLog { .. } | Event::ToPlatform { .. } | Event::FromPlatform { .. }
                )
            })
    }

    /// I8: in no five seconds more than the platform allows; two that were let go 5 s apart may come
    /// a little closer. What stands still between leave and IDENTIFY, and a state that forgets what it
    /// gave out, may have one refused.
    fn too_many_identifies(&self) -> Option<Violation> {
        let forgives = |fault: &Fault| {
            matches!(fault, Fault::StateAway | Fault::StateForgets | Fault::Sleep | Fault::HoldBack)
                || matches!(fault, Fault::HoldBackAndTake | Fault::LogPaused)
        };
        if self.plan.faults.iter().any(forgives) {
            return None;
        }
        let at = &self.platform.identifies;
        let most = self.setting.limit.max_concurrency as usize;
        let is_over = at.windows(most + 1).any(|some| some[most] - some[0] < 4_500);
        is_over.then(|| Violation("I8", format!("IDENTIFYs at {at:?}, {most} in 5 s")))
    }

    fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.insert((at.max(self.now), self.order), event);
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn latency(&mut self) -> u64 {
        1 + self.rng.u64(0..=self.plan.latency)
    }

    fn take(&mut self, event: Event) {
        let slot = match &event {
            Event::FromLog { slot, .. }
            | Event::FromState { slot, .. }
            | Event::FromPlatform { slot, .. }
            | Event::Disconnected { slot, .. }
            | Event::Wake { slot, .. } => Some(*slot),
            _ => None,
        };
        if let Some(asleep) = slot.and_then(|slot| self.slots[slot].asleep.as_mut()) {
            asleep.push_back(event);
            return;
        }
        match event {
            Event::Start { slot } => self.start(slot),
            Event::GoOn { slot } => {
                for event in self.slots[slot].asleep.take().unwrap_or_default() {
                    self.push(self.now, event);
                }
            }
            Event::Happen => self.happen(),
            Event::Fault => self.fault(),
            Event::ToLog { slot, life, conn, id, ask } => self.arrives(slot, life, conn, id, ask),
            Event::FromLog { slot, life, conn, id, told } => {
                if self.slots[slot].conn == conn {
                    self.with(slot, life, |gateway, now| gateway.log_told(now, id, told));
                }
            }
            Event::Disconnected { slot, life, conn } => {
                if self.slots[slot].conn == conn {
                    self.with(slot, life, Gateway::disconnected);
                }
            }
            Event::ToState { slot, life, id, ask } => {
                let told = (self.state_away_until <= self.now).then(|| {
                    let wall = UnixMs(WALL + self.now);
                    self.state.answer(ask, self.setting.limit, wall)
                });
                let at = self.now + self.latency();
                self.push(at, Event::FromState { slot, life, id, told });
            }
            Event::FromState { slot, life, id, told } => {
                let wall = UnixMs(WALL + self.now);
                self.with(slot, life, |gateway, now| gateway.state_told(now, wall, id, told));
            }
            Event::ToPlatform { link, up } => {
                for (link, down) in self.platform.take(self.now, link, up) {
                    self.say(link, down);
                }
            }
            Event::FromPlatform { slot, link, down } => {
                if self.setting.is(Mutant::CheckpointOnRead) {
                    self.checkpoint(link, &down);
                }
                let life = self.slots[slot].life;
                self.with(slot, life, |gateway, now| gateway.heard(now, link, down));
            }
            Event::Wake { slot, life, at } => {
                // One that was overtaken by an earlier one says nothing.
                if (self.slots[slot].life, self.slots[slot].wakes_at) == (life, at) {
                    self.slots[slot].wakes_at = u64::MAX;
                    self.with(slot, life, Gateway::tick);
                }
            }
        }
    }

    /// Lets a process do something, and carries out what it wants.
    fn with(
        &mut self,
        slot: usize,
        life: u64,
        act: impl FnOnce(&mut Gateway, Instant) -> Vec<Effect>,
    ) {
        let now = self.instant();
        if self.slots[slot].life != life {
            return;
        }
        let Some(gateway) = &mut self.slots[slot].gateway else { return };
        let effects = act(gateway, now);
        for effect in effects {
            self.carry_out(slot, effect);
        }
    }

    fn carry_out(&mut self, slot: usize, effect: Effect) {
        let life = self.slots[slot].life;
        match effect {
            Effect::Log(id, ask) => {
                let at = self.now + self.latency();
                let place = &mut self.slots[slot];
                let at = at.max(place.asks_until).max(place.held_until);
                place.asks_until = at;
                let conn = place.conn;
                self.push(at, Event::ToLog { slot, life, conn, id, ask });
            }
            Effect::State(id, ask) => {
                let at = self.now + self.latency();
                self.push(at, Event::ToState { slot, life, id, ask });
            }
            Effect::Up(link, up) => self.up(slot, link, up),
            Effect::Wake(at) => {
                let at = at.saturating_duration_since(self.base).as_nanos().div_ceil(1_000_000);
                let at = u64::try_from(at).unwrap_or(u64::MAX);
                if at < self.slots[slot].wakes_at {
                    self.slots[slot].wakes_at = at;
                    self.push(at, Event::Wake { slot, life, at });
                }
            }
        }
    }

    /// A word leaves for the platform; what it says must be so at this moment.
    fn up(&mut self, slot: usize, link: Link, up: Up) {
        let violation = match &up {
            Up::Resume(session, seq) => {
                self.see("resume");
                self.durable.allows("RESUME", session, *seq)
            }
            Up::Heartbeat(Some(seq)) => {
                let session = self.platform.session_of(link);
                session.and_then(|session| self.durable.allows("heartbeat", &session, *seq))
            }
            _ => None,
        };
        self.violations.extend(violation);
        if matches!(up, Up::Resume(..) | Up::Identify(_)) {
            let fence = self.unfenced(slot);
            self.violations.extend(fence);
        }
        let latency = self.latency();
        let way = self.links.entry(link).or_insert((slot, 0, 0));
        way.1 = way.1.max(self.now + latency);
        let at = way.1;
        self.push(at, Event::ToPlatform { link, up });
    }

    /// P6: the partition was this process's at most 200 ms ago.
    fn unfenced(&self, slot: usize) -> Option<Violation> {
        let me = self.slots[slot].gateway.as_ref()?.owner();
        let until = |place: usize| self.markers.get(place + 1).map_or(u64::MAX, |(at, _)| *at);
        let since = self.now.saturating_sub(FENCE_AGE);
        let was_ours = self
            .markers
            .iter()
            .enumerate()
            .any(|(place, (_, by))| by == me && until(place) >= since);
        (!was_ours)
            .then(|| Violation("P6", format!("{me} speaks long after it lost the partition")))
    }

    fn say(&mut self, link: Link, down: Down) {
        let latency = self.latency();
        let Some(way) = self.links.get_mut(&link) else { return };
        way.2 = way.2.max(self.now + latency);
        let (slot, _, at) = *way;
        self.push(at, Event::FromPlatform { slot, link, down });
    }

    /// A question arrives at the log.
    fn arrives(&mut self, slot: usize, life: u64, conn: u64, id: u64, ask: LogAsk) {
        if self.log_paused_until > self.now {
            let at = self.log_paused_until;
            return self.push(at, Event::ToLog { slot, life, conn, id, ask });
        }
        let before = self.log.last();
        let told = self.execute(ask);
        let written: Vec<Stored> = self.log.range(before + 1, u64::MAX).to_vec();
        for stored in &written {
            self.durable.take(stored);
            if let Ok(Ownership { owner, filler: None, .. }) =
                serde_json::from_slice(&stored.record.payload)
            {
                self.markers.push((self.now, owner));
            }
            match stored.record.subject.rsplit('.').next() {
                Some("gap") => self.see("gap"),
                Some("dup") => self.see("dup"),
                _ => {}
            }
        }
        if self.slots[slot].life != life || self.slots[slot].conn != conn {
            match told {
                LogTold::Mismatch(_) => self.see("late and refused"),
                _ if !written.is_empty() => self.see("late and taken"),
                _ => {}
            }
            return;
        }
        let loses = self.plan.lost > 0 && self.now < FAULTS_UNTIL;
        if loses && self.rng.u64(0..self.plan.lost) == 0 {
            return self.see("answer lost");
        }
        let at = self.now + self.latency();
        let place = &mut self.slots[slot];
        place.answers_until = place.answers_until.max(at);
        let at = place.answers_until;
        self.push(at, Event::FromLog { slot, life, conn, id, told });
    }

    fn execute(&mut self, ask: LogAsk) -> LogTold {
        let at = WALL + self.now;
        match ask {
            LogAsk::Publish(number, record) => {
                let headers = &record.headers;
                let taken = if self.setting.is(Mutant::MessageId) {
                    let id = format!("{:?}:{:?}", headers.session, headers.seq);
                    self.log.publish_once(id, number, record, at)
                } else {
                    self.log.publish(number, record, at)
                };
                match taken {
                    Ok(_) => LogTold::Stored(number),
                    Err(_) => LogTold::Mismatch(number),
                }
            }
            LogAsk::Mark(records) => LogTold::Marked(self.log.mark(records, at)),
            LogAsk::Newest(of) => {
                let newest = self.log.newest(&of).cloned();
                LogTold::Newest(self.checkpointed(&of, newest))
            }
            LogAsk::Range(from, to) => LogTold::Range(self.log.range(from, to).to_vec()),
        }
    }

    /// The mutant's checkpoint in the place of the log's tail.
    fn checkpointed(&self, of: &str, newest: Option<Stored>) -> Option<Stored> {
        if !self.setting.is(Mutant::CheckpointOnRead) || of == PARTITION.ownership() {
            return newest;
        }
        let index = of.rsplit('-').next().and_then(|index| index.parse().ok());
        let Some((session, seq)) = index.and_then(|index: u16| self.checkpoints.get(&index)) else {
            return newest;
        };
        newest.map(|mut stored| {
            stored.record.subject = format!("{}.ses", stream::source(&stored.record.subject));
            stored.record.headers.session = Some(session.clone());
            stored.record.headers.seq = Some(*seq);
            stored
        })
    }

    fn checkpoint(&mut self, link: Link, down: &Down) {
        let Down::Dispatch(seq, frame) = down else { return };
        let session = match frame {
            Frame::Ready(session) => Some(session.clone()),
            _ => self.platform.session_of(link),
        };
        if let Some(session) = session {
            let shard = self.platform.sessions[&session].shard;
            self.checkpoints.insert(shard, (session, *seq));
        }
    }

    fn start(&mut self, slot: usize) {
        let (now, of) = (self.instant(), self.slots.len());
        let rng = self.rng.fork();
        let share =
            Share { place: u32::try_from(slot).unwrap_or(0), of: u32::try_from(of).unwrap_or(1) };
        let place = &mut self.slots[slot];
        if place.gateway.is_some() {
            return;
        }
        place.life += 1;
        place.conn += 1;
        (place.asks_until, place.answers_until, place.held_until) = (self.now, self.now, 0);
        place.wakes_at = u64::MAX;
        let life = place.life;
        place.gateway = Some(Gateway::new(self.setting.clone(), share, life, now, rng));
        self.with(slot, life, Gateway::tick);
    }

    fn happen(&mut self) {
        if self.now > FAULTS_UNTIL + 1_000 {
            return;
        }
        let shard = self.rng.u16(0..self.setting.shards);
        let again = (self.plan.again && self.rng.u8(0..10) == 0).then(|| self.rng.usize(0..8));
        if let Some((link, down)) = self.platform.happen(shard, again) {
            self.say(link, down);
        }
        let at = self.now + self.rng.u64(0..2 * self.plan.happen_every);
        self.push(at, Event::Happen);
    }

    fn fault(&mut self) {
        if self.now > FAULTS_UNTIL {
            return;
        }
        let fault = *self.rng.choice(&self.plan.faults).expect("there is one");
        let slot = self.rng.usize(0..self.slots.len());
        let shard = self.rng.u16(0..self.setting.shards);
        let lasts = self.rng.u64(50..5_000).min(FAULTS_UNTIL.saturating_sub(self.now) + 50);
        match fault {
            Fault::Crash => self.crash(slot, lasts),
            Fault::Sleep => self.sleep(slot, lasts),
            Fault::HoldBack => self.hold_back(slot, lasts),
            Fault::Cut => self.cut(slot),
            Fault::LogPaused => {
                self.see("log paused");
                self.log_paused_until = self.now + lasts.min(3_000);
            }
            Fault::StateAway => self.state_away_until = self.now + lasts,
            Fault::StateForgets => self.state.flush(),
            Fault::Take => self.steal(slot),
            Fault::HoldBackAndTake => {
                let owner = self.slots.iter().position(|slot| {
                    slot.asleep.is_none() && slot.gateway.as_ref().is_some_and(Gateway::holds)
                });
                if let Some(owner) = owner {
                    self.hold_back(owner, lasts.min(2_500));
                    self.steal((owner + 1) % self.slots.len());
                }
            }
            Fault::Reconnect => {
                let out = self.platform.link_of(shard).map(|link| (link, Down::Reconnect));
                self.out(out);
            }
            Fault::Close => {
                let code = *self.rng.choice(&CODES).expect("there are some");
                let code = self.rng.bool().then_some(CloseCode(code));
                let link = self.platform.link_of(shard);
                let out = link.and_then(|link| self.platform.close(link, code));
                self.out(out);
            }
            Fault::EndSession => {
                self.see("session ended");
                let out = self.platform.end_session(shard);
                self.out(out);
            }
        }
        let at = self.now + self.rng.u64(0..2 * self.plan.fault_every);
        self.push(at, Event::Fault);
    }

    fn out(&mut self, out: Option<(Link, Down)>) {
        if let Some((link, down)) = out {
            self.say(link, down);
        }
    }

    fn crash(&mut self, slot: usize, lasts: u64) {
        if self.slots[slot].gateway.take().is_none() {
            return;
        }
        self.see("crash");
        self.slots[slot].asleep = None;
        self.slots[slot].conn += 1;
        let links: Vec<_> =
            self.links.iter().filter(|(_, way)| way.0 == slot).map(|(link, _)| *link).collect();
        for link in links {
            let at = self.now + self.latency();
            self.push(at, Event::ToPlatform { link, up: Up::Close });
        }
        let at = self.now + lasts;
        self.push(at, Event::Start { slot });
    }

    fn sleep(&mut self, slot: usize, lasts: u64) {
        let place = &mut self.slots[slot];
        if place.gateway.is_some() && place.asleep.is_none() {
            place.asleep = Some(VecDeque::new());
            self.see("asleep");
            let at = self.now + lasts;
            self.push(at, Event::GoOn { slot });
        }
    }

    fn hold_back(&mut self, slot: usize, lasts: u64) {
        self.see("held back");
        self.slots[slot].held_until = self.now + lasts;
        // What is on its way already is caught as well.
        let caught: Vec<_> = self
            .queue
            .iter()
            .filter(|(_, event)| matches!(event, Event::ToLog { slot: of, .. } if *of == slot))
            .map(|(key, _)| *key)
            .collect();
        for key in caught {
            if let Some(event) = self.queue.remove(&key) {
                let at = self.now + lasts;
                self.push(at, event);
            }
        }
        self.slots[slot].asks_until = self.now + lasts;
    }

    fn cut(&mut self, slot: usize) {
        if self.slots[slot].gateway.is_none() {
            return;
        }
        self.see("cut");
        let place = &mut self.slots[slot];
        place.conn += 1;
        // What is held back arrives over the old connection; the new one is free.
        (place.asks_until, place.held_until) = (self.now, 0);
        let (life, conn) = (place.life, place.conn);
        let at = self.now + self.latency();
        self.push(at, Event::Disconnected { slot, life, conn });
    }

    fn steal(&mut self, slot: usize) {
        if self.slots[slot].asleep.is_none() {
            self.see("stolen");
            let life = self.slots[slot].life;
            self.with(slot, life, Gateway::take);
        }
    }
}

/// An `Instant` has no literal to start from; only differences count.
fn start() -> Instant {
    Instant::now()
}
