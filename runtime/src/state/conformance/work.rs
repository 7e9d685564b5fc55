//! Finished work, and handlers that are started again and again.

use qqrelay_proto::id::AppId;
use qqrelay_proto::subject::Lane;

use super::{ANSWERS, CROWD, Fixture, app, crowd, longer_app, seconds};

fn lane(number: u8) -> Lane {
    Lane::new(number).expect("it is below 16")
}

async fn done(fixture: &impl Fixture, lane: Lane, app: &AppId, ids: &[&str]) -> Vec<bool> {
    fixture.state().done(lane, app, ids).await.expect(ANSWERS)
}

/// In the order in which it was asked for.
pub async fn what_is_done_is_known_for_its_lane_and_bot(fixture: &mut impl Fixture) {
    let ids = ["102:m1", "102:m2", "102:m3", ""];
    let state = fixture.state();
    state.mark_done(lane(3), &app(), &["102:m3", "102:m1"], seconds(60)).await.expect(ANSWERS);
    state.mark_done(lane(3), &app(), &["102:m1"], seconds(60)).await.expect(ANSWERS);
    state.mark_done(lane(3), &app(), &[], seconds(60)).await.expect(ANSWERS);
    assert_eq!(done(fixture, lane(3), &app(), &ids).await, [true, false, true, false]);
    assert_eq!(done(fixture, lane(4), &app(), &ids).await, [false; 4]);
    assert_eq!(done(fixture, lane(3), &longer_app(), &ids).await, [false; 4]);
    assert_eq!(done(fixture, lane(3), &app(), &[]).await, [false; 0]);
}

/// A mark is set before the acknowledgement, and is what a crash between the two is for.
pub async fn done_marks_outlive_a_restart_and_end_in_time(fixture: &mut impl Fixture) {
    let state = fixture.state();
    state.mark_done(lane(3), &app(), &["short", "renewed"], seconds(60)).await.expect(ANSWERS);
    state.mark_done(lane(3), &app(), &["long", "renewed"], seconds(600)).await.expect(ANSWERS);
    fixture.reopen().await;
    let ids = ["short", "long", "renewed"];
    assert_eq!(done(fixture, lane(3), &app(), &ids).await, [true; 3]);
    fixture.advance(seconds(61)).await;
    assert_eq!(done(fixture, lane(3), &app(), &ids).await, [false, true, true]);
    fixture.advance(seconds(540)).await;
    assert_eq!(done(fixture, lane(3), &app(), &ids).await, [false; 3]);
}

/// Over all workers, so that none of them sees a count twice.
pub async fn every_start_of_a_crowd_is_counted_once(fixture: &mut impl Fixture) {
    let mut counts = crowd(fixture, |state, _| async move {
        state.count_start(&app(), "102:m1", seconds(60)).await.expect(ANSWERS)
    })
    .await;
    counts.sort_unstable();
    assert_eq!(counts, (1..=CROWD).collect::<Vec<_>>());
}

/// Poison that ends its worker is only counted if the count is there afterwards.
pub async fn starts_and_failures_are_counted_apart_over_a_restart(fixture: &mut impl Fixture) {
    for expected in 1..=3 {
        let state = fixture.state();
        assert_eq!(
            state.count_start(&app(), "102:m1", seconds(60)).await.expect(ANSWERS),
            expected
        );
        assert_eq!(
            state.count_start(&app(), "102:m2", seconds(60)).await.expect(ANSWERS),
            expected
        );
        fixture.reopen().await;
    }
    let state = fixture.state();
    assert_eq!(state.count_failure(&app(), "102:m1", seconds(60)).await.expect(ANSWERS), 1);
    assert_eq!(state.count_failure(&app(), "102:m1", seconds(60)).await.expect(ANSWERS), 2);
    assert_eq!(state.count_start(&app(), "102:m1", seconds(60)).await.expect(ANSWERS), 4);
    assert_eq!(state.count_failure(&longer_app(), "102:m1", seconds(60)).await.expect(ANSWERS), 1);
}

/// The time runs from the last count.
pub async fn counts_end_in_time(fixture: &mut impl Fixture) {
    for expected in 1..=2 {
        let count = fixture.state().count_start(&app(), "102:m1", seconds(60)).await;
        assert_eq!(count.expect(ANSWERS), expected);
        fixture.advance(seconds(40)).await;
    }
    fixture.advance(seconds(30)).await;
    assert_eq!(fixture.state().count_start(&app(), "102:m1", seconds(60)).await.expect(ANSWERS), 1);
}

/// Most work starts once, and is not to be remembered as long as its mark.
pub async fn what_is_done_has_no_counts(fixture: &mut impl Fixture) {
    let state = fixture.state();
    for _ in 0..3 {
        for id in ["102:m1", "102:m2"] {
            state.count_start(&app(), id, seconds(60)).await.expect(ANSWERS);
        }
    }
    state.mark_done(lane(3), &app(), &["102:m1"], seconds(60)).await.expect(ANSWERS);
    for (id, expected) in [("102:m1", 1), ("102:m2", 4)] {
        let count = state.count_start(&app(), id, seconds(60)).await;
        assert_eq!(count.expect(ANSWERS), expected);
    }
}
