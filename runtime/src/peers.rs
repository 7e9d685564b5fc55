//! What a process knows of others of its kind, from what they say on core NATS: gateways of gateways,
//! workers of workers.
//!
//! Silence says something only to one who hears: a process's own words come back to it, and while
//! they do not, nothing is concluded. What follows from a wrong conclusion is a move that was not
//! needed; log and consumers keep it from costing more.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::replace;
use std::time::{Duration, Instant};

use qqrelay_proto::id::OwnerId;
use qqrelay_proto::spread::{Holder, spread};
use serde::{Deserialize, Serialize};

/// How often a process says that it lives.
pub const SAY_EVERY: Duration = Duration::from_millis(500);

/// How often it is looked whether anything shall be moved.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Silence after which a process is taken for dead: four words missed.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// How long a newcomer listens first; whoever hears a stranger says at once what it holds.
const LISTEN_FIRST: Duration = Duration::from_millis(300);

/// A newcomer that has not even heard itself by now goes on as if it were alone, by leases only.
const DEAF_AFTER: Duration = Duration::from_secs(5);

/// A process that has been silent for so long is no longer counted among the dead either.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// That a process lives, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat<K: Ord> {
    /// Which process.
    pub process: OwnerId,
    /// What, and whether it stops.
    #[serde(flatten)]
    pub holder: Holder<K>,
}

/// All processes of a kind, as one of them hears them.
#[derive(Debug)]
pub struct Peers<K: Ord> {
    me: OwnerId,
    began: Instant,
    /// Since when our own words have come back without a pause, and when the last one did.
    hearing: Option<(Instant, Instant)>,
    others: BTreeMap<OwnerId, Said<K>>,
    /// Whether [`Peers::is_found_deaf`] has said so.
    was_deaf: bool,
}

#[derive(Debug)]
struct Said<K: Ord> {
    holder: Holder<K>,
    heard: Instant,
}

impl<K: Ord + Copy> Peers<K> {
    /// Nobody has been heard yet.
    #[must_use]
    pub const fn new(me: OwnerId, now: Instant) -> Self {
        Self { me, began: now, hearing: None, others: BTreeMap::new(), was_deaf: false }
    }

    /// Takes in a word; whether it is of one that has not been heard of for a while.
    pub fn hear(&mut self, said: Heartbeat<K>, now: Instant) -> bool {
        if said.process == self.me {
            let since = self.hearing.filter(|(_, last)| now.duration_since(*last) < SILENT_AFTER);
            self.hearing = Some((since.map_or(now, |(since, _)| since), now));
            return false;
        }
        self.others.retain(|_, said| now.duration_since(said.heard) < FORGET_AFTER);
        let before = self.others.insert(said.process, Said { holder: said.holder, heard: now });
        before.is_none_or(|before| !is_fresh(before.heard, now))
    }

    /// Which process shall have what, when this one has `ours`. `None` while too little is heard: then
    /// things stay as they are.
    #[must_use]
    pub fn placed(
        &self,
        all: &BTreeSet<K>,
        ours: Holder<K>,
        now: Instant,
    ) -> Option<BTreeMap<K, OwnerId>> {
        if !self.is_deaf(now) && self.hears_for(now) < LISTEN_FIRST {
            return None;
        }
        let mut holders = self.living(now);
        holders.insert(self.me.clone(), ours);
        Some(spread(all, &holders))
    }

    /// Whether it is found only now that not even our own words have ever come back: they are not
    /// permitted, most likely.
    #[must_use]
    pub fn is_found_deaf(&mut self, now: Instant) -> bool {
        let is_deaf = self.is_deaf(now);
        is_deaf && !replace(&mut self.was_deaf, is_deaf)
    }

    fn is_deaf(&self, now: Instant) -> bool {
        self.hearing.is_none() && now.duration_since(self.began) >= DEAF_AFTER
    }

    /// The others that live, and what they hold.
    #[must_use]
    pub fn living(&self, now: Instant) -> BTreeMap<OwnerId, Holder<K>> {
        let living = self.others.iter().filter(|(_, said)| is_fresh(said.heard, now));
        living.map(|(process, said)| (process.clone(), said.holder.clone())).collect()
    }

    /// Whether a process is known to live.
    #[must_use]
    pub fn is_living(&self, process: &OwnerId, now: Instant) -> bool {
        self.others.get(process).is_some_and(|said| is_fresh(said.heard, now))
    }

    /// Whether a process would have been heard if it lived.
    #[must_use]
    pub fn is_dead(&self, process: &OwnerId, now: Instant) -> bool {
        self.hears_for(now) >= SILENT_AFTER && !self.is_living(process, now)
    }

    /// How long we have been hearing; nothing once our own last word did not come back.
    fn hears_for(&self, now: Instant) -> Duration {
        let hearing = self.hearing.filter(|(_, last)| now.duration_since(*last) < SAY_EVERY * 2);
        hearing.map_or(Duration::ZERO, |(since, _)| now.duration_since(since))
    }
}

fn is_fresh(heard: Instant, now: Instant) -> bool {
    now.duration_since(heard) < SILENT_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(process: &str) -> Heartbeat<u8> {
        let holder = Holder { held: BTreeSet::from([0]), leaving: false };
        Heartbeat { process: process.into(), holder }
    }

    fn nothing() -> Holder<u8> {
        Holder { held: BTreeSet::new(), leaving: false }
    }

    #[test]
    fn silence_says_something_only_to_one_who_hears() {
        let begin = Instant::now();
        let (mut peers, all) = (Peers::new("me".into(), begin), BTreeSet::from([0, 1]));
        let at = |ms| begin + Duration::from_millis(ms);
        let has_listened = |peers: &Peers<u8>, ms| peers.placed(&all, nothing(), at(ms)).is_some();
        assert!(!has_listened(&peers, 0));
        for ms in (0..=2_000).step_by(500) {
            peers.hear(said("me"), at(ms));
        }
        assert!(peers.hear(said("b"), at(500)), "a stranger");
        assert!(!peers.hear(said("b"), at(1_000)));
        assert!(has_listened(&peers, 2_100));
        assert!(peers.is_living(&"b".into(), at(2_100)) && !peers.is_dead(&"b".into(), at(2_100)));
        assert!(peers.is_dead(&"c".into(), at(2_100)), "it would have been heard");
        assert_eq!(peers.living(at(2_100)).len(), 1);
        // Nothing comes back any more: b is silent, but so are we.
        assert!(!peers.is_living(&"b".into(), at(3_100)) && !peers.is_dead(&"b".into(), at(3_100)));
        assert!(!has_listened(&peers, 3_100));
        peers.hear(said("me"), at(9_000));
        assert!(!peers.is_dead(&"b".into(), at(9_100)), "it may have been heard in between");
        assert!(peers.hear(said("b"), at(9_200)), "a stranger again");
    }

    #[test]
    fn one_that_never_hears_itself_goes_on_alone() {
        let begin = Instant::now();
        let (mut peers, all) = (Peers::new("me".into(), begin), BTreeSet::from([0, 1]));
        let at = |seconds| begin + Duration::from_secs(seconds);
        let found_deaf = [4, 5, 6].map(|seconds| peers.is_found_deaf(at(seconds)));
        assert_eq!(found_deaf, [false, true, false], "once");
        let placed = |seconds| peers.placed(&all, nothing(), at(seconds));
        assert_eq!(placed(4), None);
        let mine = OwnerId::from("me");
        assert_eq!(placed(5), Some(BTreeMap::from([(0, mine.clone()), (1, mine)])));
    }
}
