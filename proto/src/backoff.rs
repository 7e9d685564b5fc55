//! How long to wait before another try. Every wait has an end, and none of them is the last one.
//!
//! `jitter` is a share in `0.0..1.0` that the caller draws, so that what failed together does not
//! come again together.

use std::time::Duration;

/// Waits that double with every failure, up to a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubling {
    base: Duration,
    cap: Duration,
    spread: Spread,
}

/// What jitter does to a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    /// Anything from nothing to all of it: many callers, one server.
    Full,
    /// A fifth less to a fifth more: the wait itself matters.
    Fifth,
}

impl Doubling {
    /// Between the attempts of one REST call.
    pub const REST: Self =
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(30), spread: Spread::Full };

    /// Before a place is tried again that the platform refused for its rate without saying how
    /// long; it sends no `Retry-After`.
    pub const COOL_DOWN: Self =
        Self { base: Duration::from_secs(2), cap: Duration::from_secs(60), spread: Spread::Fifth };

    /// Between token requests that fail.
    ///
    /// Source: PLATFORM.md, "token endpoint".
    pub const TOKEN: Self =
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(60), spread: Spread::Fifth };

    /// Waits of anything from nothing to `base`, doubled up to `cap`.
    #[must_use]
    pub const fn full(base: Duration, cap: Duration) -> Self {
        Self { base, cap, spread: Spread::Full }
    }

    /// The wait after the `failures`th failure in a row, from 1.
    #[must_use]
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let delay = self.base.saturating_mul(1 << doublings).min(self.cap);
        spread(delay, self.spread, jitter)
    }
}

fn spread(delay: Duration, spread: Spread, jitter: f64) -> Duration {
    debug_assert!((0.0..1.0).contains(&jitter));
    match spread {
        Spread::Full => delay.mul_f64(jitter),
        Spread::Fifth => delay.mul_f64(0.8 + 0.4 * jitter),
    }
}

/// A bot's allowance for retries: a share of its requests, so that a platform in trouble gets
/// little more than the usual load.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    percent: u32,
    /// Hundredths of a retry.
    credit: u32,
}

impl RetryBudget {
    /// Hundredths of a retry that one takes.
    const ONE: u32 = 100;
    /// Retries that can be saved up: enough for a bot that sends little, and what it starts with.
    const SAVED_MAX: u32 = 10 * Self::ONE;

    /// A full allowance of `percent` retries in a hundred requests; none at all for 0.
    #[must_use]
    pub fn new(percent: u8) -> Self {
        let credit = if percent == 0 { 0 } else { Self::SAVED_MAX };
        Self { percent: percent.into(), credit }
    }

    /// A command is tried for the first time.
    pub fn earn(&mut self) {
        self.credit = (self.credit + self.percent).min(Self::SAVED_MAX);
    }

    /// Takes one retry, if one is left.
    #[must_use]
    pub fn spend(&mut self) -> bool {
        let left = self.credit.checked_sub(Self::ONE);
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }
}

/// When a shard connects again.
///
/// Source: PLATFORM.md, "reconnecting".
#[derive(Debug, Clone, Default)]
pub struct Reconnect {
    /// Sockets lost in a row without a stable one between them.
    lost: usize,
    /// How many of the last sockets opened and died at once.
    quick: u32,
}

/// How a socket came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It never opened.
    Unopened,
    /// Opcode 7 or close code 4009: the platform's routine, whatever the socket's age.
    Routine {
        /// Time from opening to the end.
        lived: Duration,
    },
    /// Any other way.
    Broken {
        /// Time from opening to the end.
        lived: Duration,
    },
}

impl Reconnect {
    /// The first wait is any part of this.
    const FIRST: Duration = Duration::from_millis(500);
    /// The waits after it, a fifth less to a fifth more; the last one repeats.
    const LADDER: [Duration; 6] = [
        Duration::from_secs(1),
        Duration::from_secs(2),
        Duration::from_secs(5),
        Duration::from_secs(10),
        Duration::from_secs(30),
        Duration::from_secs(60),
    ];
    /// A socket that lasted this long ends the series; one RESUMED would not do, because a session
    /// can flap.
    const STABLE: Duration = Duration::from_secs(60);
    /// A socket that opened and broke within this time was quick to go.
    const QUICK: Duration = Duration::from_secs(5);
    /// After this many quick ones in a row the longest wait comes at once.
    const QUICK_MAX: u32 = 3;

