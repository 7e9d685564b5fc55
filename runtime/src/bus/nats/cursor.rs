//! How far a lane is on one stream: what waits, what is out, what is finished.
//!
//! The server numbers a consumer's deliveries without holes, so that a hole tells of a message that
//! went missing on the way. What comes again is known by where it stands here: in hand, finished,
//! or neither, which means that order is lost and the consumer must be made anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use async_nats::Subject;
use qqrelay_proto::record::Stored;

use super::delivery::Place;
use super::pull::{BATCH, Pull};
use super::take::Held;
use crate::bus::{Delivery, Position, UNACKED_MAX};

/// Pieces that may wait here for their turn, those on their way included.
const AHEAD_MAX: usize = 2 * BATCH;

/// One stream of a lane.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) held: Held,
    pub(super) pull: Pull,
    pub(super) health: Health,
    /// The number of the newest delivery.
    pub(super) delivery: u64,
    /// Up to here, everything of the lane came.
    seen: u64,
    ahead: VecDeque<(Stored, Subject)>,
    /// Given and not acknowledged, each with how to acknowledge it.
    out: BTreeMap<u64, Subject>,
    /// Acknowledged above the first that is not.
    finished: BTreeSet<u64>,
}

/// Whether a consumer can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// As far as we know.
    Good,
    /// It may be gone, or may have sent what did not arrive.
    Doubtful,
    /// Something did not arrive.
    Broken,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It waits for its turn, or is in hand already.
    Kept,
    /// It is finished, and has to be acknowledged again.
    Finished(Subject),
}

impl Cursor {
    pub(super) fn new(held: Held, pull: Pull) -> Self {
        Self {
            held,
            pull,
            health: Health::Good,
            delivery: 0,
            seen: 0,
            ahead: VecDeque::new(),
            out: BTreeMap::new(),
            finished: BTreeSet::new(),
        }
    }

    /// Goes on with a consumer made anew, which gives everything unfinished again.
    pub(super) fn restart(&mut self, held: Held, pull: Pull) {
        (self.held, self.pull, self.health, self.delivery) = (held, pull, Health::Good, 0);
        if let Some((first, _)) = self.ahead.front() {
            self.seen = first.number - 1;
        }
        self.ahead.clear();
    }

    /// How many more may be asked for, those on their way included.
    pub(super) fn room(&self) -> usize {
        let unacknowledged = UNACKED_MAX.saturating_sub(self.out.len() + self.ahead.len());
        unacknowledged.min(AHEAD_MAX.saturating_sub(self.ahead.len()))
    }

    /// Takes in a message of the consumer.
    pub(super) fn take_in(&mut self, place: &Place<'_>, stored: Stored, ack: Subject) -> Taken {
        self.pull.count_message();
        if place.delivery != self.delivery + 1 {
            self.health = Health::Broken;
        }
        if self.health == Health::Broken {
            return Taken::Kept; // it comes again, in its place
        }
        self.delivery = place.delivery;
        let number = place.number;
        if number <= self.floor() || self.finished.contains(&number) {
            self.seen = self.seen.max(number);
            return Taken::Finished(ack);
        }
        if let Some(known) = self.out.get_mut(&number) {
            *known = ack;
            self.seen = self.seen.max(number);
        } else if let Ok(index) = self.ahead.binary_search_by_key(&number, |(s, _)| s.number) {
            self.ahead[index].1 = ack;
        } else if number > self.seen {
            self.seen = number;
            self.ahead.push_back((stored, ack));
        } else {
            // A redelivery of what nobody here has: its first delivery went missing.
            self.health = Health::Broken;
        }
        Taken::Kept
    }

    /// The next piece, unless too many are out.
    pub(super) fn give(&mut self) -> Option<Delivery> {
        if self.out.len() >= UNACKED_MAX {
            return None;
        }
        let (stored, ack) = self.ahead.pop_front()?;
        let number = stored.number;
        self.out.insert(number, ack);
        let position = Position { stream: self.held.of, number };
        Some(Delivery { position, delivered: 1, inherited: number <= self.held.last, stored })
    }

    /// Finishes a piece; how to acknowledge it, where it was out.
    pub(super) fn finish(&mut self, number: u64) -> Option<Subject> {
        let ack = self.out.remove(&number)?;
        self.finished.insert(number);
        let floor = self.floor();
        while self.finished.first().is_some_and(|first| *first <= floor) {
            self.finished.pop_first();
        }
        Some(ack)
    }

    /// Everything of the lane up to here is finished.
    fn floor(&self) -> u64 {
        let ahead = self.ahead.front().map_or(self.seen + 1, |(stored, _)| stored.number);
        self.out.first_key_value().map_or(ahead, |(out, _)| ahead.min(*out)) - 1
    }
}
