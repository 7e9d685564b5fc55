//! One lane: its lease, its feed, its scopes, and the acknowledgements, in that order.
//!
//! One task owns the lane's [`Scopes`] and does what they say; each piece in hand is a task of its
//! own, and one more piece at a time each is settled and dead-lettered. The rule a newcomer would
//! break: whether a delivery was finished before is asked in the same turn in which it enters the
//! scopes. With anything in between, the second record of an event could slip past the first.

mod settle;

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use qqrelay_proto::id::OwnerId;
use qqrelay_proto::lease::LeaseTimes;
use qqrelay_proto::subject::{Lane as Number, ScopeSubject};
use qqrelay_runtime::bus::{Bus, BusError, Delivery, Feed, Position};
use qqrelay_runtime::state::{LeaseKey, State};
use qqrelay_runtime::tenure::{self, Tenure};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::settle::{Settled, Settler};
use crate::dead_letter::Reason;
use crate::duty::{Duty, Leave};
use crate::metrics::Metrics;
use crate::scopes::{Bounds, Cause, Output, Piece, Scopes};
use crate::share::Share;
use crate::work::{Assignment, Workshop};

/// Deliveries that are taken in at one turn, and asked about at once.
const BATCH: usize = 256;

/// Bytes of deliveries after which a turn takes no more in.
const BATCH_BYTES: usize = 4 << 20;

/// How often a lane's figures are shown.
const SHOW: Duration = Duration::from_secs(1);

/// How long giving a lease away may take; without it the next holder waits for 6 s.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);

/// How long a lane that is given to another worker may drain: nobody works on it meanwhile.
const GIVE_WITHIN: Duration = Duration::from_secs(5);

/// How long to wait before a feed that broke is opened anew.
const REOPEN: Duration = Duration::from_secs(1);

/// Interactions that are answered outside of their scope's turn, at once.
const GREETINGS: usize = 64;

/// What all lanes of a worker share.
pub struct Lanes {
    /// Where work comes from.
    pub bus: Arc<dyn Bus>,
    /// Where leases and done marks are.
    pub state: Arc<dyn State>,
    /// Where work is done.
    pub shop: Arc<Workshop>,
    /// What is counted.
    pub metrics: Metrics,
    /// This process.
    pub owner: OwnerId,
    /// How much of a lane may be in memory.
    pub bounds: Bounds,
    /// The times of a lease.
    pub times: LeaseTimes,
    /// How long a lane may drain.
    pub grace: Duration,
    /// Which lanes shall be this worker's.
    pub share: Arc<Share>,
}

/// Why a lane's work came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Another has the lane.
    Lost,
    /// The process stops; this many pieces were given back undone.
    Drained(usize),
}

impl Lanes {
    /// Holds a lane, whenever it shall be ours and can be had, until `stop`. Gives the pieces that were
    /// in hand and given back.
    pub async fn hold(&self, lane: Number, stop: &CancellationToken) -> usize {
        let key = LeaseKey::Lane(lane);
        loop {
            let taking = async {
                self.share.wanted(lane).await;
                tokio::select! {
                    taken = tenure::take(&*self.state, key, &self.owner, self.times) => Some(taken),
                    () = self.share.unwanted(lane) => None,
                }
            };
            let Some(taken) = stop.run_until_cancelled(taking).await else { return 0 };
            let Some((lease, asked)) = taken else { continue };
            let (tenure, held) = (Tenure::taken(self.times, asked), self.share.hold(lane));
            tracing::debug!(%lane, incarnation = lease.incarnation, "lane taken");
            let end = tokio::select! {
                () = tenure.keep(&*self.state, key, &lease) => End::Lost,
                end = self.work_while_wanted(lane, &tenure, stop) => end,
            };
            tenure.end();
            let release = self.state.release_lease(key, &lease);
            let _ = timeout(RELEASE_WITHIN, release).await; // who is not told waits
            drop(held);
            match end {
                End::Drained(left) if stop.is_cancelled() => return left,
                End::Drained(left) => tracing::info!(%lane, left, "lane given to another worker"),
                End::Lost => tracing::warn!(%lane, "lane lost to another worker"),
            }
        }
    }

