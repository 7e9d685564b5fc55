//! Lets a record that may have killed its worker run alone in the next one.
//!
//! Everything that calls handlers enters here. What is suspected waits for the others to leave and
//! keeps them out meanwhile, so that the next crash, if there is one, has one suspect.

use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::timeout;

/// How long a suspect waits for the others, and they for it. A handler that takes longer than this
/// must not stop a whole worker.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How many handlers run beside each other: all, or one.
#[derive(Debug, Default)]
pub struct Solitude {
    room: RwLock<()>,
}

/// Held while a handler runs.
#[derive(Debug)]
#[expect(dead_code, reason = "the guards are held for what their drop does")]
pub struct Entered<'a>(Option<Guard<'a>>);

#[derive(Debug)]
#[expect(dead_code, reason = "the guards are held for what their drop does")]
enum Guard<'a> {
    Among(RwLockReadGuard<'a, ()>),
    Alone(RwLockWriteGuard<'a, ()>),
}

impl Solitude {
    /// Enters beside all others that do so.
    pub async fn among(&self) -> Entered<'_> {
        Entered(timeout(WAIT_MAX, self.room.read()).await.ok().map(Guard::Among))
    }

    /// Enters once nobody is in, and lets nobody else in.
    pub async fn alone(&self) -> Entered<'_> {
        Entered(timeout(WAIT_MAX, self.room.write()).await.ok().map(Guard::Alone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn a_suspect_runs_alone() {
        let solitude = Solitude::default();
        let (first, second) = (solitude.among().await, solitude.among().await);
        assert!(solitude.alone().now_or_never().is_none());
        drop((first, second));
        let alone = solitude.alone().await;
        assert!(solitude.among().now_or_never().is_none());
        drop(alone);
        assert!(solitude.among().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_never_ends_does_not_stop_the_others() {
        let solitude = Solitude::default();
        let _endless = solitude.among().await;
        let _suspect = solitude.alone().await;
        let _next = solitude.among().await;
    }
}
