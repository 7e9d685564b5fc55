//! How many IDENTIFYs a bot may still start: so many in any 5 s, and so many a day.
//!
//! A day's identifies are the scarcest thing the platform gives out. One budget per bot serves
//! the whole cluster, and a tenth of it is kept for people: a crash loop at night must not leave
//! nobody able to mend it in the morning.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::UnixMs;

/// What `/gateway/bot` says of a bot's identifies.
///
/// Source: PLATFORM.md, "gateway discovery".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartLimit {
    /// Identifies a day.
    pub total: u32,
    /// Those left of them.
    pub remaining: u32,
    /// Time until all of them are there again.
    pub reset_after: Duration,
    /// Identifies in any 5 s.
    pub max_concurrency: u32,
}

/// Who wants to identify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The relay by itself.
    Relay,
    /// A person who told it to; may use the reserve.
    Person,
}

/// Whether an IDENTIFY may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Now, and it has been counted.
    Now,
    /// Ask again after this.
    After(Duration),
    /// What is left of the day is not for the asker. Somebody should know.
    RefusedUntil(UnixMs),
}

/// One bot's identifies; see the module. A store changes it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentifyBudget {
    total: u32,
    remaining: u32,
    resets_at: UnixMs,
    max_concurrency: u32,
    /// Those of the last 5 s, oldest first.
    recent: Vec<UnixMs>,
}

impl IdentifyBudget {
    /// The stretch of time that `max_concurrency` is for. An official SDK takes 2 s, the documents
    /// say 5.
    ///
    /// Source: PLATFORM.md, "identify limits".
    pub const WINDOW: Duration = Duration::from_secs(5);
    /// The platform's day.
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    /// One part in this many is kept for people.
    const RESERVE: u32 = 10;
    /// More at once than this nobody has been given; a bound for what is remembered.
    const CONCURRENCY_MAX: u32 = 100;

    /// A budget as `/gateway/bot` told it at `now`.
    #[must_use]
    pub fn new(limit: StartLimit, now: UnixMs) -> Self {
        let mut budget =
            Self { total: 0, remaining: 0, resets_at: now, max_concurrency: 1, recent: Vec::new() };
        budget.learn(limit, now, now);
        budget
    }

    /// Takes in a newer answer of `/gateway/bot`, asked for at `asked_at` and read at `now`. It
    /// cannot know of identifies since it was asked for, so these are taken off.
    pub fn learn(&mut self, limit: StartLimit, asked_at: UnixMs, now: UnixMs) {
        let since = self.recent.iter().filter(|&&at| at >= asked_at).count();
        let since = u32::try_from(since).unwrap_or(u32::MAX);
        self.total = limit.total.max(1);
        self.remaining = limit.remaining.min(self.total).saturating_sub(since);
        self.resets_at = now.plus(limit.reset_after.min(Self::DAY));
        self.max_concurrency = limit.max_concurrency.clamp(1, Self::CONCURRENCY_MAX);
    }

    /// Asks for one IDENTIFY, and counts it if it may be sent.
    pub fn ask(&mut self, asker: Asker, now: UnixMs) -> Permit {
        if self.resets_at <= now {
            (self.remaining, self.resets_at) = (self.total, now.plus(Self::DAY));
        }
        let kept = match asker {
            Asker::Relay => Self::kept(self.total),
            Asker::Person => 0,
        };
        if self.remaining <= kept {
            // A clock that stepped back must not lock a bot out for longer than a day.
            self.resets_at = self.resets_at.min(now.plus(Self::DAY));
            return Permit::RefusedUntil(self.resets_at);
        }
        self.forget(now);
        let concurrency = usize::try_from(self.max_concurrency).unwrap_or(usize::MAX);
        if let Some(oldest) = self.recent.len().checked_sub(concurrency) {
            let free_at = self.recent[oldest].plus(Self::WINDOW);
            return Permit::After(free_at.since(now));
        }
        self.remaining -= 1;
        self.recent.push(now);
        Permit::Now
    }

    /// Identifies left today, those kept for people included.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Identifies of a day that are not for the relay.
    const fn kept(total: u32) -> u32 {
        total / Self::RESERVE
    }

    /// Drops what is out of the window. What lies ahead, because the clock stepped back, counts as
    /// if it were now.
    fn forget(&mut self, now: UnixMs) {
        self.recent.retain(|&at| now.since(at) < Self::WINDOW);
        for at in &mut self.recent {
            *at = (*at).min(now);
        }
    }
}

/// One gateway among those that live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Its place among them, from 0.
    pub place: u32,
    /// How many they are.
    pub of: u32,
}

impl Share {
    /// There is no other.
    pub const ALONE: Self = Self { place: 0, of: 1 };
}

