//! Which lanes this worker shall have: its share of them, as workers tell each other on core NATS.
//!
//! A lane that shall be another's is finished here, one at a time, and its lease given away; the
//! other takes it then. Who hears nobody wants every lane, and leases alone decide.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Instant;

use qqrelay_proto::id::OwnerId;
use qqrelay_proto::spread::Holder;
use qqrelay_proto::subject::Lane;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::peers::{Heartbeat, LOOK_EVERY, Peers, SAY_EVERY};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What lanes know of it.
#[derive(Debug)]
pub struct Share {
    wanted: watch::Sender<BTreeSet<Lane>>,
    held: watch::Sender<BTreeSet<Lane>>,
}

impl Share {
    /// The share of a worker that has no others: everything.
    #[must_use]
    pub fn alone() -> Self {
        Self { wanted: watch::Sender::new(Lane::all().collect()), held: watch::Sender::default() }
    }

    /// The share of one that may have others: nothing, until [`Share::agree`] says so.
    #[must_use]
    pub fn among_others() -> Self {
        Self { wanted: watch::Sender::default(), held: watch::Sender::default() }
    }

    /// Returns once this worker shall have the lane.
    pub async fn wanted(&self, lane: Lane) {
        self.until(|wanted| wanted.contains(&lane)).await;
    }

    /// Returns once this worker shall not have the lane.
    pub async fn unwanted(&self, lane: Lane) {
        self.until(|wanted| !wanted.contains(&lane)).await;
    }

    async fn until(&self, so: impl FnMut(&BTreeSet<Lane>) -> bool) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.wanted.subscribe().wait_for(so).await;
    }

    /// This worker has the lane, for as long as what this gives lives.
    pub fn hold(&self, lane: Lane) -> HeldLane<'_> {
        self.held.send_modify(|held| {
            held.insert(lane);
        });
        HeldLane { share: self, lane }
    }

    /// How many lanes this worker has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.held.borrow().len()
    }

    /// Tells the other workers what this one has, and decides with them what it shall have. Says that
    /// it goes once `stop` says so, and runs on until it is dropped.
    pub async fn agree(
        &self,
        bus: NatsBus,
        me: OwnerId,
        metrics: Metrics,
        stop: CancellationToken,
    ) {
        let (words, mut heard) = mpsc::channel(64);
        let mut listening = JoinSet::new();
        listening.spawn(listen(bus.clone(), words));
        let mut peers = Peers::new(me.clone(), Instant::now());
        let all: BTreeSet<_> = Lane::all().collect();
        let (mut look, mut again) = (interval(LOOK_EVERY), interval(SAY_EVERY));
        for interval in [&mut look, &mut again] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut held = self.held.subscribe();
        loop {
            let says = tokio::select! {
                Some(said) = heard.recv() => peers.hear(said, Instant::now()),
                _ = again.tick() => true,
                Ok(()) = held.changed() => true,
                () = stop.cancelled(), if !stop.is_cancelled() => true,
                _ = look.tick() => false,
            };
            let ours = held.borrow_and_update().clone();
            let holder = Holder { held: ours.clone(), leaving: stop.is_cancelled() };
            if says {
                let said = Heartbeat { process: me.clone(), holder: holder.clone() };
                if let Err(error) = bus.say_worker(&said).await {
                    tracing::debug!(
                        error = &error as &dyn Error,
                        "that this worker lives was not said"
                    );
                }
            }
            let now = Instant::now();
            metrics.shares(ours.len(), peers.living(now).len() + 1);
            if peers.is_found_deaf(now) {
                tracing::warn!(
                    "this worker does not hear itself on NATS: let its user publish and subscribe \
                     qq.v1.ctl.lanes.*; until then lanes are not shared evenly"
                );
            }
            if let Some(placed) = peers.placed(&all, holder, now) {
                let mine = placed.into_iter().filter(|(_, worker)| *worker == me);
                self.want(mine.map(|(lane, _)| lane).collect(), &ours);
            }
        }
    }

    /// Wants these, and one by one no longer wants what it has beside them.
    fn want(&self, mine: BTreeSet<Lane>, ours: &BTreeSet<Lane>) {
        let surplus = ours.difference(&mine).skip(1).copied();
        let wanted = mine.iter().copied().chain(surplus).collect();
        self.wanted.send_if_modified(|before| {
            let is_new = *before != wanted;
            *before = wanted;
            is_new
        });
    }
}

/// A lane that this worker has.
#[derive(Debug)]
pub struct HeldLane<'a> {
    share: &'a Share,
    lane: Lane,
}

impl Drop for HeldLane<'_> {
    fn drop(&mut self) {
        self.share.held.send_modify(|held| {
            held.remove(&self.lane);
        });
    }
}

/// Hears all workers, this one too.
async fn listen(bus: NatsBus, words: mpsc::Sender<Heartbeat<Lane>>) {
    loop {
        match bus.hear_workers().await {
            Ok(mut workers) => {
                while let Some(said) = workers.next().await {
                    if words.send(said).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "other workers are not heard");
            }
        }
        sleep(SAY_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn lanes(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<Lane> {
        numbers.into_iter().map(|number| Lane::new(number).expect("below 16")).collect()
    }

    #[test]
    fn what_shall_be_anothers_is_given_up_one_at_a_time() {
        let share = Share::among_others();
        let wanted = |share: &Share| share.wanted.borrow().clone();
        share.want(lanes(0..8), &lanes(0..16));
        assert_eq!(wanted(&share), lanes((0..8).chain(9..16)));
        share.want(lanes(0..8), &lanes((0..8).chain(9..16)));
        assert_eq!(wanted(&share), lanes((0..8).chain(10..16)));
        share.want(lanes(0..8), &lanes(0..8));
        assert_eq!(wanted(&share), lanes(0..8));
    }

    #[test]
    fn a_lane_counts_for_as_long_as_it_is_held() {
        let (share, lane) = (Share::alone(), Lane::new(3).expect("below 16"));
        assert!(share.wanted(lane).now_or_never().is_some());
        assert!(share.unwanted(lane).now_or_never().is_none());
        let held = share.hold(lane);
        assert_eq!(share.size(), 1);
        drop(held);
        assert_eq!(share.size(), 0);
    }
}
