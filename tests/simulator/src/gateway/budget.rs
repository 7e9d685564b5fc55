//! How many sessions a bot may still create.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use qqrelay_proto::id::AppId;

use crate::clock::WallMs;
use crate::lock;

/// Counts IDENTIFYs per bot. Counting goes on where nothing is enforced.
///
/// Source: spec/gateway.md §1.2.
#[derive(Debug, Default)]
pub struct IdentifyBudget {
    bots: Mutex<HashMap<AppId, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    /// Those within the last [`PACE_WINDOW`].
    recent: VecDeque<WallMs>,
    day_began: WallMs,
    used: u32,
}

/// What an IDENTIFY meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identifies {
    /// It is within both limits.
    Within,
    /// Too many at once.
    TooFast,
    /// Too many today.
    UsedUp,
}

/// What is left, as `/gateway/bot` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// IDENTIFYs until the reset.
    pub remaining: u32,
    /// Time until the reset.
    pub reset_after: Duration,
}

/// The time in which `max_concurrency` IDENTIFYs may start.
const PACE_WINDOW: WallMs = 5_000;
const DAY: WallMs = 24 * 3_600_000;

impl IdentifyBudget {
    /// Counts one. Refused or not, it is an attempt that the pace counts; only one that is within
    /// both limits uses up the day.
    pub fn spend(&self, app: &AppId, at_once: u32, a_day: u32, now: WallMs) -> Identifies {
        let mut bots = lock(&self.bots);
        let account = bots.entry(app.clone()).or_default();
        account.turn(now);
        account.recent.push_back(now);
        if account.used >= a_day {
            return Identifies::UsedUp;
        }
        account.used += 1;
        let at_once = usize::try_from(at_once.max(1)).unwrap_or(usize::MAX);
        if account.recent.len() > at_once { Identifies::TooFast } else { Identifies::Within }
    }

    /// What is left of the day.
    #[must_use]
    pub fn left(&self, app: &AppId, a_day: u32, now: WallMs) -> Left {
        let mut bots = lock(&self.bots);
        let account = bots.entry(app.clone()).or_default();
        account.turn(now);
        let reset_after = u64::try_from(account.day_began + DAY - now).unwrap_or(0);
        Left {
            remaining: a_day.saturating_sub(account.used),
            reset_after: Duration::from_millis(reset_after),
        }
    }

    /// Uses up the day but for so many.
    pub fn leave(&self, app: &AppId, remaining: u32, a_day: u32, now: WallMs) {
        let mut bots = lock(&self.bots);
        let account = bots.entry(app.clone()).or_default();
        account.turn(now);
        account.used = a_day.saturating_sub(remaining);
    }
}

impl Account {
    fn turn(&mut self, now: WallMs) {
        if now - self.day_began >= DAY {
            self.day_began = now;
            self.used = 0;
        }
        while self.recent.front().is_some_and(|at| now - at >= PACE_WINDOW) {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_used_up_and_comes_back() {
        let (budget, app) = (IdentifyBudget::default(), AppId::from("1"));
        let start = 1_000_000_000;
        for n in 0..3 {
            assert_eq!(budget.spend(&app, 1, 3, start + n * 5_000), Identifies::Within);
        }
        assert_eq!(budget.spend(&app, 1, 3, start + 20_000), Identifies::UsedUp);
        let left = budget.left(&app, 3, start + 20_000);
        assert_eq!(left, Left { remaining: 0, reset_after: Duration::from_millis(86_380_000) });
        assert_eq!(budget.left(&app, 3, start + DAY).remaining, 3);
        budget.leave(&app, 1, 3, start + DAY);
        assert_eq!(budget.left(&app, 3, start + DAY).remaining, 1);
    }

    #[test]
    fn only_so_many_start_within_five_seconds() {
        let (budget, app) = (IdentifyBudget::default(), AppId::from("1"));
        let start = 1_000_000_000;
        let spend = |at: WallMs| budget.spend(&app, 2, 1000, start + at);
        assert_eq!([spend(0), spend(1)], [Identifies::Within; 2]);
        assert_eq!(spend(4_999), Identifies::TooFast);
        assert_eq!(spend(9_999), Identifies::Within);
    }
}
