//! One holding of a lane or a partition: taking its lease, keeping it, and acting only while it is
//! fresh.
//!
//! The rule a newcomer would break: acting is asked for right before each handler start and each
//! send, not once at the beginning. Who was paused does not know it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use qqrelay_proto::id::OwnerId;
use qqrelay_proto::lease::{Holding, LeaseTimes, Watch, Watched};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::state::{Lease, LeaseKey, Renewal, State, Taking};

/// How long one question to the state may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// One holding, shared by everything that acts for it.
#[derive(Debug, Clone)]
pub struct Tenure {
    held: Arc<watch::Sender<Held>>,
}

#[derive(Debug)]
enum Held {
    Ours(Holding),
    /// It is another's, or given away.
    Over,
}

/// It is no longer this process's: nothing more is to be started for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease is no longer held")]
pub struct Over;

impl Tenure {
    /// A tenure that begins with a lease taken by a call that began at `asked`.
    #[must_use]
    pub fn taken(times: LeaseTimes, asked: Instant) -> Self {
        let holding = Holding::taken(times, asked.into_std());
        Self { held: Arc::new(watch::Sender::new(Held::Ours(holding))) }
    }

    /// The lease is lost or given away, for good.
    pub fn end(&self) {
        self.held.send_replace(Held::Over);
    }

    /// Returns once acting is safe: at once while the lease is fresh.
    ///
    /// # Errors
    ///
    /// The tenure is over.
    pub async fn assured(&self) -> Result<(), Over> {
        let settled = |held: &Held| match held {
            Held::Ours(holding) => holding.may_act(Instant::now().into_std()),
            Held::Over => true,
        };
        let mut held = self.held.subscribe();
        let held = held.wait_for(settled).await.map_err(|_| Over)?;
        if matches!(*held, Held::Over) { Err(Over) } else { Ok(()) }
    }

    /// Returns once the tenure is over.
    pub async fn over(&self) {
        let mut held = self.held.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = held.wait_for(|held| matches!(held, Held::Over)).await;
    }

    /// Renews the lease for as long as it is held.
    ///
    /// While the state does not answer the tenure goes on: nobody can take the lease from a state
    /// that is down, and if it is down for us alone, the bus tells us the moment that another takes
    /// over.
    pub async fn keep(&self, state: &dyn State, key: LeaseKey, lease: &Lease) {
        while let Some(at) = self.renew_at() {
            sleep_until(at).await;
            self.change(|holding| holding.asking(Instant::now().into_std()));
            match timeout(ANSWER_WITHIN, state.renew_lease(key, lease)).await {
                Ok(Ok(Renewal::Renewed(_))) => self.change(Holding::renewed),
                Ok(Ok(Renewal::Lost)) => return self.end(),
                Ok(Err(error)) => {
                    tracing::warn!(?key, error = &error as &dyn Error, "lease not renewed");
                    self.change(Holding::renewed);
                }
                Err(_) => {
                    tracing::warn!(?key, "lease not renewed: the state is slow");
                    self.change(Holding::renewed);
                }
            }
        }
    }

    fn renew_at(&self) -> Option<Instant> {
        match &*self.held.borrow() {
            Held::Ours(holding) => Some(Instant::from_std(holding.renew_at())),
            Held::Over => None,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Holding)) {
        self.held.send_modify(|held| {
            if let Held::Ours(holding) = held {
                change(holding);
            }
        });
    }
}

/// Takes a lease as soon as nobody holds it, or its holder was seen to stand still.
///
/// Gives the lease and when the call that took it began. Waits for a state that does not answer.
pub async fn take(
    state: &dyn State,
    key: LeaseKey,
    owner: &OwnerId,
    times: LeaseTimes,
) -> (Lease, Instant) {
    let mut taker = Taker::new(state, key, owner, times);
    loop {
        match taker.look().await {
            Look::Taken(lease, asked) => return (lease, asked),
            Look::Held(_, again) | Look::Unknown(again) => sleep(again).await,
        }
    }
}

/// One who wants a lease and looks at it again and again.
pub struct Taker<'a> {
    state: &'a dyn State,
    key: LeaseKey,
    owner: &'a OwnerId,
    times: LeaseTimes,
    watch: Watch<Lease>,
    /// What the next look takes, if it still stands.
    abandoned: Option<Lease>,
}

/// What one look has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is ours, by a call that began then.
    Taken(Lease, Instant),
    /// Another holds it; look again after this at the latest.
    Held(OwnerId, Duration),
    /// The state did not answer; look again after this.
    Unknown(Duration),
}

impl<'a> Taker<'a> {
    /// One who has not looked yet.
    #[must_use]
    pub const fn new(
        state: &'a dyn State,
        key: LeaseKey,
        owner: &'a OwnerId,
        times: LeaseTimes,
    ) -> Self {
        Self { state, key, owner, times, watch: Watch::new(times), abandoned: None }
    }

    /// Looks once, and takes what is free or was seen to be abandoned.
    pub async fn look(&mut self) -> Look {
        let (key, asked) = (self.key, Instant::now());
        let taking = self.state.take_lease(key, self.owner, self.abandoned.as_ref());
        match timeout(ANSWER_WITHIN, taking).await {
            Ok(Ok(Taking::Taken(lease))) => Look::Taken(lease, asked),
            // An answer that was lost: it has been ours since then.
            Ok(Ok(Taking::Held(lease))) if lease.owner == *self.owner => Look::Taken(lease, asked),
            Ok(Ok(Taking::Held(lease))) => {
                let holder = lease.owner.clone();
                match self.watch.saw(Instant::now().into_std(), Some(lease)) {
                    Watched::Alive(again) => {
                        self.abandoned = None;
                        Look::Held(holder, again)
                    }
                    Watched::Free | Watched::Abandoned => {
                        self.presume_dead();
                        Look::Held(holder, Duration::ZERO)
                    }
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(?key, error = &error as &dyn Error, "lease not taken");
                Look::Unknown(self.times.renew)
            }
            Err(_) => {
                tracing::warn!(?key, "lease not taken: the state is slow");
                Look::Unknown(self.times.renew)
            }
        }
    }

    /// The holder that was seen last is known to be gone: the next look takes its lease, unless
    /// that has moved since.
    pub fn presume_dead(&mut self) {
        self.abandoned = self.watch.seen().cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::time::advance;

    fn tenure() -> Tenure {
        Tenure::taken(LeaseTimes::default(), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_stops_acting_until_it_is() {
        let tenure = tenure();
        assert_eq!(tenure.assured().now_or_never(), Some(Ok(())));
        advance(LeaseTimes::default().act).await;
        assert_eq!(tenure.assured().now_or_never(), None);
        tenure.change(|holding| holding.asking(Instant::now().into_std()));
        tenure.change(Holding::renewed);
        assert_eq!(tenure.assured().now_or_never(), Some(Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_tenure_wakes_who_waits_and_never_revives() {
        let tenure = tenure();
        let waiting = tenure.clone();
        let waiter = tokio::spawn(async move { waiting.over().await });
        tokio::task::yield_now().await;
        tenure.end();
        tenure.change(Holding::renewed);
        waiter.await.expect("the waiter does not panic");
        assert_eq!(tenure.assured().await, Err(Over));
    }
}
