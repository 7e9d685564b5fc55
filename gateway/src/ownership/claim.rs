//! Getting the lease of a partition that shall be ours: free, given by its holder, or left behind
//! by one that is dead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use qqrelay_proto::id::OwnerId;
use qqrelay_proto::lease::LeaseTimes;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::nats::{Given, NatsBus, Take};
use qqrelay_runtime::peers::Peers;
use qqrelay_runtime::state::{Lease, LeaseKey, State};
use qqrelay_runtime::tenure::{Look, Taker};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::metrics::{LeaseFrom, Metrics};

/// How long a holder may take to hand a partition over.
const GIVE_WITHIN: Duration = Duration::from_secs(15);

/// Wait before a holder that could not give is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// What every claim of a process is made with.
pub(super) struct Claims {
    pub(super) owner: OwnerId,
    pub(super) state: Arc<dyn State>,
    pub(super) times: LeaseTimes,
    pub(super) bus: NatsBus,
    pub(super) peers: Mutex<Peers<Partition>>,
    pub(super) metrics: Metrics,
    /// Partitions are asked for one at a time: each that moves is deaf for a moment.
    pub(super) turn: Semaphore,
}

/// A lease, and when the call that took it began.
pub(super) type Claimed = (Lease, tokio::time::Instant);

impl Claims {
    pub(super) fn peers<T>(&self, look: impl FnOnce(&mut Peers<Partition>, Instant) -> T) -> T {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut peers, Instant::now())
    }

    /// Goes on until the lease is ours, or not wanted any more. While the state does not answer, nobody
    /// takes anything.
    ///
    /// Not to be dropped: a lease that was just taken would be nobody's until it has stood still.
    pub(super) async fn claim(
        &self,
        partition: Partition,
        unwanted: CancellationToken,
    ) -> Option<Claimed> {
        let key = LeaseKey::Partition(partition);
        let mut taker = Taker::new(&*self.state, key, &self.owner, self.times);
        let mut from = LeaseFrom::Nobody;
        while !unwanted.is_cancelled() {
            let wait = match taker.look().await {
                Look::Taken(lease, _) if unwanted.is_cancelled() => {
                    // Where that fails, it is taken once it has stood still.
                    let _ = self.state.release_lease(key, &lease).await;
                    return None;
                }
                Look::Taken(lease, asked) => {
                    self.metrics.leased(from);
                    return Some((lease, asked));
                }
                Look::Unknown(wait) => wait,
                Look::Held(_, Duration::ZERO) => {
                    from = LeaseFrom::Dead;
                    continue;
                }
                Look::Held(holder, wait) => {
                    if self.peers(|peers, now| peers.is_dead(&holder, now)) {
                        info!(%partition, %holder, "its holder is silent: taking its lease");
                        from = LeaseFrom::Dead;
                        taker.presume_dead();
                        continue;
                    }
                    if !self.peers(|peers, now| peers.is_living(&holder, now)) {
                        wait
                    } else {
                        let asking = self.ask(partition, &holder);
                        if unwanted.run_until_cancelled(asking).await == Some(true) {
                            from = LeaseFrom::Given;
                            continue;
                        }
                        wait.min(ASK_AGAIN)
                    }
                }
            };
            unwanted.run_until_cancelled(sleep(wait)).await;
        }
        None
    }

    /// Asks a holder that lives, and waits for its answer; whether it has given.
    async fn ask(&self, partition: Partition, holder: &OwnerId) -> bool {
        let Ok(_turn) = self.turn.acquire().await else { return false };
        let ask = Take { from: holder.clone(), by: self.owner.clone() };
        tokio::select! {
            answer = self.bus.ask_for(partition, &ask, GIVE_WITHIN) => match answer {
                Ok(given) => given == Given::Given,
                Err(error) => {
                    debug!(%partition, %holder, %error, "asked in vain");
                    false
                }
            },
            () = self.death_of(holder) => false,
        }
    }

    async fn death_of(&self, holder: &OwnerId) {
        while !self.peers(|peers, now| peers.is_dead(holder, now)) {
            sleep(ASK_AGAIN).await;
        }
    }
}
