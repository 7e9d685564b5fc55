//! Which events of a source the log holds already, from the last fifteen minutes.
//!
//! The platform pushes events again under new sequences, minutes after they were acknowledged. The
//! memory is bounded in time and number; what falls out of it would be stored as an event again,
//! under the same id, and consumers recognise it by that.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// How long an event is remembered.
///
/// Source: PLATFORM.md, "duplicates".
pub(super) const REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// Most events remembered of one source; at 16 bytes of hash and 24 of place each, about 16 MiB.
pub(super) const REMEMBERED_MAX: usize = 1 << 18;

/// One source's memory. Ids are kept as two keyed hashes: a collision would take 2^64 events.
#[derive(Debug, Default)]
pub(super) struct Memory {
    hashers: [RandomState; 2],
    places: HashMap<Key, Place>,
    order: VecDeque<(Instant, Key)>,
}

/// An event's id, as the memory keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u64; 2]);

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On its way to the log.
    Pending,
    /// In the record with this number.
    Stored(u64),
}

impl Memory {
    /// The key of an event's id.
    pub(super) fn key(&self, id: &str) -> Key {
        Key([self.hashers[0].hash_one(id), self.hashers[1].hash_one(id)])
    }

    /// Where an event is, if it is known.
    pub(super) fn place(&self, key: Key) -> Option<Place> {
        self.places.get(&key).copied()
    }

    /// Remembers an event, or where it has come to. `at` never goes back.
    pub(super) fn remember(&mut self, at: Instant, key: Key, place: Place) {
        self.forget_old(at);
        if self.places.insert(key, place).is_none() {
            self.order.push_back((at, key));
        }
    }

    /// An event that was on its way has its place; one that was forgotten meanwhile stays so.
    pub(super) fn settle(&mut self, key: Key, number: u64) {
        if let Some(place) = self.places.get_mut(&key) {
            *place = Place::Stored(number);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.order.clear();
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.order.front() {
            let old = now.saturating_duration_since(at) >= REMEMBERED;
            if !old && self.order.len() < REMEMBERED_MAX {
                return;
            }
            self.order.pop_front();
            self.places.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_for_a_quarter_of_an_hour() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let [a, b] = ["102:a", "102:b"].map(|id| memory.key(id));
        memory.remember(start, a, Place::Pending);
        memory.settle(a, 7);
        memory.settle(b, 7);
        assert_eq!((memory.place(a), memory.place(b)), (Some(Place::Stored(7)), None));
        memory.remember(start + REMEMBERED, b, Place::Stored(8));
        assert_eq!((memory.place(a), memory.place(b)), (None, Some(Place::Stored(8))));
    }

    #[test]
    fn a_flood_forgets_the_oldest_and_nothing_grows() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let keys = [0, 1].map(|number: usize| memory.key(&number.to_string()));
        for number in 0..=REMEMBERED_MAX {
            let key = memory.key(&number.to_string());
            memory.remember(now, key, Place::Pending);
        }
        assert_eq!(keys.map(|key| memory.place(key)), [None, Some(Place::Pending)]);
        assert_eq!(memory.places.len(), memory.order.len());
    }
}
