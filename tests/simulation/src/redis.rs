//! What gateways agree on, as a store that may forget everything and be away.

use qqrelay_proto::id::OwnerId;
use qqrelay_proto::identify::{Asker, IdentifyBudget, Permit, StartLimit};
use qqrelay_proto::time::UnixMs;

/// The lease of the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Whose it is.
    pub(crate) owner: OwnerId,
    /// Which taking this is.
    pub(crate) incarnation: u64,
    /// How often it was renewed.
    pub(crate) counter: u64,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Whose is it?
    Look,
    /// Take it, if it is free or stands as it was seen.
    Take(OwnerId, Option<Lease>),
    /// Count it up.
    Renew(Lease),
    /// Give it away.
    Release(Lease),
    /// Leave to identify.
    Permit,
}

/// What is said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// The lease, if there is one.
    Lease(Option<Lease>),
    /// It was taken; none, it is another's.
    Taken(Option<Lease>),
    /// Whether it is still the asker's.
    Renewed(bool),
    /// Given away.
    Released,
    /// Whether an IDENTIFY may be sent.
    Permit(Permit),
}

/// The store.
#[derive(Debug, Default)]
pub(crate) struct Redis {
    lease: Option<Lease>,
    takings: u64,
    budget: Option<IdentifyBudget>,
}

impl Redis {
    /// Answers at `now`. `limit` is what the platform says of a bot's IDENTIFYs.
    pub(crate) fn answer(&mut self, ask: Ask, limit: StartLimit, now: UnixMs) -> Told {
        match ask {
            Ask::Look => Told::Lease(self.lease.clone()),
            Ask::Take(owner, seen) => {
                if self.lease != seen && self.lease.is_some() {
                    return Told::Taken(None);
                }
                self.takings += 1;
                let lease = Lease { owner, incarnation: self.takings, counter: 0 };
                self.lease = Some(lease.clone());
                Told::Taken(Some(lease))
            }
            Ask::Renew(held) => {
                let ours = self.lease.as_mut().filter(|it| it.incarnation == held.incarnation);
                Told::Renewed(ours.map(|it| it.counter += 1).is_some())
            }
            Ask::Release(held) => {
                self.lease.take_if(|lease| lease.incarnation == held.incarnation);
                Told::Released
            }
            Ask::Permit => {
                let budget = self.budget.get_or_insert_with(|| IdentifyBudget::new(limit, now));
                Told::Permit(budget.ask(Asker::Relay, now))
            }
        }
    }

    /// Everything is gone.
    pub(crate) fn flush(&mut self) {
        (self.lease, self.budget) = (None, None);
    }
}