/// What one gateway starts by itself while the budget of all cannot be read.
///
/// Where the platform allows as many at once as there are gateways, or more, each has its part.
/// Else they take turns by the wall clock, with one window of nothing between two turns.
/// Nothing is started in the first window either: what the budget of all gave out last is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnBudget {
    /// Those of the last window, oldest first.
    recent: Vec<UnixMs>,
    /// Since when the budget of all cannot be read.
    alone_since: Option<UnixMs>,
}

impl OwnBudget {
    /// Asks for one IDENTIFY, and counts it if it may be sent. `limit` is what the platform said
    /// lately, for nobody here counts the day.
    pub fn ask(&mut self, limit: StartLimit, share: Share, now: UnixMs) -> Permit {
        if limit.remaining <= IdentifyBudget::kept(limit.total) {
            let again = limit.reset_after.min(IdentifyBudget::DAY);
            return Permit::RefusedUntil(now.plus(again));
        }
        let since = self.alone_since.get_or_insert(now);
        *since = (*since).min(now); // a clock that stepped back holds nobody up
        let alone_for = now.since(*since);
        if alone_for < IdentifyBudget::WINDOW {
            return Permit::After(IdentifyBudget::WINDOW.saturating_sub(alone_for));
        }
        let at_once = limit.max_concurrency.clamp(1, IdentifyBudget::CONCURRENCY_MAX);
        let of = share.of.max(1);
        if let Some(wait) = until_turn(share.place, of.div_ceil(at_once), at_once, now) {
            return Permit::After(wait);
        }
        match self.wait(usize::try_from((at_once / of).max(1)).unwrap_or(1), now) {
            Some(wait) => Permit::After(wait),
            None => {
                self.recent.push(now);
                Permit::Now
            }
        }
    }

    /// The budget of all can be read.
    pub const fn together(&mut self) {
        self.alone_since = None;
    }

    /// How long what was started here is still to be kept apart from what others start.
    pub fn settling(&mut self, now: UnixMs) -> Option<Duration> {
        self.wait(1, now)
    }

    fn wait(&mut self, at_once: usize, now: UnixMs) -> Option<Duration> {
        self.recent.retain(|&at| at <= now && now.since(at) < IdentifyBudget::WINDOW);
        let oldest = self.recent[self.recent.len().checked_sub(at_once)?];
        Some(oldest.plus(IdentifyBudget::WINDOW).since(now))
    }
}