    async fn work_while_wanted(
        &self,
        lane: Number,
        tenure: &Tenure,
        stop: &CancellationToken,
    ) -> End {
        let leave = stop.child_token();
        let giving = async {
            self.share.unwanted(lane).await;
            leave.cancel();
            pending().await
        };
        tokio::select! {
            end = self.work(lane, tenure, stop, &leave) => end,
            () = giving => unreachable!("it never ends"),
        }
    }

    /// Works until `leave`, which `stop` implies.
    async fn work(
        &self,
        lane: Number,
        tenure: &Tenure,
        stop: &CancellationToken,
        leave: &CancellationToken,
    ) -> End {
        let (grace, ends) = watch::channel(None);
        let duty = Duty::new(tenure.clone(), ends, CancellationToken::new());
        let mut desk = Desk::new(self, lane, duty);
        loop {
            let opened = leave.run_until_cancelled(self.bus.lane(lane)).await;
            let (mut feed, broke) = match opened {
                None => (None, Break::Stop),
                Some(Ok(mut feed)) => {
                    let broke = desk.serve(&mut *feed, leave).await;
                    (Some(feed), broke)
                }
                Some(Err(error)) => (None, Break::of(&error)),
            };
            match broke {
                Break::Stop => {
                    let giving = if stop.is_cancelled() { self.grace } else { GIVE_WITHIN };
                    let giving = giving.min(self.grace);
                    grace.send_replace(Some(Instant::now() + giving));
                    return End::Drained(desk.drain(feed.as_deref_mut(), giving).await);
                }
                Break::Taken => return End::Lost,
                Break::Broken => {
                    tracing::warn!(%lane, "feed broke and is opened anew");
                    desk.scopes.reopened();
                    leave.run_until_cancelled(sleep(REOPEN)).await;
                }
            }
        }
    }
}

/// Why a feed is no longer read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    /// The process stops.
    Stop,
    /// Another has the lane.
    Taken,
    /// The bus went away.
    Broken,
}

impl Break {
    fn of(error: &BusError) -> Self {
        match error {
            BusError::Taken => Self::Taken,
            BusError::Refused(_)
            | BusError::Full(_)
            | BusError::Behind { .. }
            | BusError::Unavailable(_) => {
                tracing::warn!(error = error as &dyn Error, "lane cannot be read");
                Self::Broken
            }
        }
    }
}

/// How a task of the lane's ended.
enum Ended {
    /// A piece in hand.
    Piece(Position, Result<(), Leave>),
    /// A letter.
    Letter(Position, Result<(), Leave>),
    /// An interaction was answered, or not.
    Greeting,
}

/// A lane's work in one place.
struct Desk<'a> {
    lanes: &'a Lanes,
    lane: Number,
    duty: Duty,
    scopes: Scopes<ScopeSubject, Arc<Assignment>>,
    tasks: JoinSet<Ended>,
    /// How to stop each piece in hand.
    stops: HashMap<Position, CancellationToken>,
    /// What is on its way to the dead letters, in order; the first is being written.
    letters: VecDeque<(Arc<Assignment>, Reason)>,
    settler: Settler,
    acks: Vec<Position>,
    greetings: usize,
    given_back: usize,
}

impl<'a> Desk<'a> {
    fn new(lanes: &'a Lanes, lane: Number, duty: Duty) -> Self {
        Self {
            lanes,
            lane,
            duty,
            scopes: Scopes::new(lanes.bounds),
            tasks: JoinSet::new(),
            stops: HashMap::new(),
            letters: VecDeque::new(),
            settler: Settler::new(Arc::clone(&lanes.state), lane, lanes.shop.settings.memory),
            acks: Vec::new(),
            greetings: 0,
            given_back: 0,
        }
    }

