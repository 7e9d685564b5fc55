//! Whose a partition or lane is, by one process's own monotonic clock: when its holder renews, how
//! long it may act, and when a watcher may take it.
//!
//! A lease is a hint that makes takeovers quick and rare; the log settles ownership. No clock of
//! the store or of another process is trusted: a watcher takes what has stood still for its whole
//! observe window, by its own clock. The rule a newcomer would break: renewing never takes a lease,
//! so a holder that was told it is lost starts from the top.

use std::time::{Duration, Instant};

/// The times of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// Time between two renewals; three of them fit the observe window.
    pub renew: Duration,
    /// How long after the last renewal its holder still starts something new.
    pub act: Duration,
    /// How long a watcher sees a lease stand still before it takes it.
    pub observe: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self {
            renew: Duration::from_millis(1_500),
            act: Duration::from_secs(4),
            observe: Duration::from_secs(6),
        }
    }
}

impl LeaseTimes {
    /// Whether three renewals fit the observe window, one may be missed without a pause, and a
    /// holder stops before a watcher may take over.
    #[must_use]
    pub fn fit(&self) -> bool {
        !self.renew.is_zero()
            && self.renew * 2 < self.act
            && self.act < self.observe
            && self.renew * 3 <= self.observe
    }
}

/// A lease that this process took.
#[derive(Debug, Clone)]
pub struct Holding {
    times: LeaseTimes,
    renewed: Option<Instant>,
    /// When the last call to renew it began, answered or not.
    asked: Instant,
}

impl Holding {
    /// A lease taken by a call that began at `asked`: the store may have written it at any time
    /// since, so the earliest counts.
    #[must_use]
    pub const fn taken(times: LeaseTimes, asked: Instant) -> Self {
        Self { times, renewed: Some(asked), asked }
    }

    /// When to renew it next.
    #[must_use]
    pub fn renew_at(&self) -> Instant {
        self.asked + self.times.renew
    }

    /// A call to renew it begins.
    pub fn asking(&mut self, now: Instant) {
        self.asked = now;
    }

    /// The call that began last was answered: it is held on.
    pub fn renewed(&mut self) {
        self.renewed = self.renewed.and(Some(self.asked));
    }

    /// It is lost, or given away; nothing brings this holding back.
    pub fn lost(&mut self) {
        self.renewed = None;
    }

    /// Whether something new may be started under it. Ask right before: who was paused does not
    /// know it.
    #[must_use]
    pub fn may_act(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|at| now.saturating_duration_since(at) < self.times.act)
    }
}

/// What a watcher may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Nobody holds it: take it, if it is still free.
    Free,
    /// It has stood still for long enough: take it, if it is still as it was seen.
    Abandoned,
    /// Its holder lives, as far as is known; look again no later than after this.
    Alive(Duration),
}

/// A lease of somebody else's, seen again and again.
///
/// `L` is what the store shows of it: owner, incarnation and counter, so that every renewal and
/// every change of hands is a difference.
#[derive(Debug, Clone)]
pub struct Watch<L> {
    times: LeaseTimes,
    /// What was seen, and when it was first seen so.
    seen: Option<(L, Instant)>,
}

impl<L: PartialEq> Watch<L> {
    /// A watcher that has seen nothing yet.
    #[must_use]
    pub const fn new(times: LeaseTimes) -> Self {
        Self { times, seen: None }
    }

    /// The store showed this, in answer to a call that was answered at `now`.
    pub fn saw(&mut self, now: Instant, lease: Option<L>) -> Watched {
        let Some(lease) = lease else {
            self.seen = None;
            return Watched::Free;
        };
        let since = match self.seen.take() {
            Some((seen, since)) if seen == lease => since,
            _ => now,
        };
        self.seen = Some((lease, since));
        let still = now.saturating_duration_since(since);
        match self.times.observe.saturating_sub(still) {
            Duration::ZERO => Watched::Abandoned,
            left => Watched::Alive(left.min(self.times.renew)),
        }
    }

