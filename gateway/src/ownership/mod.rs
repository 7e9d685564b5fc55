//! Which partitions this gateway holds: as many as its share of them, each under a lease.
//!
//! Everybody places partitions by the same rule (`qqrelay_proto::spread`) from what gateways say of
//! themselves. Whoever is short of partitions takes what is free or left behind, and asks for what
//! is another's; a holder gives only what it would place there itself, one at a time. The rule a
//! newcomer would break: nothing here makes a partition ours. The lease and all these words only
//! make moves rare and quick; the marker batch in the log decides, and whoever lost by it has to be
//! told by the log.

mod claim;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::replace;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use qqrelay_proto::chain::Why;
use qqrelay_proto::id::OwnerId;
use qqrelay_proto::identify::Share;
use qqrelay_proto::lease::LeaseTimes;
use qqrelay_proto::spread::Holder;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::nats::{Given, NatsBus, Reply, Take, Word};
use qqrelay_runtime::peers::{Heartbeat, LOOK_EVERY, Peers, SAY_EVERY};
use qqrelay_runtime::state::State;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::claim::{Claimed, Claims};
use self::upkeep::Upkeep;
use crate::metrics::{Metrics, Move};
use crate::partition::Ended;
use crate::trouble::InFull;

/// How long one who stops keeps its sockets open for those who stay to ask for them.
const OFFER_FOR: Duration = Duration::from_secs(4);

/// Wait before a partition that another took, or whose task failed, is wanted again.
const AFTER_LOSS: Duration = Duration::from_secs(2);

/// Wait before a partition is wanted again that we were forbidden to write, or that another took
/// although nobody shares it with us.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);

/// An order to a partition's thread: hold it.
#[derive(Debug)]
pub(crate) struct Charge {
    /// Cancelled when it is to be let go of, with everything durable that was read.
    pub(crate) leave: CancellationToken,
    /// Hears how it ended; dropped unheard when its task failed.
    pub(crate) ended: oneshot::Sender<Ended>,
}

/// What a gateway needs to share partitions with others.
pub(crate) struct Shared {
    pub(crate) bus: NatsBus,
    pub(crate) state: Arc<dyn State>,
    pub(crate) owner: OwnerId,
    pub(crate) times: LeaseTimes,
}

/// Gives the partitions of this process their orders.
pub(crate) struct Steward {
    posts: BTreeMap<Partition, mpsc::Sender<Charge>>,
    places: BTreeMap<Partition, Place>,
    metrics: Metrics,
    /// This gateway's share of what all of them may do, for those who have to keep to it.
    share: watch::Sender<Share>,
    cluster: Option<Cluster>,
    claims: JoinSet<(Partition, Option<Claimed>)>,
    /// Partitions that are held, until they are not.
    held: JoinSet<(Partition, Option<Ended>)>,
    /// Leases on their way back, and those who wait for them.
    farewells: JoinSet<()>,
    /// Since when the process stops.
    leaving: Option<Instant>,
}

/// The others.
struct Cluster {
    claims: Arc<Claims>,
    said: watch::Sender<Heartbeat<Partition>>,
}

/// Where a partition is, as far as this process is concerned.
enum Place {
    /// Not here, and not wanted before this.
    Elsewhere(Instant),
    /// Its lease is being had, or was until this was cancelled.
    Claimed(CancellationToken),
    /// Here.
    Ours(Box<Held>),
}

struct Held {
    leave: CancellationToken,
    upkeep: Option<Upkeep>,
    /// Who waits for it to be given.
    asker: Option<Reply>,
}

impl Steward {
    /// A steward of the threads behind `posts`. Alone, it holds everything at once and always.
    pub(crate) fn new(
        posts: BTreeMap<Partition, mpsc::Sender<Charge>>,
        shared: Option<Shared>,
        share: watch::Sender<Share>,
        metrics: Metrics,
    ) -> Self {
        let now = Instant::now();
        let places = posts.keys().map(|partition| (*partition, Place::Elsewhere(now))).collect();
        let cluster = shared.map(|Shared { bus, state, owner, times }| {
            let peers = Mutex::new(Peers::new(owner.clone(), now.into_std()));
            let holder = Holder { held: BTreeSet::new(), leaving: false };
            let said = Heartbeat { process: owner.clone(), holder };
            let (metrics, turn) = (metrics.clone(), Semaphore::new(1));
            let claims = Arc::new(Claims { owner, state, times, bus, peers, metrics, turn });
            Cluster { claims, said: watch::Sender::new(said) }
        });
        Self {
            posts,
            places,
            metrics,
            share,
            cluster,
            claims: JoinSet::new(),
            held: JoinSet::new(),
            farewells: JoinSet::new(),
            leaving: None,
        }
    }

