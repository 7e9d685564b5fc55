//! Who holds a partition or a lane.

use qqrelay_proto::subject::{Lane, Partition};

use super::{ANSWERS, Fixture, crowd, seconds};
use crate::state::key::LEASE_TTL;
use crate::state::{Lease, LeaseKey, Renewal, Taking};

const KEY: LeaseKey = LeaseKey::Partition(Partition::Chain(3));

async fn take(fixture: &impl Fixture, owner: &str, seen: Option<&Lease>) -> Taking {
    fixture.state().take_lease(KEY, &owner.into(), seen).await.expect(ANSWERS)
}

async fn taken(fixture: &impl Fixture, owner: &str, seen: Option<&Lease>) -> Lease {
    match take(fixture, owner, seen).await {
        Taking::Taken(lease) => lease,
        Taking::Held(other) => panic!("{owner} finds the lease held: {other:?}"),
    }
}

async fn renew(fixture: &impl Fixture, held: &Lease) -> Renewal {
    fixture.state().renew_lease(KEY, held).await.expect(ANSWERS)
}

async fn renewed(fixture: &impl Fixture, held: &Lease) -> Lease {
    let Renewal::Renewed(lease) = renew(fixture, held).await else { panic!("{held:?} is lost") };
    lease
}

async fn holder(fixture: &impl Fixture) -> Option<Lease> {
    fixture.state().lease(KEY).await.expect(ANSWERS)
}

/// Of many who take a free lease at once, and of many who steal one, exactly one has it.
pub async fn of_a_hundred_takers_one_wins(fixture: &mut impl Fixture) {
    let mut seen = None;
    for round in ["free", "stolen"] {
        let before = seen.clone();
        let answers = crowd(fixture, |state, number| {
            let (owner, seen) = (format!("{round}-{number}").into(), before.clone());
            async move { state.take_lease(KEY, &owner, seen.as_ref()).await.expect(ANSWERS) }
        })
        .await;
        let won: Vec<_> =
            answers.iter().filter(|answer| matches!(answer, Taking::Taken(_))).collect();
        let [Taking::Taken(winner)] = *won else { panic!("{round}: {} takers won", won.len()) };
        for answer in &answers {
            let (Taking::Taken(lease) | Taking::Held(lease)) = answer;
            assert_eq!(lease, winner, "everybody hears who has it");
        }
        assert_eq!(holder(fixture).await.as_ref(), Some(winner));
        seen = Some(winner.clone());
    }
}

/// Life since the observation keeps a lease where it is.
pub async fn a_lease_that_moved_since_it_was_seen_is_not_taken(fixture: &mut impl Fixture) {
    let seen = taken(fixture, "a", None).await;
    let now = renewed(fixture, &seen).await;
    assert_eq!((&now.owner, now.incarnation), (&seen.owner, seen.incarnation));
    assert_eq!(now.counter, seen.counter + 1);
    assert_eq!(take(fixture, "b", Some(&seen)).await, Taking::Held(now.clone()));
    assert_eq!(take(fixture, "b", None).await, Taking::Held(now.clone()));
    assert_eq!(holder(fixture).await, Some(now));
}

/// No time-out is asked for: whoever watched decides.
pub async fn a_lease_that_stands_still_is_taken_by_whoever_saw_it(fixture: &mut impl Fixture) {
    let seen = taken(fixture, "a", None).await;
    let stolen = taken(fixture, "b", Some(&seen)).await;
    assert_eq!(stolen.owner.as_str(), "b");
    assert!(stolen.incarnation > seen.incarnation);
    assert_eq!(holder(fixture).await, Some(stolen));
}

/// A holder that was stolen from, or whose lease ended, learns it and stays without.
pub async fn renewing_never_takes_a_lease_back(fixture: &mut impl Fixture) {
    let lost = taken(fixture, "a", None).await;
    let held = taken(fixture, "b", Some(&lost)).await;
    assert_eq!(renew(fixture, &lost).await, Renewal::Lost);
    assert_eq!(holder(fixture).await, Some(held.clone()));
    fixture.state().release_lease(KEY, &held).await.expect(ANSWERS);
    assert_eq!(renew(fixture, &lost).await, Renewal::Lost);
    assert_eq!(renew(fixture, &held).await, Renewal::Lost);
    assert_eq!(holder(fixture).await, None);
    let again = taken(fixture, "a", None).await;
    assert_eq!(renew(fixture, &lost).await, Renewal::Lost, "an earlier taking of the same owner");
    assert_eq!(holder(fixture).await, Some(again));
}

/// A release that comes late is nobody's loss.
pub async fn giving_away_touches_nobody_elses_lease(fixture: &mut impl Fixture) {
    let lost = taken(fixture, "a", None).await;
    let held = taken(fixture, "b", Some(&lost)).await;
    fixture.state().release_lease(KEY, &lost).await.expect(ANSWERS);
    assert_eq!(holder(fixture).await, Some(held.clone()));
    let newer = renewed(fixture, &held).await;
    fixture.state().release_lease(KEY, &held).await.expect(ANSWERS);
    assert_eq!(holder(fixture).await, None, "the count does not matter, as in renewing: {newer:?}");
}

/// Asking again is safe.
pub async fn a_taker_whose_answer_was_lost_finds_its_own_lease(fixture: &mut impl Fixture) {
    let lost_answer = taken(fixture, "a", None).await;
    assert_eq!(take(fixture, "a", None).await, Taking::Held(lost_answer));
}

/// Consumers are named by incarnations, and a late call under an old name must hit nothing.
pub async fn no_incarnation_is_used_twice(fixture: &mut impl Fixture) {
    let mut last = taken(fixture, "a", None).await;
    for _ in 0..5 {
        fixture.state().release_lease(KEY, &last).await.expect(ANSWERS);
        let next = taken(fixture, "a", None).await;
        assert!(next.incarnation > last.incarnation);
        last = next;
    }
    fixture.reopen().await;
    fixture.advance(seconds(1)).await;
    let next = taken(fixture, "a", Some(&last)).await;
    assert!(next.incarnation > last.incarnation);
}

/// So that what is named in a lease does not stay for ever.
pub async fn a_lease_that_nobody_renews_ends(fixture: &mut impl Fixture) {
    let held = taken(fixture, "a", None).await;
    fixture.advance(LEASE_TTL / 2).await;
    let held = renewed(fixture, &held).await;
    fixture.advance(LEASE_TTL / 2 + seconds(1)).await;
    assert_eq!(holder(fixture).await, Some(held.clone()));
    fixture.advance(LEASE_TTL / 2).await;
    assert_eq!(holder(fixture).await, None);
    assert_eq!(renew(fixture, &held).await, Renewal::Lost);
    taken(fixture, "b", None).await;
}

/// Also where their numbers are the same.
pub async fn each_partition_and_each_lane_has_its_own_lease(fixture: &mut impl Fixture) {
    let held = taken(fixture, "a", None).await;
    let lane = Lane::new(3).expect("3 is below 16");
    for key in [LeaseKey::Partition(Partition::Chain(4)), LeaseKey::Lane(lane)] {
        assert_eq!(fixture.state().lease(key).await.expect(ANSWERS), None);
        let other = fixture.state().take_lease(key, &"b".into(), None).await.expect(ANSWERS);
        assert!(matches!(other, Taking::Taken(_)));
    }
    assert_eq!(holder(fixture).await, Some(held));
}
