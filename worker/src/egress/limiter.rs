//! Keeps a command until the platform's rates allow it, or until it is not worth sending.
//!
//! The shared state decides, and this worker's own buckets must agree: after the state has forgotten
//! everything they still know. While it does not answer they decide alone. A place's are exact, because
//! one worker has all of a place's sends; of what all workers share, each has its part of the lanes.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qqrelay_proto::bucket::Decision;
use qqrelay_proto::command::Command;
use qqrelay_proto::id::AppId;
use qqrelay_proto::limits::{Limit, Limits, Need};
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::state::{Admission, State, Want};
use qqrelay_runtime::store::Clock;

use super::own::Own;
use crate::duty::{Duty, Leave};
use crate::metrics::Metrics;
use crate::share::Share;

/// The longest wait for the rate of a message that has no deadline. Behind it waits its whole
/// scope, replies with deadlines among them.
const PUSH_PATIENCE: Duration = Duration::from_secs(60);

/// Whether a command may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// It may, and its room is taken.
    Open,
    /// There is no room before its deadline.
    TooLate,
    /// There is no room for so long that waiting would only be in the way.
    UsedUp {
        /// What is used up.
        limit: Limit,
        /// When there is room again.
        wait: Duration,
    },
}

/// All rate limits of all bots.
pub(super) struct Limiter {
    state: Arc<dyn State>,
    limits: Limits,
    clock: Clock,
    metrics: Metrics,
    own: Mutex<Own>,
    share: Arc<Share>,
}

impl Limiter {
    pub(super) fn new(
        state: Arc<dyn State>,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
        share: Arc<Share>,
    ) -> Self {
        Self { state, limits, clock, metrics, own: Mutex::default(), share }
    }

    /// Waits for room in every bucket that the command needs, and takes it.
    pub(super) async fn pass(
        &self,
        command: &Command,
        deadline: Option<UnixMs>,
        duty: &Duty,
    ) -> Result<Pass, Leave> {
        let needs = self.limits.needs(command);
        let Some(first) = needs.first() else { return Ok(Pass::Open) };
        let (mut tier, mut waited) = (first.limit, Duration::ZERO);
        loop {
            let admission = duty.run(self.admit(&command.app, &needs)).await?;
            let (limit, wait) = match admission {
                Admission::Admitted => {
                    self.metrics.waited_for_limit(tier, waited);
                    return Ok(Pass::Open);
                }
                Admission::RetryAfter { want, wait } => {
                    (needs.get(want).map_or(first.limit, |need| need.limit), wait)
                }
            };
            let over = self.clock.now().plus(wait);
            match deadline {
                Some(deadline) if over >= deadline => return Ok(Pass::TooLate),
                None if waited + wait > PUSH_PATIENCE => return Ok(Pass::UsedUp { limit, wait }),
                _ => {}
            }
            (tier, waited) = (limit, waited + wait);
            duty.wait(wait).await?;
        }
    }

    /// Closes the command's own place for a while, because the platform refused for its rate.
    pub(super) async fn cool_down(&self, command: &Command, wait: Duration) {
        let Some(limit) = Limit::of_place(command) else { return };
        let Some(bucket) = limit.bucket(command) else { return };
        self.own().cool_down(self.clock.now(), &command.app, &bucket, wait);
        if let Err(error) = self.state.cool_down(&command.app, &bucket, wait).await {
            let error = &error as &dyn Error;
            tracing::warn!(app = %command.app, error, "cool-down is known to this worker only");
        }
    }

    async fn admit(&self, app: &AppId, needs: &[Need]) -> Admission {
        let wants: Vec<_> =
            needs.iter().map(|need| Want { bucket: &need.bucket, quota: need.quota }).collect();
        match self.state.admit(app, &wants).await {
            // Its own buckets take it too, so that they are right when they are needed.
            Ok(Admission::Admitted) => {}
            Ok(later) => return later,
            Err(error) => {
                tracing::warn!(%app, error = &error as &dyn Error, "limits are this worker's own now");
                self.own().alone(self.clock.now());
            }
        }
        match self.own().take(self.clock.now(), app, needs, self.share.size()) {
            Decision::Allowed => Admission::Admitted,
            Decision::RetryAfter(wait) => Admission::RetryAfter { want: 0, wait },
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        // A panic elsewhere leaves whole buckets behind.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
