//! Which process shall hold which partition or lane: the same answer for everybody who knows the
//! same.
//!
//! Nothing here decides ownership; the log does. Processes that know different things for a moment
//! want different things for a moment, and the lease lets one of them have it. The rule a newcomer
//! would break: whoever holds no more than its share keeps all of it. A partition that moves costs
//! a RESUME of each of its shards.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat_n;

use serde::{Deserialize, Serialize};

use crate::id::OwnerId;

/// What a process says that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder<K: Ord> {
    /// The partitions or lanes that it has: `["00", "03"]`, `[3, 7]`.
    pub held: BTreeSet<K>,
    /// It stops: all it holds is to be had, and it takes nothing.
    #[serde(default)]
    pub leaving: bool,
}

/// Places each of `all` with one of the processes that stay: as evenly as they divide, with the
/// fewest moves. Empty when nobody stays.
#[must_use]
pub fn spread<K: Ord + Copy>(
    all: &BTreeSet<K>,
    holders: &BTreeMap<OwnerId, Holder<K>>,
) -> BTreeMap<K, OwnerId> {
    let mut claimed: BTreeSet<K> = BTreeSet::new();
    let mut staying: Vec<(&OwnerId, Vec<K>)> = Vec::new();
    for (process, holder) in holders.iter().filter(|(_, holder)| !holder.leaving) {
        // What two say they hold counts for one of them.
        let held = all.intersection(&holder.held).filter(|it| claimed.insert(**it));
        staying.push((process, held.copied().collect()));
    }
    if staying.is_empty() {
        return BTreeMap::new();
    }
    // What does not divide evenly stays with those who have most.
    staying.sort_by_key(|(process, held)| (Reverse(held.len()), *process));
    let (places, many) = (all.len(), staying.len());
    let (share, over) = (places / many, places % many);
    let (mut placed, mut room) = (BTreeMap::new(), Vec::new());
    for (rank, (process, held)) in staying.into_iter().enumerate() {
        let most = share + usize::from(rank < over);
        room.extend(repeat_n(process, most.saturating_sub(held.len())));
        placed.extend(held.into_iter().take(most).map(|it| (it, process.clone())));
    }
    let homeless: Vec<K> = all.iter().copied().filter(|it| !placed.contains_key(it)).collect();
    placed.extend(homeless.into_iter().zip(room.into_iter().cloned()));
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Partition;
    use proptest::prelude::*;

    fn holder(held: impl IntoIterator<Item = u8>, leaving: bool) -> Holder<Partition> {
        Holder { held: held.into_iter().map(Partition::Chain).collect(), leaving }
    }

    fn shares(placed: &BTreeMap<Partition, OwnerId>) -> BTreeMap<&OwnerId, Vec<Partition>> {
        let mut shares: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (partition, gateway) in placed {
            shares.entry(gateway).or_default().push(*partition);
        }
        shares
    }

    fn all(count: u8) -> BTreeSet<Partition> {
        chains(0..count).into_iter().collect()
    }

    fn chains(numbers: impl IntoIterator<Item = u8>) -> Vec<Partition> {
        numbers.into_iter().map(Partition::Chain).collect()
    }

    #[test]
    fn a_newcomer_gets_half_and_a_leaver_keeps_nothing() {
        let mut gateways = BTreeMap::from([("a".into(), holder(0..8, false))]);
        gateways.insert("b".into(), holder([], false));
        let placed = spread(&all(8), &gateways);
        let (a, b) = ("a".into(), "b".into());
        assert_eq!(shares(&placed), BTreeMap::from([(&a, chains(0..4)), (&b, chains(4..8))]));
        gateways.insert("a".into(), holder(0..8, true));
        assert_eq!(shares(&spread(&all(8), &gateways)), BTreeMap::from([(&b, chains(0..8))]));
        gateways.insert("b".into(), holder([], true));
        assert_eq!(spread(&all(8), &gateways), BTreeMap::new());
    }

    #[test]
    fn what_does_not_divide_stays_where_it_is() {
        let gateways =
            BTreeMap::from([("a".into(), holder(0..1, false)), ("b".into(), holder(1..3, false))]);
        let (a, b) = ("a".into(), "b".into());
        let placed = spread(&all(3), &gateways);
        assert_eq!(shares(&placed), BTreeMap::from([(&a, chains(0..1)), (&b, chains(1..3))]));
    }

    /// Any gateways that say anything, also what others say too, and what is not there.
    fn gateways() -> impl Strategy<Value = BTreeMap<OwnerId, Holder<Partition>>> {
        let said = prop::collection::btree_set(0..20_u8, 0..20);
        let one =
            (said, prop::bool::weighted(0.2)).prop_map(|(held, leaving)| holder(held, leaving));
        let id = (0..40_u8).prop_map(|id| OwnerId::from(id.to_string()));
        prop::collection::btree_map(id, one, 0..8)
    }

    proptest! {
        #[test]
        fn everything_is_placed_once_evenly_and_moves_no_further(
            count in 0..20_u8,
            gateways in gateways(),
        ) {
            let placed = spread(&all(count), &gateways);
            let staying: Vec<_> = gateways.iter().filter(|(_, it)| !it.leaving).collect();
            if staying.is_empty() {
                prop_assert!(placed.is_empty());
                return Ok(());
            }
            prop_assert_eq!(placed.keys().copied().collect::<Vec<_>>(), chains(0..count));
            let shares = shares(&placed);
            let many: Vec<_> =
                staying.iter().map(|(id, _)| shares.get(id).map_or(0, Vec::len)).collect();
            let (least, most) = (many.iter().min().unwrap(), many.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{many:?}");
            // Once everybody has what it shall have, everybody keeps it.
            let settled: BTreeMap<_, _> = staying
                .iter()
                .map(|(id, _)| {
                    let held = shares.get(id).into_iter().flatten().copied().collect();
                    ((*id).clone(), Holder { held, leaving: false })
                })
                .collect();
            prop_assert_eq!(spread(&all(count), &settled), placed);
        }

        #[test]
        fn whoever_holds_no_more_than_its_share_keeps_it(count in 1..20_u8, gateways in gateways()) {
            let placed = spread(&all(count), &gateways);
            let staying = gateways.values().filter(|it| !it.leaving).count().max(1);
            let share = usize::from(count) / staying;
            for (id, holder) in gateways.iter().filter(|(_, it)| !it.leaving) {
                let others = gateways.iter().filter(|(other, it)| *other != id && !it.leaving);
                let disputed = |it: &Partition| others.clone().any(|(_, o)| o.held.contains(it));
                let held: Vec<_> = (holder.held.iter().filter(|it| placed.contains_key(it))).collect();
                if held.len() <= share && !held.iter().any(|it| disputed(it)) {
                    prop_assert!(held.iter().all(|it| &placed[*it] == id), "{id} {placed:?}");
                }
            }
        }
    }
}