    /// Works on what a feed gives until it ends.
    async fn serve(&mut self, feed: &mut dyn Feed, stop: &CancellationToken) -> Break {
        let mut show = interval(SHOW);
        loop {
            self.obey();
            self.acknowledge(Some(&mut *feed));
            let wants_more = self.scopes.wants_more();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Break::Stop,
                _ = show.tick() => self.show(),
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                settled = self.settler.next() => self.settled(settled),
                delivery = feed.next(), if wants_more => {
                    let (deliveries, error) = gather(feed, delivery);
                    let was_idle = self.scopes.is_idle();
                    self.take_in(deliveries).await;
                    if was_idle {
                        self.show(); // work that has come is not seen a second later only
                    }
                    if let Some(error) = error {
                        return Break::of(&error);
                    }
                }
            }
        }
    }

    /// Finishes what is in hand within the grace; gives how many pieces were given back.
    async fn drain(
        &mut self,
        mut feed: Option<&mut (dyn Feed + 'static)>,
        grace: Duration,
    ) -> usize {
        self.scopes.drain();
        let drained = timeout(grace, async {
            loop {
                self.obey();
                self.acknowledge(feed.as_deref_mut());
                if self.scopes.is_idle() {
                    return;
                }
                tokio::select! {
                    Some(ended) = self.tasks.join_next() => self.ended(ended),
                    settled = self.settler.next() => self.settled(settled),
                }
            }
        });
        let _ = drained.await; // what is left over says so itself
        self.given_back + self.scopes.in_hand()
    }

    fn acknowledge(&mut self, feed: Option<&mut (dyn Feed + '_)>) {
        let Some(feed) = feed else { return self.acks.clear() };
        for position in self.acks.drain(..) {
            feed.ack(position);
        }
    }

    /// Enters deliveries into the scopes, those apart that were finished before.
    async fn take_in(&mut self, deliveries: Vec<Delivery>) {
        let mut batch = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let (position, delivered) = (delivery.position, delivery.delivered);
            match Assignment::read(delivery) {
                Some(assignment) => batch.push((Arc::new(assignment), delivered)),
                None => {
                    tracing::error!(lane = %self.lane, ?position, "record on no subject of ours");
                    self.scopes.arrive_finished(position);
                }
            }
        }
        let asked: Vec<_> = batch
            .iter()
            .map(|(assignment, delivered)| {
                let new = self.scopes.is_new(assignment.position, *delivered);
                assignment.identity().filter(|_| new)
            })
            .collect();
        let finished = self.settler.recall(&asked).await;
        for ((assignment, delivered), finished) in batch.into_iter().zip(finished) {
            if finished {
                self.scopes.arrive_finished(assignment.position);
                continue;
            }
            if assignment.is_urgent() && self.scopes.is_new(assignment.position, delivered) {
                self.greet(&assignment);
            }
            self.scopes.arrive(piece(assignment), delivered);
        }
    }

    fn obey(&mut self) {
        while let Some(output) = self.scopes.poll() {
            match output {
                Output::Start(piece) => self.start(piece.work),
                Output::Stop(position) => {
                    if let Some(stop) = self.stops.get(&position) {
                        stop.cancel();
                    }
                }
                Output::DeadLetter(piece, cause) => {
                    self.letters.push_back((piece.work, reason(cause)));
                    if self.letters.len() == 1 {
                        self.write_letter();
                    }
                }
                Output::Settle(position, Some(identity)) => self.settler.mark(position, identity),
                Output::Settle(position, None) => self.scopes.settled(position),
                Output::Ack(position) => self.acks.push(position),
            }
        }
    }

    fn start(&mut self, assignment: Arc<Assignment>) {
        let (shop, stop) = (Arc::clone(&self.lanes.shop), CancellationToken::new());
        self.stops.insert(assignment.position, stop.clone());
        let duty = self.duty.of_piece(stop);
        self.tasks.spawn(async move {
            Ended::Piece(assignment.position, shop.run(&assignment, &duty).await)
        });
    }

    /// Answers what cannot wait; where too much of it comes at once, it waits for its turn.
    fn greet(&mut self, assignment: &Arc<Assignment>) {
        if self.greetings == GREETINGS {
            return;
        }
        self.greetings += 1;
        let (shop, duty) = (Arc::clone(&self.lanes.shop), self.duty.clone());
        let assignment = Arc::clone(assignment);
        self.tasks.spawn(async move {
            shop.greet(&assignment, &duty).await;
            Ended::Greeting
        });
    }

    fn write_letter(&mut self) {
        let Some((assignment, reason)) = self.letters.front().cloned() else { return };
        let (shop, duty) = (Arc::clone(&self.lanes.shop), self.duty.clone());
        self.tasks.spawn(async move {
            let given_up = shop.give_up(&assignment, reason, &duty).await;
            Ended::Letter(assignment.position, given_up)
        });
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        let ended = match ended {
            Ok(ended) => ended,
            // A piece's own panics are caught where it runs: this one is a fault of the lane's.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let (position, done) = match ended {
            Ended::Piece(position, done) => {
                self.stops.remove(&position);
                (position, done)
            }
            Ended::Letter(position, done) => {
                self.letters.pop_front();
                self.write_letter();
                (position, done)
            }
            Ended::Greeting => {
                self.greetings -= 1;
                return;
            }
        };
        match done {
            Ok(()) => self.scopes.finished(position),
            Err(Leave::Draining) => {
                self.scopes.abandoned(position);
                self.given_back += 1;
            }
            // The lane is about to end, and everything with it.
            Err(Leave::Lost | Leave::Stuck) => {}
        }
    }

    fn settled(&mut self, settled: Settled) {
        match settled {
            Settled::Marked(pieces) => {
                for (position, _) in pieces {
                    self.scopes.settled(position);
                }
            }
            Settled::Unmarked(pieces) => {
                for (position, identity) in pieces {
                    if self.scopes.unmarked(position) {
                        self.settler.mark_later(position, identity);
                    }
                }
            }
        }
    }

    fn show(&self) {
        let (scopes, metrics) = (&self.scopes, &self.lanes.metrics);
        metrics.lane(self.lane, scopes.waiting(), scopes.in_hand());
        for (stream, unacknowledged) in scopes.unacknowledged() {
            metrics.consumer(self.lane, stream, unacknowledged);
        }
    }
}

