//! What a gateway knows of the others, from what they say on core NATS.
//!
//! Silence says something only to one who hears: this gateway's own words come back to it, and
//! while they do not, nothing is concluded. What follows from a wrong conclusion is a takeover that
//! was not needed. It costs a RESUME, and the log keeps it from costing more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use qqrelay_proto::id::OwnerId;
use qqrelay_proto::spread::Holder;
use qqrelay_runtime::bus::nats::Heartbeat;

/// How often a gateway says that it lives.
pub(super) const SAY_EVERY: Duration = Duration::from_millis(500);

/// Silence after which a gateway is taken for dead: four words missed.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(2);

/// How long a newcomer listens first; whoever hears a stranger says at once what it holds.
const LISTEN_FIRST: Duration = Duration::from_millis(300);

/// A gateway that has been silent for so long is no longer counted among the dead either.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// All gateways, as one of them hears them.
#[derive(Debug)]
pub(super) struct Peers {
    me: OwnerId,
    /// Since when our own words have come back without a pause, and when the last one did.
    hearing: Option<(Instant, Instant)>,
    others: BTreeMap<OwnerId, Said>,
}

#[derive(Debug)]
struct Said {
    holder: Holder,
    heard: Instant,
}

impl Peers {
    pub(super) const fn new(me: OwnerId) -> Self {
        Self { me, hearing: None, others: BTreeMap::new() }
    }

    /// Takes in a word; whether it is of one that has not been heard of for a while.
    pub(super) fn hear(&mut self, said: Heartbeat, now: Instant) -> bool {
        if said.gateway == self.me {
            let since = self.hearing.filter(|(_, last)| now.duration_since(*last) < SILENT_AFTER);
            self.hearing = Some((since.map_or(now, |(since, _)| since), now));
            return false;
        }
        self.others.retain(|_, said| now.duration_since(said.heard) < FORGET_AFTER);
        let holder = Holder { held: said.held, leaving: said.leaving };
        let before = self.others.insert(said.gateway, Said { holder, heard: now });
        before.is_none_or(|before| !is_fresh(before.heard, now))
    }

    /// Whether enough has been heard to place partitions by it.
    pub(super) fn has_listened(&self, now: Instant) -> bool {
        self.hears_for(now) >= LISTEN_FIRST
    }

    /// The others that live, and what they hold.
    pub(super) fn living(&self, now: Instant) -> BTreeMap<OwnerId, Holder> {
        let living = self.others.iter().filter(|(_, said)| is_fresh(said.heard, now));
        living.map(|(gateway, said)| (gateway.clone(), said.holder.clone())).collect()
    }

    /// Whether a gateway is known to live.
    pub(super) fn is_living(&self, gateway: &OwnerId, now: Instant) -> bool {
        self.others.get(gateway).is_some_and(|said| is_fresh(said.heard, now))
    }

    /// Whether a gateway would have been heard if it lived.
    pub(super) fn is_dead(&self, gateway: &OwnerId, now: Instant) -> bool {
        self.hears_for(now) >= SILENT_AFTER && !self.is_living(gateway, now)
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
    use std::collections::BTreeSet;

    use super::*;
    use qqrelay_proto::subject::Partition;

    fn said(gateway: &str) -> Heartbeat {
        let held = BTreeSet::from([Partition::Chain(0)]);
        Heartbeat { gateway: gateway.into(), held, leaving: false }
    }

    #[test]
    fn silence_says_something_only_to_one_who_hears() {
        let (mut peers, begin) = (Peers::new("me".into()), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        assert!(!peers.has_listened(at(0)));
        for ms in (0..=2_000).step_by(500) {
            peers.hear(said("me"), at(ms));
        }
        assert!(peers.hear(said("b"), at(500)), "a stranger");
        assert!(!peers.hear(said("b"), at(1_000)));
        assert!(peers.has_listened(at(2_100)));
        assert!(peers.is_living(&"b".into(), at(2_100)) && !peers.is_dead(&"b".into(), at(2_100)));
        assert!(peers.is_dead(&"c".into(), at(2_100)), "it would have been heard");
        assert_eq!(peers.living(at(2_100)).len(), 1);
        // Nothing comes back any more: b is silent, but so are we.
        assert!(!peers.is_living(&"b".into(), at(3_100)) && !peers.is_dead(&"b".into(), at(3_100)));
        assert!(!peers.has_listened(at(3_100)));
        peers.hear(said("me"), at(9_000));
        assert!(!peers.is_dead(&"b".into(), at(9_100)), "it may have been heard in between");
        assert!(peers.hear(said("b"), at(9_200)), "a stranger again");
    }
}
