//! Leases in memory: a process that holds its own file has nobody to share them with for longer.

use std::collections::HashMap;

use qqrelay_proto::id::OwnerId;
use qqrelay_proto::time::UnixMs;

use crate::state::key::{LEASE_TTL, LeaseKey};
use crate::state::{Lease, Renewal, Taking};

/// Who holds what. Bounded by the keys there are: 101 partitions and 16 lanes.
#[derive(Default)]
pub(super) struct Leases(HashMap<LeaseKey, Entry>);

struct Entry {
    /// The last incarnation that was given out, whoever holds it.
    incarnation: u64,
    held: Option<(Lease, UnixMs)>,
}

impl Leases {
    pub(super) fn find(&self, key: LeaseKey, now: UnixMs) -> Option<Lease> {
        let (lease, renewed) = self.0.get(&key)?.held.as_ref()?;
        (now < renewed.plus(LEASE_TTL)).then(|| lease.clone())
    }

    pub(super) fn take(
        &mut self,
        key: LeaseKey,
        owner: &OwnerId,
        seen: Option<&Lease>,
        now: UnixMs,
    ) -> Taking {
        let found = self.find(key, now);
        if let Some(held) = found.filter(|held| Some(held) != seen) {
            return Taking::Held(held);
        }
        let entry = self.0.entry(key).or_insert(Entry { incarnation: 0, held: None });
        // By the clock, so that a restart, which forgets the last one, gives a higher one too.
        entry.incarnation = now.0.max(entry.incarnation + 1);
        let lease = Lease { owner: owner.clone(), incarnation: entry.incarnation, counter: 0 };
        entry.held = Some((lease.clone(), now));
        Taking::Taken(lease)
    }

    pub(super) fn renew(&mut self, key: LeaseKey, held: &Lease, now: UnixMs) -> Renewal {
        match self.held_by(key, held, now) {
            Some((lease, renewed)) => {
                lease.counter += 1;
                *renewed = now;
                Renewal::Renewed(lease.clone())
            }
            None => Renewal::Lost,
        }
    }

    pub(super) fn release(&mut self, key: LeaseKey, held: &Lease, now: UnixMs) {
        if self.held_by(key, held, now).is_some()
            && let Some(entry) = self.0.get_mut(&key)
        {
            entry.held = None;
        }
    }

    fn held_by(
        &mut self,
        key: LeaseKey,
        held: &Lease,
        now: UnixMs,
    ) -> Option<&mut (Lease, UnixMs)> {
        let entry = self.0.get_mut(&key)?.held.as_mut()?;
        let (lease, renewed) = &*entry;
        let same = lease.owner == held.owner && lease.incarnation == held.incarnation;
        (same && now < renewed.plus(LEASE_TTL)).then_some(entry)
    }
}
