//! How long a worker may act for a lane: only while its lease was renewed a moment ago.
//!
//! The rule a newcomer would break: acting is asked for right before each handler start and each
//! send, not once at the beginning. Who was paused does not know it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Age of the last renewal up to which a worker acts for a lane.
///
/// A taker watches a lease for 6 s before it steals it: 2 s are left for a send that has begun.
pub const FRESH: Duration = Duration::from_secs(4);

/// One holding of one lane, shared by everything that acts for it.
#[derive(Debug, Clone)]
pub struct Tenure {
    held: Arc<watch::Sender<Held>>,
}

#[derive(Debug, Clone, Copy)]
enum Held {
    /// The lease was renewed at this moment.
    Renewed(Instant),
    /// It is another's, or given away.
    Over,
}

/// The lane is no longer this worker's: nothing more is to be started for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lane is no longer held")]
pub struct Over;

impl Tenure {
    /// A tenure that begins with a lease taken at `taken`.
    #[must_use]
    pub fn since(taken: Instant) -> Self {
        Self { held: Arc::new(watch::Sender::new(Held::Renewed(taken))) }
    }

    /// The lease was renewed by a call that began at `asked`.
    pub fn renewed(&self, asked: Instant) {
        self.held.send_modify(|held| {
            if let Held::Renewed(at) = held {
                *at = asked.max(*at);
            }
        });
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
        let fresh = |held: &Held| match held {
            Held::Renewed(at) => at.elapsed() < FRESH,
            Held::Over => true,
        };
        let mut held = self.held.subscribe();
        let held = held.wait_for(fresh).await.map_err(|_| Over)?;
        match *held {
            Held::Renewed(_) => Ok(()),
            Held::Over => Err(Over),
        }
    }

    /// Returns once the tenure is over.
    pub async fn over(&self) {
        let mut held = self.held.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = held.wait_for(|held| matches!(held, Held::Over)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_stops_acting_until_it_is() {
        let tenure = Tenure::since(Instant::now());
        assert_eq!(tenure.assured().now_or_never(), Some(Ok(())));
        advance(FRESH).await;
        assert_eq!(tenure.assured().now_or_never(), None);
        tenure.renewed(Instant::now());
        assert_eq!(tenure.assured().now_or_never(), Some(Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_counts_from_when_it_was_asked_for() {
        let tenure = Tenure::since(Instant::now());
        let asked = Instant::now();
        advance(Duration::from_secs(3)).await;
        tenure.renewed(asked);
        advance(Duration::from_secs(1)).await;
        assert_eq!(tenure.assured().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_tenure_wakes_who_waits_and_never_revives() {
        let tenure = Tenure::since(Instant::now());
        let waiting = tenure.clone();
        let waiter = tokio::spawn(async move { waiting.over().await });
        tokio::task::yield_now().await;
        tenure.end();
        tenure.renewed(Instant::now());
        waiter.await.expect("the waiter does not panic");
        assert_eq!(tenure.assured().await, Err(Over));
    }
}
