//! One event that comes by several ways.

use qqrelay_proto::id::ShardId;
use qqrelay_proto::subject::Source;

use super::{ANSWERS, Fixture, app, crowd, longer_app, place, seconds};
use crate::state::Sighting;
use crate::state::key::{SEEN_TTL, SIGHTING_HOLD};

const ID: &str = "102:m1";

fn shard(index: u16) -> Source {
    Source::Shard(ShardId::new(index, 200).expect("it is below 200"))
}

async fn see(fixture: &impl Fixture, source: Source) -> Sighting {
    fixture.state().see(&app(), ID, source).await.expect(ANSWERS)
}

async fn stored(fixture: &impl Fixture, number: u64) {
    fixture.state().stored(&app(), ID, &place(number)).await.expect(ANSWERS);
}

/// The others know that it is on its way.
pub async fn of_a_crowd_of_sources_one_stores_an_event(fixture: &mut impl Fixture) {
    let answers = crowd(fixture, |state, number| {
        let source = shard(u16::try_from(number).expect("a crowd is small"));
        async move { state.see(&app(), ID, source).await.expect(ANSWERS) }
    })
    .await;
    let first = answers.iter().filter(|answer| **answer == Sighting::First).count();
    let pending = answers.iter().filter(|answer| **answer == Sighting::Pending).count();
    assert_eq!((first, first + pending), (1, answers.len()));
}

/// The one that stored it included.
pub async fn an_event_that_is_stored_is_known_to_every_source(fixture: &mut impl Fixture) {
    assert_eq!(see(fixture, Source::Webhook).await, Sighting::First);
    stored(fixture, 17).await;
    fixture.reopen().await;
    for source in [shard(0), Source::Legacy, Source::Webhook] {
        assert_eq!(see(fixture, source).await, Sighting::Again(place(17)));
    }
    let state = fixture.state();
    assert_eq!(state.see(&app(), "102:m2", shard(0)).await.expect(ANSWERS), Sighting::First);
    assert_eq!(state.see(&longer_app(), ID, shard(0)).await.expect(ANSWERS), Sighting::First);
}

/// Its frame comes again, and nobody else has the event in the log.
pub async fn a_source_that_died_before_it_stored_may_store_after_a_restart(
    fixture: &mut impl Fixture,
) {
    assert_eq!(see(fixture, shard(0)).await, Sighting::First);
    fixture.reopen().await;
    assert_eq!(see(fixture, shard(0)).await, Sighting::First);
    stored(fixture, 17).await;
    assert_eq!(see(fixture, shard(0)).await, Sighting::Again(place(17)));
}

/// After the time that a publish may take.
pub async fn a_source_that_does_not_store_makes_room_for_another(fixture: &mut impl Fixture) {
    assert_eq!(see(fixture, shard(0)).await, Sighting::First);
    fixture.advance(SIGHTING_HOLD - seconds(1)).await;
    assert_eq!(see(fixture, shard(1)).await, Sighting::Pending);
    fixture.advance(seconds(1)).await;
    assert_eq!(see(fixture, shard(1)).await, Sighting::First);
    assert_eq!(see(fixture, shard(0)).await, Sighting::Pending);
}

/// Where two stored it after all, every duplicate names the same one.
pub async fn the_first_place_stands(fixture: &mut impl Fixture) {
    stored(fixture, 17).await;
    stored(fixture, 18).await;
    assert_eq!(see(fixture, shard(0)).await, Sighting::Again(place(17)));
}

/// Counted from when it was stored.
pub async fn a_sighting_ends_in_time(fixture: &mut impl Fixture) {
    assert_eq!(see(fixture, shard(0)).await, Sighting::First);
    fixture.advance(seconds(3)).await;
    stored(fixture, 17).await;
    fixture.advance(SEEN_TTL - seconds(1)).await;
    assert_eq!(see(fixture, shard(1)).await, Sighting::Again(place(17)));
    fixture.advance(seconds(1)).await;
    assert_eq!(see(fixture, shard(1)).await, Sighting::First);
}