/// What is shown of a lane ends with it: what is left is another's to show.
impl Drop for Desk<'_> {
    fn drop(&mut self) {
        let metrics = &self.lanes.metrics;
        metrics.lane(self.lane, 0, 0);
        for (stream, _) in self.scopes.unacknowledged() {
            metrics.consumer(self.lane, stream, 0);
        }
    }
}

/// A delivery, and what else the feed has ready.
fn gather(
    feed: &mut dyn Feed,
    first: Result<Delivery, BusError>,
) -> (Vec<Delivery>, Option<BusError>) {
    let (mut deliveries, mut bytes, mut next) = (Vec::new(), 0, Some(first));
    while let Some(delivery) = next {
        match delivery {
            Ok(delivery) => {
                bytes += delivery.stored.record.size();
                deliveries.push(delivery);
            }
            Err(error) => return (deliveries, Some(error)),
        }
        let full = deliveries.len() == BATCH || bytes >= BATCH_BYTES;
        next = if full { None } else { feed.next().now_or_never() };
    }
    (deliveries, None)
}

fn piece(assignment: Arc<Assignment>) -> Piece<ScopeSubject, Arc<Assignment>> {
    Piece {
        position: assignment.position,
        scope: assignment.place.clone(),
        identity: assignment.identity().cloned(),
        bytes: assignment.stored.record.size(),
        work: assignment,
    }
}

const fn reason(cause: Cause) -> Reason {
    match cause {
        Cause::Overflow => Reason::Overflow,
        Cause::Stuck => Reason::Stuck,
    }
}
