//! Counts what happened and says whether one more is within an allowance.
//!
//! The platform does not say whether its windows slide. Here they do, which is the stricter
//! reading; only a day is the calendar day of China, where the documents say "till midnight".

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use super::allowance::Allowance;
use crate::clock::WallMs;

const DAY: Duration = Duration::from_secs(86_400);
/// Days begin at midnight UTC+8.
const DAY_OFFSET_MS: WallMs = 8 * 3_600_000;
/// How many keys are kept before those with nothing left to count are dropped.
const SWEEP_AT: usize = 4_096;

/// What happened within the current window of one key.
#[derive(Debug, Default, Clone)]
struct Track {
    /// Times, oldest first; never more than the allowance's count.
    times: VecDeque<WallMs>,
}

impl Track {
    fn forget(&mut self, within: Duration, now: WallMs) {
        let gone = |time: WallMs| {
            if within == DAY { day(time) != day(now) } else { age(time, now) >= within }
        };
        while self.times.front().is_some_and(|&time| gone(time)) {
            self.times.pop_front();
        }
    }
}

/// The number of the calendar day in China.
pub(super) fn day(time: WallMs) -> i64 {
    const DAY_MS: WallMs = 86_400_000;
    time.saturating_add(DAY_OFFSET_MS).div_euclid(DAY_MS)
}

/// How long ago something was; nothing lies in the future.
pub(crate) fn age(time: WallMs, now: WallMs) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(time)).unwrap_or(0))
}

/// One rate limit, counted apart for each key.
#[derive(Debug, Clone)]
pub struct Meter<K> {
    allowance: Allowance,
    tracks: HashMap<K, Track>,
    sweep_at: usize,
}

impl<K: Hash + Eq> Meter<K> {
    /// A meter that nothing has gone through.
    #[must_use]
    pub fn new(allowance: Allowance) -> Self {
        Self { allowance, tracks: HashMap::new(), sweep_at: SWEEP_AT }
    }

    /// Whether one more is allowed; counts nothing.
    pub fn allows(&mut self, key: &K, now: WallMs) -> bool {
        let Allowance::Of { count, within } = self.allowance else { return true };
        let Some(track) = self.tracks.get_mut(key) else { return count > 0 };
        track.forget(within, now);
        track.times.len() < count as usize
    }

    /// Counts one, whether it was allowed or not.
    pub fn count(&mut self, key: K, now: WallMs) {
        let Allowance::Of { count, within } = self.allowance else { return };
        if self.tracks.len() >= self.sweep_at {
            self.tracks.retain(|_, track| {
                track.forget(within, now);
                !track.times.is_empty()
            });
            // Twice what is alive, so that sweeping stays cheap however many keys there are.
            self.sweep_at = SWEEP_AT.max(2 * self.tracks.len());
        }
        let track = self.tracks.entry(key).or_default();
        track.forget(within, now);
        if track.times.len() >= count as usize {
            track.times.pop_front();
        }
        if count > 0 {
            track.times.push_back(now);
        }
    }

    /// Counts one if it is allowed, and says whether it was.
    pub fn take(&mut self, key: K, now: WallMs) -> bool {
        let allowed = self.allows(&key, now);
        if allowed {
            self.count(key, now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_slides() {
        let mut meter = Meter::new(Allowance::per_second(2));
        let mut check = |now, expected| assert_eq!(meter.take("channel", now), expected, "{now}");
        check(0, true);
        check(900, true);
        check(999, false);
        check(1_000, true);
        check(1_100, false);
        check(1_900, true);
    }

    #[test]
    fn a_day_ends_at_midnight_in_china() {
        let mut meter = Meter::new(Allowance::per_day(1));
        let midnight = 16 * 3_600_000;
        assert!(meter.take((), midnight - 1));
        assert!(!meter.take((), midnight - 1));
        assert!(meter.take((), midnight));
        assert!(!meter.take((), midnight + 23 * 3_600_000));
    }

    #[test]
    fn keys_do_not_share_a_window_and_idle_ones_are_forgotten() {
        let mut meter = Meter::new(Allowance::per_second(1));
        for channel in 0..10 * SWEEP_AT as i64 {
            assert!(meter.take(channel, channel * 10));
        }
        assert!(meter.tracks.len() <= SWEEP_AT);
    }

    #[test]
    fn nothing_is_allowed_of_none_and_everything_when_off() {
        assert!(!Meter::new(Allowance::per_second(0)).take((), 0));
        let mut off = Meter::new(Allowance::Off);
        assert!((0..1_000).all(|_| off.take((), 0)));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_allowed(steps in prop::collection::vec(0_i64..400, 1..200)) {
            let mut meter = Meter::new(Allowance::per_second(5));
            let (mut now, mut taken) = (0, Vec::new());
            for step in steps {
                now += step;
                if meter.take((), now) {
                    taken.push(now);
                }
            }
            for window in taken.windows(6) {
                prop_assert!(window[5] - window[0] >= 1_000);
            }
        }
    }
}
