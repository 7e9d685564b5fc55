//! Waiting for a condition, with a deadline: nothing here sleeps and hopes.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long a suite waits for something before it says that it will not come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What happens at each turn of [`paced`], and how long a turn is: 2,500 a second.
const TURN: (usize, Duration) = (25, Duration::from_millis(10));

/// Does something so many times, at a pace that a relay on a busy machine can hold.
pub async fn paced(count: usize, mut act: impl FnMut(usize)) {
    let mut turns = interval(TURN.1);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..count {
        if number % TURN.0 == 0 {
            turns.tick().await;
        }
        act(number);
    }
}

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
