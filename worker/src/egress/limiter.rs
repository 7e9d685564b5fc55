//! Keeps a command until the platform's rates allow it, or until it is not worth sending.
//!
//! The shared state decides. While it does not answer, this worker's own buckets do: a scope's are
//! exact, because one worker has all of a scope's sends; a bot's are its share of the lanes.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use qqrelay_proto::bucket::{self, Bucket, Decision};
use qqrelay_proto::command::Command;
use qqrelay_proto::id::AppId;
use qqrelay_proto::limits::{Limit, Limits, Need};
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::state::{Admission, State, StateError, Want};
use qqrelay_runtime::store::Clock;

use crate::duty::{Duty, Leave};
use crate::metrics::Metrics;

/// The longest wait for the rate of a message that has no deadline. Behind it waits its whole
/// scope, replies with deadlines among them.
const PUSH_PATIENCE: Duration = Duration::from_secs(60);

/// Buckets that are remembered here at most, for the time without a state.
const OWN_BUCKETS: usize = 16_384;

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
    own: Mutex<HashMap<(AppId, String), Bucket>>,
}

impl Limiter {
    pub(super) fn new(
        state: Arc<dyn State>,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self { state, limits, clock, metrics, own: Mutex::default() }
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
        let now = self.clock.now();
        self.with_own(|own| {
            own.entry((command.app.clone(), bucket.clone())).or_default().cool_down(now, wait);
        });
        if let Err(error) = self.state.cool_down(&command.app, &bucket, wait).await {
            let error = &error as &dyn Error;
            tracing::warn!(app = %command.app, error, "cool-down is known to this worker only");
        }
    }

    async fn admit(&self, app: &AppId, needs: &[Need]) -> Admission {
        let wants: Vec<_> =
            needs.iter().map(|need| Want { bucket: &need.bucket, quota: need.quota }).collect();
        match self.state.admit(app, &wants).await {
            Ok(Admission::Admitted) => {
                self.take_own(app, needs); // so that these are right when they are needed
                Ok(Admission::Admitted)
            }
            Ok(later) => Ok(later),
            Err(error) => Err(error),
        }
        .unwrap_or_else(|error: StateError| {
            tracing::warn!(%app, error = &error as &dyn Error, "limits are this worker's own now");
            match self.take_own(app, needs) {
                Decision::Allowed => Admission::Admitted,
                Decision::RetryAfter(wait) => Admission::RetryAfter { want: 0, wait },
            }
        })
    }

    fn take_own(&self, app: &AppId, needs: &[Need]) -> Decision {
        let now = self.clock.now();
        self.with_own(|own| {
            if own.len() + needs.len() > OWN_BUCKETS {
                own.retain(|_, bucket| bucket.stale_at() > now);
            }
            let key = |need: &Need| (app.clone(), need.bucket.clone());
            let mut taken: Vec<_> =
                needs.iter().map(|need| own.remove(&key(need)).unwrap_or_default()).collect();
            let quotas = needs.iter().map(|need| need.quota);
            let decision = bucket::take(now, quotas.zip(&mut taken));
            if own.len() + needs.len() <= OWN_BUCKETS {
                own.extend(needs.iter().map(key).zip(taken));
            }
            decision
        })
    }

    fn with_own<T>(&self, change: impl FnOnce(&mut HashMap<(AppId, String), Bucket>) -> T) -> T {
        // A panic elsewhere leaves whole buckets behind.
        change(&mut self.own.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
