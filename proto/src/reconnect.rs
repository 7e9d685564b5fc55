//! How soon a shard may connect again.
//!
//! The platform ends every connection about every half hour, with opcode 7 or code 4009. That is
//! routine and answered at once. Everything else climbs a ladder, and a socket that dies as soon
//! as it is open, again and again, is left alone for a minute.

use std::time::{Duration, Instant};

/// Waits before the first, second, … attempt in a row. The first is spread over its whole length,
/// so that shards which lost their sockets together do not come back together.
///
/// Source: PLATFORM.md, "reconnecting".
const LADDER: [Duration; 7] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Share by which a step of the ladder is moved either way.
const SPREAD: f64 = 0.2;

/// A socket that lived this long starts the ladder again.
const STABLE: Duration = Duration::from_secs(60);

/// A socket that lived less is a quick disconnect.
const QUICK: Duration = Duration::from_secs(5);

/// So many quick disconnects in a row ask for the top of the ladder.
const QUICK_IN_A_ROW: u32 = 3;

/// Two connections of one shard are this far apart, however politely the first was ended.
const APART: Duration = Duration::from_secs(1);

/// Whether an end counts against the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The platform's own cycle: opcode 7, code 4009.
    Routine,
    /// Any other end of a socket that was open.
    Trouble,
    /// It never opened, which is no quick disconnect: the platform or the way to it is down.
    Unopened,
}

/// One shard's pace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconnect {
    attempts: usize,
    quick: u32,
    opened: Option<Instant>,
}

impl Reconnect {
    /// A connection is being opened.
    pub const fn opening(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// It ended, or was never made; gives the moment of the next one. `jitter` is in `0.0..1.0`.
    pub fn ended(&mut self, now: Instant, manner: Manner, jitter: f64) -> Instant {
        let lived =
            self.opened.map_or(Duration::ZERO, |opened| now.saturating_duration_since(opened));
        if manner == Manner::Routine {
            let soonest = self.opened.map_or(now, |opened| opened + APART);
            return soonest.max(now);
        }
        if lived >= STABLE {
            self.attempts = 0;
        }
        if manner == Manner::Trouble {
            self.quick = if lived < QUICK { self.quick + 1 } else { 0 };
        }
        let top = LADDER.len() - 1;
        let step = if self.quick >= QUICK_IN_A_ROW {
            self.quick = 0;
            top
        } else {
            self.attempts
        };
        self.attempts = (self.attempts + 1).min(top);
        let wait = LADDER[step];
        let share = if step == 0 { jitter } else { 1.0 - SPREAD + 2.0 * SPREAD * jitter };
        now + wait.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an `Instant` has no literal to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Waits in milliseconds after sockets that lived this long, one after another.
    fn waits(lives: &[(u64, Manner)], jitter: f64) -> Vec<u128> {
        let (mut pace, mut now) = (Reconnect::default(), start());
        let wait = |&(lived, manner): &(u64, Manner)| {
            pace.opening(now);
            now += Duration::from_secs(lived);
            let next = pace.ended(now, manner, jitter);
            let wait = next.duration_since(now).as_millis();
            now = next;
            wait
        };
        lives.iter().map(wait).collect()
    }

    #[test]
    fn trouble_climbs_the_ladder_and_a_stable_socket_begins_it_again() {
        let trouble = |lived| (lived, Manner::Trouble);
        assert_eq!(
            waits(&[trouble(10); 8], 0.5),
            [250, 1000, 2000, 5000, 10_000, 30_000, 60_000, 60_000]
        );
        assert_eq!(
            waits(&[trouble(10), trouble(10), trouble(60), trouble(10)], 0.5),
            [250, 1000, 250, 1000]
        );
        assert_eq!(waits(&[trouble(10); 2], 0.0), [0, 800]);
    }

    #[test]
    fn sockets_that_die_at_once_are_left_alone() {
        let trouble = |lived| (lived, Manner::Trouble);
        assert_eq!(waits(&[trouble(1); 3], 0.5), [250, 1000, 60_000]);
    }

    #[test]
    fn a_platform_that_is_down_is_asked_step_by_step() {
        let unopened = [(0, Manner::Unopened); 5];
        assert_eq!(waits(&unopened, 0.5), [250, 1000, 2000, 5000, 10_000]);
    }

    #[test]
    fn the_platforms_own_cycle_is_answered_at_once_but_never_in_a_spin() {
        let routine = |lived| (lived, Manner::Routine);
        assert_eq!(waits(&[routine(1800); 3], 0.5), [0, 0, 0]);
        assert_eq!(waits(&[routine(0); 3], 0.5), [1000, 1000, 1000]);
        assert_eq!(waits(&[routine(2); 150], 0.5), vec![0; 150], "no 60 s break");
    }
}