    /// How long to wait before the next socket.
    pub fn next(&mut self, lost: Lost, jitter: f64) -> Duration {
        let lived = match lost {
            Lost::Unopened => Duration::ZERO,
            Lost::Routine { lived } | Lost::Broken { lived } => lived,
        };
        if lived >= Self::STABLE {
            self.lost = 0;
        }
        match lost {
            Lost::Broken { lived } if lived < Self::QUICK => self.quick += 1,
            Lost::Broken { .. } => self.quick = 0,
            Lost::Routine { .. } | Lost::Unopened => {}
        }
        let step = self.lost;
        self.lost = self.lost.saturating_add(1);
        if self.quick >= Self::QUICK_MAX {
            self.quick = 0;
            return spread(Self::LADDER[Self::LADDER.len() - 1], Spread::Fifth, jitter);
        }
        match step.checked_sub(1) {
            None => spread(Self::FIRST, Spread::Full, jitter),
            Some(rung) => {
                let rung = rung.min(Self::LADDER.len() - 1);
                spread(Self::LADDER[rung], Spread::Fifth, jitter)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The middle of the spread: a fifth less and a fifth more even out.
    const MIDDLE: f64 = 0.5;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    const fn broken(lived: Duration) -> Lost {
        Lost::Broken { lived }
    }

    #[test]
    fn reconnects_slow_down_step_by_step_and_stay_at_a_minute() {
        let mut shard = Reconnect::default();
        assert_eq!(shard.next(Lost::Unopened, 0.0), Duration::ZERO);
        for wait in [1, 2, 5, 10, 30, 60, 60, 60] {
            assert_eq!(shard.next(Lost::Unopened, MIDDLE), secs(wait));
        }
    }

    #[test]
    fn a_stable_socket_ends_the_series_and_a_short_one_does_not() {
        let mut shard = Reconnect::default();
        let first = |shard: &mut Reconnect, lost| shard.next(lost, MIDDLE) < secs(1);
        assert!(first(&mut shard, broken(secs(60))));
        assert!(first(&mut shard, broken(secs(60))));
        assert!(!first(&mut shard, broken(secs(59))));
        assert!(first(&mut shard, Lost::Routine { lived: secs(1_800) }));
    }

    #[test]
    fn sockets_that_break_at_once_three_times_earn_the_longest_wait() {
        let mut shard = Reconnect::default();
        shard.next(broken(secs(1)), MIDDLE);
        shard.next(Lost::Routine { lived: secs(1) }, MIDDLE);
        assert_eq!(shard.next(broken(secs(4)), MIDDLE), secs(2));
        assert_eq!(shard.next(broken(secs(4)), MIDDLE), secs(60));
        assert_eq!(shard.next(broken(secs(4)), MIDDLE), secs(10));
    }

    #[test]
    fn routine_ends_are_never_quick_breaks() {
        let mut shard = Reconnect::default();
        let waits: Vec<_> =
            (0..4).map(|_| shard.next(Lost::Routine { lived: secs(1) }, MIDDLE)).collect();
        assert_eq!(waits, [Duration::from_millis(250), secs(1), secs(2), secs(5)]);
    }

    #[test]
    fn rest_attempts_spread_over_the_whole_wait() {
        assert_eq!(Doubling::REST.delay(1, 0.0), Duration::ZERO);
        assert_eq!(Doubling::REST.delay(2, MIDDLE), secs(1));
        assert_eq!(Doubling::TOKEN.delay(1, MIDDLE), secs(1));
        assert_eq!(Doubling::TOKEN.delay(3, MIDDLE), secs(4));
        assert_eq!(Doubling::TOKEN.delay(u32::MAX, MIDDLE), secs(60));
    }

    #[test]
    fn retries_are_a_share_of_the_requests() {
        let mut budget = RetryBudget::new(10);
        let saved = std::iter::repeat_with(|| budget.spend()).take_while(|&left| left).count();
        assert_eq!(saved, 10);
        for _ in 0..9 {
            budget.earn();
            assert!(!budget.spend());
        }
        budget.earn();
        assert!(budget.spend());
        let mut none = RetryBudget::new(0);
        (0..1_000).for_each(|_| none.earn());
        assert!(!none.spend());
    }

    proptest! {
        #[test]
        fn every_wait_is_bounded(
            lives in prop::collection::vec((0..100_u64, 0.0..1.0_f64), 1..60),
        ) {
            let mut shard = Reconnect::default();
            for (failures, &(lived, jitter)) in lives.iter().enumerate() {
                prop_assert!(shard.next(broken(secs(lived)), jitter) <= secs(72));
                let failures = u32::try_from(failures).expect("under 60");
                prop_assert!(Doubling::TOKEN.delay(failures, jitter) <= secs(72));
                prop_assert!(Doubling::REST.delay(failures, jitter) <= secs(30));
            }
        }
    }
}