    /// Holds this process's share until `stop`, and then until all of it is given away.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let (words, mut heard) = mpsc::channel(64);
        let mut talk = JoinSet::new();
        if let Some(Cluster { claims, said }) = &self.cluster {
            talk.spawn(listen(claims.bus.clone(), words));
            talk.spawn(speak(claims.bus.clone(), said.subscribe()));
        }
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(word) = heard.recv() => self.hear(word),
                Some(claimed) = self.claims.join_next() => {
                    let (partition, claimed) = claimed.expect("its panics are caught");
                    match claimed {
                        Some(claimed) => self.hold(partition, Some(claimed)),
                        None => {
                            self.places.insert(partition, Place::Elsewhere(Instant::now()));
                        }
                    }
                }
                Some(ended) = self.held.join_next() => {
                    let (partition, ended) = ended.expect("waiting does not panic");
                    self.over(partition, ended.as_ref());
                }
                Some(_) = self.farewells.join_next() => {}
                _ = look.tick() => {}
                () = stop.cancelled(), if self.leaving.is_none() => self.leave(),
            }
            if self.leaving.is_some() {
                self.close_unwanted();
                if self.held.is_empty() && self.farewells.is_empty() && self.claims.is_empty() {
                    return;
                }
            } else {
                self.settle();
            }
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Heartbeat(said) => {
                let Some(Cluster { claims, said: ours }) = &self.cluster else { return };
                if claims.peers(|peers, now| peers.hear(said, now)) {
                    ours.send_modify(|_| {}); // a stranger hears at once what is held here
                }
            }
            Word::Take(partition, take, reply) => self.asked(partition, &take, reply),
        }
    }

    fn asked(&mut self, partition: Partition, take: &Take, reply: Reply) {
        let Some(Cluster { claims, .. }) = &self.cluster else { return };
        if take.from != claims.owner {
            return;
        }
        let is_leaving = self.leaving.is_some();
        let placed = self.placed().unwrap_or_default();
        let is_theirs = is_leaving || placed.get(&partition) == Some(&take.by);
        // One at a time, so that the others are heard meanwhile; who stops has to be quick.
        let others = self.places.values().filter(|place| place.is_given()).count();
        match self.places.get_mut(&partition) {
            Some(Place::Ours(held))
                if is_theirs && held.asker.is_none() && (is_leaving || others == 0) =>
            {
                info!(%partition, to = %take.by, "handing over");
                held.asker = Some(reply);
                held.leave.cancel();
            }
            _ => {
                debug!(%partition, by = %take.by, "not handed over");
                self.metrics.moved(Move::Refused);
                self.farewells.spawn(reply.answer(Given::Refused));
            }
        }
    }

    /// Which gateway shall hold what, as far as this one knows; `None` while it hears too little.
    fn placed(&self) -> Option<BTreeMap<Partition, OwnerId>> {
        let Cluster { claims, said } = self.cluster.as_ref()?;
        let ours = said.borrow().holder.clone();
        let all = self.posts.keys().copied().collect();
        claims.peers(|peers, now| {
            let others = peers.living(now);
            self.metrics.gateways(others.len() + 1);
            let before = others.keys().filter(|other| **other < claims.owner).count();
            self.share.send_if_modified(|share| {
                let now = Share { place: count(before), of: count(others.len() + 1) };
                replace(share, now) != now
            });
            peers.placed(&all, ours, now)
        })
    }

    /// Begins to want what shall be ours, and ends to want what shall not.
    fn settle(&mut self) {
        let Some(Cluster { claims, .. }) = &self.cluster else {
            let due: Vec<_> = self.due().collect();
            for partition in due {
                self.hold(partition, None);
            }
            return;
        };
        let claims = claims.clone();
        if claims.peers(Peers::is_found_deaf) {
            warn!(
                "this gateway does not hear itself on NATS: let its user publish and subscribe \
                 qq.v1.ctl.>; until then partitions are not shared evenly"
            );
        }
        let Some(placed) = self.placed() else { return };
        let ours = |partition: &Partition| placed.get(partition) == Some(&claims.owner);
        for (partition, place) in &self.places {
            if let Place::Claimed(unwanted) = place
                && !ours(partition)
            {
                unwanted.cancel();
            }
        }
        let due: Vec<_> = self.due().filter(ours).collect();
        for partition in due {
            let (claims, unwanted) = (claims.clone(), CancellationToken::new());
            self.places.insert(partition, Place::Claimed(unwanted.clone()));
            self.claims.spawn(async move {
                let claim = AssertUnwindSafe(claims.claim(partition, unwanted)).catch_unwind();
                (partition, claim.await.unwrap_or(None))
            });
        }
    }

    /// What is elsewhere, and has been for long enough.
    fn due(&self) -> impl Iterator<Item = Partition> {
        let now = Instant::now();
        let due = move |place: &Place| matches!(place, Place::Elsewhere(at) if *at <= now);
        self.places.iter().filter(move |(_, place)| due(place)).map(|(partition, _)| *partition)
    }

    fn hold(&mut self, partition: Partition, claimed: Option<Claimed>) {
        let cluster = self.cluster.as_ref().zip(claimed);
        let upkeep = cluster.map(|(Cluster { claims, .. }, claimed)| {
            let Claims { owner, state, times, .. } = &**claims;
            Upkeep::start(state.clone(), partition, owner.clone(), *times, claimed)
        });
        let (ended, hears) = oneshot::channel();
        let leave = CancellationToken::new();
        let charge = Charge { leave: leave.clone(), ended };
        // Its thread takes one at a time and ends with the process.
        let sent = self.posts[&partition].try_send(charge);
        debug_assert!(sent.is_ok(), "the partition's thread has an order already");
        self.held.spawn(hears.map(move |ended| (partition, ended.ok())));
        self.places.insert(partition, Place::Ours(Box::new(Held { leave, upkeep, asker: None })));
        self.say();
    }

    fn over(&mut self, partition: Partition, ended: Option<&Ended>) {
        let wait = match ended {
            Some(Ended::Drained) => Duration::ZERO,
            Some(Ended::StoodDown(Why::Taken(_))) if self.cluster.is_some() => AFTER_LOSS,
            Some(Ended::StoodDown(_)) => AFTER_REFUSAL,
            None => AFTER_LOSS,
        };
        let elsewhere = Place::Elsewhere(Instant::now() + wait);
        let place = self.places.insert(partition, elsewhere);
        self.say();
        let Some(Place::Ours(held)) = place else { return };
        let Held { upkeep, asker, .. } = *held;
        if asker.is_some() {
            self.metrics.moved(Move::Given);
        }
        self.farewells.spawn(async move {
            if let Some(upkeep) = upkeep {
                upkeep.end().await;
            }
            if let Some(asker) = asker {
                asker.answer(Given::Given).await;
            }
        });
    }

    fn leave(&mut self) {
        self.leaving = Some(Instant::now());
        for place in self.places.values() {
            if let Place::Claimed(unwanted) = place {
                unwanted.cancel();
            }
        }
        if let Some(Cluster { said, .. }) = &self.cluster {
            said.send_modify(|said| said.holder.leaving = true);
        }
    }

    /// Lets go of what nobody will ask for.
    fn close_unwanted(&self) {
        let offered = self.leaving.is_some_and(|since| since.elapsed() < OFFER_FOR);
        let somebody = self.cluster.as_ref().is_some_and(|Cluster { claims, .. }| {
            claims.peers(|peers, now| peers.living(now).values().any(|other| !other.leaving))
        });
        if offered && somebody {
            return;
        }
        for place in self.places.values() {
            if let Place::Ours(held) = place {
                held.leave.cancel();
            }
        }
    }

    /// Says what is held, if that is something else than before.
    fn say(&self) {
        let ours = self.places.iter().filter(|(_, place)| matches!(place, Place::Ours(_)));
        let held: BTreeSet<_> = ours.map(|(partition, _)| *partition).collect();
        self.metrics.holds(held.len());
        if let Some(Cluster { said, .. }) = &self.cluster {
            said.send_if_modified(|said| {
                let is_new = said.holder.held != held;
                said.holder.held = held;
                is_new
            });
        }
    }
}

impl Place {
    /// Whether it is being handed over.
    fn is_given(&self) -> bool {
        matches!(self, Self::Ours(held) if held.asker.is_some())
    }
}

/// Says that this gateway lives: now and then, and at once when something is new.
async fn speak(bus: NatsBus, mut said: watch::Receiver<Heartbeat<Partition>>) {
    let mut again = interval(SAY_EVERY);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = again.tick() => {}
            changed = said.changed() => if changed.is_err() { return },
        }
        let now = said.borrow_and_update().clone();
        if let Err(error) = bus.say_gateway(&now).await {
            debug!(%error, "that this gateway lives was not said");
        }
    }
}

/// Hears all gateways, this one too.
async fn listen(bus: NatsBus, words: mpsc::Sender<Word>) {
    loop {
        match bus.hear_gateways().await {
            Ok(mut peers) => {
                while let Some(word) = peers.next().await {
                    if words.send(word).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => warn!(error = %InFull(&error), "other gateways are not heard"),
        }
        sleep(SAY_EVERY).await;
    }
}

fn count(gateways: usize) -> u32 {
    u32::try_from(gateways).unwrap_or(u32::MAX)
}
