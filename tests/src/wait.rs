//! Waiting for a condition, with a deadline: nothing here sleeps and hopes.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long a suite waits for something before it says that it will not come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until there is something to see, for [`PATIENCE`] at most.
///
/// # Errors
///
/// It did not come; `what` says what was waited for.
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    within(PATIENCE, what, look).await
}

/// Looks until there is something to see, for `limit` at most.
///
/// # Errors
///
/// It did not come; `what` says what was waited for.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + limit;
    let mut turns = interval(LOOK_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        if let Some(seen) = look().await {
            return Ok(seen);
        }
        if Instant::now() >= end {
            bail!("{what}: not within {limit:?}");
        }
    }
}
