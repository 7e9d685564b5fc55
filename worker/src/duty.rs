//! What one piece of work may still do: act, wait, or leave.
//!
//! Every wait of the worker goes through here, so that none outlives the lane, the drain's grace,
//! or the decision to give the piece up. The rule a newcomer would break: a wait that would end
//! after the grace is not begun. Half of it would be lost time for everybody behind it.

use std::future::Future;
use std::time::Duration;

use qqrelay_runtime::tenure::Tenure;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Why a piece of work is left before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Leave {
    /// The lane is another's: whoever has it does the work.
    #[error("the lane is no longer held")]
    Lost,
    /// The process ends first: whoever has the lane next does the work.
    #[error("the process stops before this could end")]
    Draining,
    /// It held up the lane's floor for too long and goes to the dead letters.
    #[error("it held up its lane for too long")]
    Stuck,
}

/// The terms under which one piece of work is done. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Duty {
    tenure: Tenure,
    /// When draining ends, from the moment that it begins.
    grace: watch::Receiver<Option<Instant>>,
    stuck: CancellationToken,
}

impl Duty {
    /// The terms of a piece of a lane; `grace` says when draining ends once it has begun, `stuck`
    /// that the piece is given up.
    #[must_use]
    pub const fn new(
        tenure: Tenure,
        grace: watch::Receiver<Option<Instant>>,
        stuck: CancellationToken,
    ) -> Self {
        Self { tenure, grace, stuck }
    }

    /// The terms of one piece of the same lane, which `stuck` gives up.
    #[must_use]
    pub fn of_piece(&self, stuck: CancellationToken) -> Self {
        Self { stuck, ..self.clone() }
    }

    /// Returns once a handler or a send may be started.
    ///
    /// # Errors
    ///
    /// The piece is to be left.
    pub async fn assured(&self) -> Result<(), Leave> {
        tokio::select! {
            biased;
            () = self.stuck.cancelled() => Err(Leave::Stuck),
            held = self.tenure.assured() => held.map_err(|_| Leave::Lost),
        }
    }

    /// Waits this long.
    ///
    /// # Errors
    ///
    /// The piece is to be left, or the process stops before the wait would end.
    pub async fn wait(&self, time: Duration) -> Result<(), Leave> {
        let until = Instant::now() + time;
        self.hold(until, sleep_until(until)).await
    }

    /// Waits for `future`, which ends at `until` at the latest.
    ///
    /// # Errors
    ///
    /// As [`Duty::wait`]; the future is dropped.
    pub async fn hold<T>(
        &self,
        until: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, Leave> {
        tokio::select! {
            biased;
            leave = self.ended() => Err(leave),
            () = self.drains_before(until) => Err(Leave::Draining),
            value = future => Ok(value),
        }
    }

    /// Runs `future` on, also while the process drains.
    ///
    /// # Errors
    ///
    /// The lane is lost or the piece given up; the future is dropped.
    pub async fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Leave> {
        tokio::select! {
            biased;
            leave = self.ended() => Err(leave),
            value = future => Ok(value),
        }
    }

    async fn ended(&self) -> Leave {
        tokio::select! {
            biased;
            () = self.stuck.cancelled() => Leave::Stuck,
            () = self.tenure.over() => Leave::Lost,
        }
    }

    async fn drains_before(&self, until: Instant) {
        let mut grace = self.grace.clone();
        let early = |grace: &Option<Instant>| grace.is_some_and(|ends| ends < until);
        if grace.wait_for(early).await.is_err() {
            std::future::pending::<()>().await; // nobody is left who could begin to drain
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use futures_util::FutureExt;
    use qqrelay_proto::lease::LeaseTimes;

    /// A duty with everything that can end it.
    pub(crate) struct Terms {
        pub(crate) duty: Duty,
        pub(crate) tenure: Tenure,
        pub(crate) grace: watch::Sender<Option<Instant>>,
        pub(crate) stuck: CancellationToken,
    }

    pub(crate) fn terms() -> Terms {
        let (tenure, stuck) =
            (Tenure::taken(LeaseTimes::default(), Instant::now()), CancellationToken::new());
        let (grace, ends) = watch::channel(None);
        let duty = Duty::new(tenure.clone(), ends, stuck.clone());
        Terms { duty, tenure, grace, stuck }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_its_time_is_over() {
        assert_eq!(terms().duty.wait(SECOND).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_would_outlast_the_grace_is_left_at_once() {
        let terms = terms();
        terms.grace.send_replace(Some(Instant::now() + SECOND));
        assert_eq!(terms.duty.wait(2 * SECOND).now_or_never(), Some(Err(Leave::Draining)));
        assert_eq!(terms.duty.wait(SECOND / 2).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_or_lost_neither_waits_nor_acts() {
        let given_up = terms();
        given_up.stuck.cancel();
        assert_eq!(given_up.duty.wait(SECOND).await, Err(Leave::Stuck));
        assert_eq!(given_up.duty.assured().await, Err(Leave::Stuck));
        let lost = terms();
        lost.tenure.end();
        assert_eq!(lost.duty.run(std::future::pending::<()>()).await, Err(Leave::Lost));
        assert_eq!(lost.duty.assured().await, Err(Leave::Lost));
    }
}