    /// What was seen last: whoever takes an abandoned lease takes exactly this one, or none.
    #[must_use]
    pub fn seen(&self) -> Option<&L> {
        self.seen.as_ref().map(|(lease, _)| lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMES: LeaseTimes = LeaseTimes {
        renew: Duration::from_millis(1_500),
        act: Duration::from_secs(4),
        observe: Duration::from_secs(6),
    };

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[expect(clippy::disallowed_methods, reason = "an `Instant` has no literal to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_times_we_ship_leave_room_for_three_renewals() {
        assert_eq!(LeaseTimes::default(), TIMES);
        assert!(TIMES.fit());
        assert!(!LeaseTimes { renew: ms(2_100), ..TIMES }.fit());
        assert!(!LeaseTimes { act: ms(6_000), ..TIMES }.fit());
        assert!(!LeaseTimes { renew: ms(0), ..TIMES }.fit());
    }

    #[test]
    fn a_holder_acts_only_on_a_fresh_renewal() {
        let begin = start();
        let mut holding = Holding::taken(TIMES, begin);
        assert_eq!(holding.renew_at(), begin + ms(1_500));
        assert!(holding.may_act(begin + ms(3_999)));
        assert!(!holding.may_act(begin + ms(4_000)));
        holding.asking(begin + ms(1_500));
        assert!(!holding.may_act(begin + ms(4_000)), "no answer has come");
        holding.renewed();
        assert!(holding.may_act(begin + ms(5_499)), "the call counts from its beginning");
    }

    #[test]
    fn what_is_lost_stays_lost() {
        let begin = start();
        let mut holding = Holding::taken(TIMES, begin);
        holding.asking(begin + ms(100));
        holding.lost();
        holding.renewed();
        assert!(!holding.may_act(begin + ms(100)));
    }

    #[test]
    fn a_lease_that_stands_still_for_the_whole_window_is_abandoned() {
        let begin = start();
        let mut watch = Watch::new(TIMES);
        assert_eq!(watch.saw(begin, Some(7)), Watched::Alive(ms(1_500)));
        assert_eq!(watch.saw(begin + ms(5_000), Some(7)), Watched::Alive(ms(1_000)));
        assert_eq!(watch.saw(begin + ms(5_900), Some(8)), Watched::Alive(ms(1_500)));
        assert_eq!(watch.saw(begin + ms(11_899), Some(8)), Watched::Alive(ms(1)));
        assert_eq!(watch.saw(begin + ms(11_900), Some(8)), Watched::Abandoned);
        assert_eq!(watch.seen(), Some(&8));
        assert_eq!(watch.saw(begin + ms(12_000), None), Watched::Free);
        assert_eq!(watch.saw(begin + ms(12_000), Some(8)), Watched::Alive(ms(1_500)));
    }

    /// A store that keeps its promise: what is taken is taken once, what is renewed was held.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Stored {
        owner: usize,
        incarnation: u32,
        counter: u32,
    }

    proptest! {
        /// Processes that run, pause for any time and go on, each on a clock of its own: no two
        /// may act at once, and what is left alone is taken within the window and two looks.
        #[test]
        fn two_never_act_at_once_and_nothing_stays_ownerless(
            pauses in prop::collection::vec((0..3_usize, 0..20_000_u64), 0..20),
        ) {
            let begin = start();
            let mut store: Option<Stored> = None;
            let mut watches = [(); 3].map(|()| Watch::new(TIMES));
            let mut holdings: [Option<(Stored, Holding)>; 3] = [const { None }; 3];
            let mut awake_at = [0_u64; 3];
            let (mut pauses, mut ownerless) = (pauses.into_iter(), 0_u64);
            for tick in (0..240_000).step_by(100) {
                let now = begin + ms(tick);
                if tick % 5_000 == 0 && let Some((process, pause)) = pauses.next() {
                    awake_at[process] = tick + pause;
                }
                for process in (0..3).filter(|&process| awake_at[process] <= tick) {
                    match &mut holdings[process] {
                        Some((lease, holding)) if holding.renew_at() <= now => {
                            holding.asking(now);
                            let mine = |stored: &&mut Stored| {
                                (stored.owner, stored.incarnation) == (lease.owner, lease.incarnation)
                            };
                            if let Some(stored) = store.as_mut().filter(mine) {
                                stored.counter += 1;
                                holding.renewed();
                            } else {
                                holding.lost();
                                holdings[process] = None;
                            }
                        }
                        Some(_) => {}
                        None => match watches[process].saw(now, store) {
                            Watched::Alive(_) => {}
                            Watched::Free | Watched::Abandoned => {
                                let incarnation = store.map_or(0, |stored| stored.incarnation) + 1;
                                let lease = Stored { owner: process, incarnation, counter: 0 };
                                store = Some(lease);
                                holdings[process] = Some((lease, Holding::taken(TIMES, now)));
                            }
                        },
                    }
                }
                let acting = holdings.iter().flatten().filter(|(_, held)| held.may_act(now)).count();
                prop_assert!(acting <= 1, "{acting} act at {tick} ms");
                let someone_awake = awake_at.iter().any(|&at| at <= tick);
                ownerless = if acting == 0 && someone_awake { ownerless + 100 } else { 0 };
                prop_assert!(ownerless <= 20_000 + 8_000, "nobody acts for {ownerless} ms");
            }
        }
    }
}
