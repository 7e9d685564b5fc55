//! The platform's wall clock, which a test can push forward.
//!
//! It runs on tokio's clock, so a paused runtime pauses the platform with it. Rules take the
//! milliseconds as an argument and never ask for them themselves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use tokio::time::Instant;

/// Milliseconds since the Unix epoch, as the platform sees them.
pub type WallMs = i64;

/// Tells the time; [`Clock::advance`] makes it later at once.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    started_at: WallMs,
    ahead: AtomicI64,
}

impl Clock {
    /// A clock that agrees with the machine's.
    #[must_use]
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_at = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        Self { started: Instant::now(), started_at, ahead: AtomicI64::new(0) }
    }

    /// Now.
    #[must_use]
    pub fn wall_ms(&self) -> WallMs {
        let run = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.started_at.saturating_add(run).saturating_add(self.ahead.load(Ordering::Relaxed))
    }

    /// Makes it later by `by`: tokens age, reply windows pass, sessions expire. Timers that already
    /// run (heartbeats, stalls) keep their own time.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.ahead.fetch_add(by, Ordering::Relaxed);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The platform's way to write a time: RFC 3339 in whole seconds at UTC+8.
#[must_use]
pub fn rfc3339(at: WallMs) -> String {
    const BEIJING: Offset = Offset::constant(8);
    let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::fixed(BEIJING)).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_platform_writes_it() {
        assert_eq!(rfc3339(1_788_228_000_999), "2026-09-01T10:00:00+08:00");
    }

    #[tokio::test(start_paused = true)]
    async fn time_passes_with_the_runtime_and_by_hand() {
        let clock = Clock::new();
        let start = clock.wall_ms();
        tokio::time::advance(Duration::from_secs(5)).await;
        clock.advance(Duration::from_secs(60));
        assert_eq!(clock.wall_ms() - start, 65_000);
    }
}