/// How long until it is this gateway's turn of so many turns; nothing where it is.
fn until_turn(place: u32, turns: u32, at_once: u32, now: UnixMs) -> Option<Duration> {
    let window = IdentifyBudget::WINDOW.as_millis() as u64;
    let (turns, turn) = (u64::from(turns), u64::from(place / at_once));
    let round = if turns == 1 { window } else { 2 * window * turns };
    let (begin, at) = (2 * window * (turn % turns), now.0 % round);
    let is_ours = (begin..begin + window).contains(&at);
    (!is_ours).then(|| Duration::from_millis((begin + round - at) % round))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMs = UnixMs(1_000_000_000);

    fn limit(total: u32, remaining: u32, max_concurrency: u32) -> StartLimit {
        let reset_after = Duration::from_secs(3_600);
        StartLimit { total, remaining, reset_after, max_concurrency }
    }

    fn after(ms: u64) -> UnixMs {
        NOW.plus(Duration::from_millis(ms))
    }

    #[test]
    fn as_many_as_the_platform_says_start_in_any_five_seconds() {
        let mut budget = IdentifyBudget::new(limit(1_000, 998, 2), NOW);
        assert_eq!(budget.ask(Asker::Relay, NOW), Permit::Now);
        assert_eq!(budget.ask(Asker::Relay, after(3_000)), Permit::Now);
        let wait = Permit::After(Duration::from_millis(1_500));
        assert_eq!(budget.ask(Asker::Relay, after(3_500)), wait);
        assert_eq!(budget.ask(Asker::Relay, after(5_000)), Permit::Now);
        assert_eq!(budget.remaining(), 995);
    }

    #[test]
    fn the_last_tenth_is_for_people() {
        let mut budget = IdentifyBudget::new(limit(1_000, 101, 100), NOW);
        let end = NOW.plus(Duration::from_secs(3_600));
        assert_eq!(budget.ask(Asker::Relay, NOW), Permit::Now);
        assert_eq!(budget.ask(Asker::Relay, NOW), Permit::RefusedUntil(end));
        assert_eq!(budget.ask(Asker::Person, NOW), Permit::Now);
        assert_eq!(budget.ask(Asker::Relay, end), Permit::Now);
        assert_eq!(budget.remaining(), 999);
    }

    #[test]
    fn a_small_budget_has_no_reserve() {
        let mut budget = IdentifyBudget::new(limit(1, 1, 1), NOW);
        assert_eq!(budget.ask(Asker::Relay, NOW), Permit::Now);
        assert!(matches!(budget.ask(Asker::Person, NOW), Permit::RefusedUntil(_)));
    }

    #[test]
    fn an_answer_that_was_on_its_way_does_not_give_back_what_was_used() {
        let mut budget = IdentifyBudget::new(limit(1_000, 500, 10), NOW);
        budget.ask(Asker::Relay, after(1_000));
        budget.ask(Asker::Relay, after(1_100));
        budget.learn(limit(1_000, 499, 10), after(1_050), after(1_200));
        assert_eq!(budget.remaining(), 498);
    }

    #[test]
    fn numbers_no_platform_would_send_are_bounded() {
        let far = StartLimit { reset_after: Duration::MAX, ..limit(0, u32::MAX, 0) };
        let mut budget = IdentifyBudget::new(far, NOW);
        assert_eq!(budget.ask(Asker::Relay, NOW), Permit::Now);
        let tomorrow = NOW.plus(IdentifyBudget::DAY);
        assert_eq!(budget.ask(Asker::Relay, NOW), Permit::RefusedUntil(tomorrow));
    }

    #[test]
    fn alone_a_gateway_leaves_people_their_tenth() {
        let mut own = OwnBudget::default();
        let refused = Permit::RefusedUntil(NOW.plus(Duration::from_secs(3_600)));
        assert_eq!(own.ask(limit(1_000, 100, 1), Share::ALONE, NOW), refused);
        let (window, wait) = (IdentifyBudget::WINDOW, Duration::from_millis(4_000));
        let mut ask = |ms| own.ask(limit(1_000, 101, 1), Share::ALONE, after(ms));
        assert_eq!(ask(0), Permit::After(window), "others may have started just before");
        assert_eq!((ask(5_000), ask(6_000)), (Permit::Now, Permit::After(wait)));
        own.together();
        assert_eq!(own.settling(after(6_000)), Some(wait), "and once the state answers again");
        assert_eq!(own.settling(after(10_000)), None);
    }

    proptest! {
        /// Gateways that cannot count together start no more in any window than the platform allows,
        /// and each of them gets its turn.
        #[test]
        fn gateways_apart_start_no_more_than_all_may(of in 1..7_u32, at_once in 1..9_u32) {
            let mut own = vec![OwnBudget::default(); of as usize];
            let (mut started, mut each) = (Vec::new(), vec![0; of as usize]);
            for ms in (0..200_000).step_by(250) {
                for (place, own) in (0..).zip(&mut own) {
                    let permit = own.ask(limit(1_000, 1_000, at_once), Share { place, of }, after(ms));
                    match permit {
                        Permit::Now => {
                            started.push(ms);
                            each[place as usize] += 1;
                        }
                        Permit::After(wait) => prop_assert!(!wait.is_zero()),
                        Permit::RefusedUntil(_) => prop_assert!(false, "{permit:?}"),
                    }
                }
            }
            for (place, start) in started.iter().enumerate() {
                let window = started[place..].iter().take_while(|&&at| at < start + 5_000);
                prop_assert!(window.count() <= at_once as usize);
            }
            prop_assert!(each.iter().all(|&started| started >= 2), "{each:?}");
        }

        /// Whatever the clock does, in any stretch of its way forward of 5 s no more start than
        /// may, and no more in a day than are not kept.
        #[test]
        fn no_order_of_asking_overdraws(
            concurrency in 1..5_u32,
            remaining in 0..60_u32,
            steps in prop::collection::vec(-3_000_i64..4_000, 1..200),
        ) {
            let day = StartLimit { reset_after: IdentifyBudget::DAY, ..limit(100, remaining, concurrency) };
            let mut budget = IdentifyBudget::new(day, NOW);
            let (mut now, mut forward, mut started) = (NOW, 0_u64, Vec::new());
            for step in steps {
                now = UnixMs(now.0.saturating_add_signed(step));
                forward += u64::try_from(step).unwrap_or(0);
                match budget.ask(Asker::Relay, now) {
                    Permit::Now => started.push(forward),
                    Permit::After(wait) => prop_assert!(wait <= IdentifyBudget::WINDOW),
                    Permit::RefusedUntil(_) => prop_assert!(budget.remaining() <= 10),
                }
            }
            prop_assert!(started.len() <= remaining.saturating_sub(10) as usize);
            for (place, start) in started.iter().enumerate() {
                let window = started[place..].iter().take_while(|&&at| at < start + 5_000);
                prop_assert!(window.count() <= concurrency as usize);
            }
        }
    }
}
