//! How many of the flood's events one socket may get now.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Flood;

/// The shortest time between two looks at the clock; tokio's timer has no finer grain.
const TICK_MIN: Duration = Duration::from_millis(1);
/// The longest, so that a socket's share follows those who come and go.
const TICK_MAX: Duration = Duration::from_millis(100);
/// Events worth waking up for.
const PER_TICK: f64 = 8.0;
/// What a socket that does not read may save up, in seconds of its share.
const SAVED_MAX: f64 = 1.0;

/// One socket's share of the flood.
#[derive(Debug)]
pub(crate) struct Pace {
    flood: Arc<Flood>,
    saved: f64,
    counted: Instant,
    due: Instant,
}

impl Pace {
    pub(super) fn new(flood: Arc<Flood>) -> Self {
        flood.sockets.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        Self { flood, saved: 0.0, counted: now, due: now }
    }

    /// Waits until there may be more. Dropping the future loses nothing.
    pub(crate) async fn tick(&self) {
        sleep_until(self.due).await;
    }

    /// How many events may be sent now.
    pub(crate) fn allowed(&mut self) -> u64 {
        let now = Instant::now();
        let Some(share) = self.share() else {
            self.due = now + TICK_MIN;
            return u64::MAX;
        };
        let earned = (now - self.counted).as_secs_f64() * share;
        self.saved = (self.saved + earned).min((share * SAVED_MAX).max(PER_TICK));
        self.counted = now;
        let wait = Duration::from_secs_f64(PER_TICK / share.max(f64::MIN_POSITIVE).max(1e-3));
        self.due = now + wait.clamp(TICK_MIN, TICK_MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative, and at most a second's worth"
        )]
        let whole = self.saved as u64;
        whole
    }

    /// Notes that so many were sent.
    pub(crate) fn spend(&mut self, events: u64) {
        self.flood.count(events);
        if self.flood.config.events_per_second.is_some() {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53 in one write")]
            let events = events as f64;
            self.saved -= events;
        }
    }

    /// Events in a second for each socket there is.
    fn share(&self) -> Option<f64> {
        let sockets = self.flood.sockets.load(Ordering::Relaxed).max(1);
        #[expect(clippy::cast_precision_loss, reason = "a rate and a count of sockets")]
        let share = self.flood.config.events_per_second? as f64 / sockets as f64;
        Some(share)
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.flood.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::flood::FloodConfig;

    fn flood(rate: u64) -> Arc<Flood> {
        Arc::new(Flood::new(FloodConfig { templates: 1, ..FloodConfig::of(rate) }, &Dice::new(1)))
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_share_the_rate_and_a_fraction_is_not_lost() {
        let flood = flood(1_000);
        let mut paces = [flood.pace(), flood.pace(), flood.pace()];
        let mut sent = 0;
        for _ in 0..3_000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            for pace in &mut paces {
                let events = pace.allowed();
                pace.spend(events);
                sent += events;
            }
        }
        assert!((2_990..=3_000).contains(&sent), "{sent}");
        assert_eq!(flood.sent(), sent);
        let [only, ..] = &mut paces;
        assert_eq!(only.share().map(f64::round), Some(333.0));
        drop(paces);
        assert_eq!(flood.pace().share().map(f64::round), Some(1_000.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_did_not_read_does_not_get_it_all_at_once() {
        let mut pace = flood(1_000).pace();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pace.allowed(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_without_a_rate_has_no_bound() {
        let pace = &mut flood(0).pace();
        pace.tick().await;
        assert_eq!(pace.allowed(), u64::MAX);
    }
}
