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

    /// Before the servers that a process needs to begin at all are looked for again.
    pub const SERVERS: Self =
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(15), spread: Spread::Fifth };

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The middle of the spread: a fifth less and a fifth more even out.
    const MIDDLE: f64 = 0.5;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
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
        fn every_wait_is_bounded(failures in any::<u32>(), jitter in 0.0..1.0_f64) {
            prop_assert!(Doubling::TOKEN.delay(failures, jitter) <= secs(72));
            prop_assert!(Doubling::REST.delay(failures, jitter) <= secs(30));
        }
    }
}
