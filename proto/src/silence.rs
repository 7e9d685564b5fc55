//! Whether a busy shard has been silent for too long.
//!
//! The platform can keep a socket, acknowledge its heartbeats, resume the session, and send nothing
//! more. Nothing on the wire tells that from a quiet night, so that only a shard is suspected that
//! has been busy, by what is usual for it. The first remedy is a RESUME, which costs nothing; then
//! the session is given up a few times a day.
//!
//! Source: PLATFORM.md, "sessions that fall silent".

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Events within [`DAY`] that make a shard busy; as many are remembered.
const BUSY: usize = 50;

/// The time in which they have to come.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Usual pauses that make a silence, where they are longer than the shortest silence.
const PAUSES: u32 = 20;

/// Sessions given up for silence in a [`DAY`]: what the platform allows to be begun is limited.
const GIVEN_UP_MAX: usize = 4;

/// What to do about a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Leave the socket and resume the session.
    Resume,
    /// Give the session up and begin another.
    GiveUp,
}

/// One shard's events, as far as its silence goes.
#[derive(Debug, Clone, Default)]
pub struct Silence {
    /// When the newest events came.
    events: VecDeque<Instant>,
    /// When something was last done about it, since the newest event.
    tried: Option<Instant>,
    /// When sessions were given up.
    given_up: VecDeque<Instant>,
}

impl Silence {
    /// An event came.
    pub fn event(&mut self, now: Instant) {
        if self.events.len() == BUSY {
            self.events.pop_front();
        }
        self.events.push_back(now);
        self.tried = None;
    }

    /// When the silence is too long, where `shortest` is the shortest that is; `None` while the
    /// shard has not been busy.
    #[must_use]
    pub fn deadline(&self, shortest: Duration) -> Option<Instant> {
        let (first, last) = (self.events.front()?, self.events.back()?);
        let is_busy = self.events.len() == BUSY && last.duration_since(*first) <= DAY;
        let pause = self.usual_pause()?.saturating_mul(PAUSES).max(shortest);
        is_busy.then(|| self.tried.unwrap_or(*last) + pause)
    }

    /// What to do once [`Silence::deadline`] is over; `None` once enough was done for a day.
    pub fn remedy(&mut self, now: Instant) -> Option<Remedy> {
        let is_first = self.tried.replace(now).is_none();
        if is_first {
            return Some(Remedy::Resume);
        }
        self.given_up.retain(|at| now.duration_since(*at) < DAY);
        if self.given_up.len() == GIVEN_UP_MAX {
            return None;
        }
        self.given_up.push_back(now);
        Some(Remedy::GiveUp)
    }

    /// The median of the pauses between events.
    fn usual_pause(&self) -> Option<Duration> {
        let pairs = self.events.iter().zip(self.events.iter().skip(1));
        let mut pauses: Vec<_> = pairs.map(|(one, next)| next.duration_since(*one)).collect();
        pauses.sort_unstable();
        pauses.get(pauses.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const SHORTEST: Duration = Duration::from_secs(30 * 60);

    #[expect(clippy::disallowed_methods, reason = "an `Instant` has no literal to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    /// So many events, one each `pause`; and the time of the last.
    fn after(count: u32, pause: Duration) -> (Silence, Instant) {
        let (mut silence, begin) = (Silence::default(), start());
        (0..count).for_each(|number| silence.event(begin + pause * number));
        (silence, begin + pause * (count - 1))
    }

    #[test]
    fn only_what_was_busy_is_suspected_by_what_is_usual_for_it() {
        let check = |count, pause, expected: Option<Duration>| {
            let (silence, last) = after(count, pause);
            assert_eq!(silence.deadline(SHORTEST), expected.map(|wait| last + wait), "{pause:?}");
        };
        check(49, MINUTE, None);
        check(50, MINUTE / 60, Some(SHORTEST));
        check(200, MINUTE, Some(SHORTEST));
        check(50, MINUTE * 10, Some(MINUTE * 200));
        check(50, MINUTE * 30, None);
    }

    #[test]
    fn it_is_resumed_once_and_given_up_four_times_a_day() {
        let (mut silence, mut now) = after(50, MINUTE);
        let mut remedies = Vec::new();
        for _ in 0..48 {
            now = silence.deadline(SHORTEST).expect("it was busy");
            remedies.push(silence.remedy(now));
        }
        let given_up = [Some(Remedy::GiveUp); 4];
        assert_eq!(remedies[0], Some(Remedy::Resume));
        assert_eq!(remedies[1..5], given_up);
        assert!(remedies[5..].iter().all(Option::is_none), "for a day");
        silence.event(now + MINUTE);
        assert_eq!(silence.remedy(now + SHORTEST), Some(Remedy::Resume), "a new silence");
    }
}
