//! What may be sent now.

use std::time::Duration;

use qqrelay_proto::bucket::Quota;
use qqrelay_proto::id::AppId;

use super::{ANSWERS, Fixture, app, crowd, longer_app, seconds};
use crate::state::{Admission, Want};

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

async fn admit(fixture: &impl Fixture, app: &AppId, wants: &[(&str, &str)]) -> Admission {
    let wants: Vec<_> =
        wants.iter().map(|(bucket, text)| Want { bucket, quota: quota(text) }).collect();
    fixture.state().admit(app, &wants).await.expect(ANSWERS)
}

fn wait_of(answer: Admission) -> (usize, Duration) {
    let Admission::RetryAfter { want, wait } = answer else { panic!("it was admitted") };
    (want, wait)
}

/// Numbers that look random and are the same in every run.
fn walk(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// In any stretch of time no more passes than rate × time + burst.
pub async fn nothing_passes_above_the_rate(fixture: &mut impl Fixture) {
    let (name, text, per_minute, burst) = ("group:A1", "30/min burst 4", 30, 4);
    let mut random = walk(7);
    let mut passed = Vec::new();
    for _ in 0..300 {
        fixture.advance(Duration::from_millis(random(3_000))).await;
        for _ in 0..random(4) {
            let before = fixture.now().await;
            if admit(fixture, &app(), &[(name, text)]).await == Admission::Admitted {
                passed.push((before, fixture.now().await));
            }
        }
    }
    for (first, (from, _)) in passed.iter().enumerate() {
        for (last, (_, to)) in passed.iter().enumerate().skip(first) {
            let stretch_ms = to.0 - from.0;
            let most = stretch_ms * per_minute / 60_000 + burst;
            assert!((last - first + 1) as u64 <= most, "{} in {stretch_ms} ms", last - first + 1);
        }
    }
    assert!(passed.len() > 100, "the limiter also lets pass: {}", passed.len());
}

/// Whoever comes at once shares what there is.
pub async fn a_crowd_gets_the_burst_and_no_more(fixture: &mut impl Fixture) {
    let answers = crowd(fixture, |state, _| async move {
        let wants = [Want { bucket: "push", quota: quota("20/day burst 7") }];
        state.admit(&app(), &wants).await.expect(ANSWERS)
    })
    .await;
    let admitted = answers.iter().filter(|answer| **answer == Admission::Admitted).count();
    assert_eq!(admitted, 7);
}

/// A full bucket of one place must not use up the bot's.
pub async fn what_one_bucket_refuses_takes_from_none(fixture: &mut impl Fixture) {
    let (wide, narrow) = (("app", "4/day burst 4"), ("group:A1", "2/day"));
    assert_eq!(admit(fixture, &app(), &[wide, narrow]).await, Admission::Admitted);
    for _ in 0..20 {
        assert_eq!(wait_of(admit(fixture, &app(), &[wide, narrow]).await).0, 1);
    }
    for _ in 0..3 {
        assert_eq!(admit(fixture, &app(), &[wide]).await, Admission::Admitted);
    }
    assert_eq!(wait_of(admit(fixture, &app(), &[wide]).await).0, 0);
    assert_eq!(admit(fixture, &app(), &[]).await, Admission::Admitted);
}

/// Whoever waits as long as told is let through, if nobody else came.
pub async fn the_wait_is_enough_and_names_its_bucket(fixture: &mut impl Fixture) {
    let wants = [("app", "60/min"), ("group:A1", "6/min"), ("route", "30/min")];
    assert_eq!(admit(fixture, &app(), &wants).await, Admission::Admitted);
    let (want, wait) = wait_of(admit(fixture, &app(), &wants).await);
    assert_eq!(want, 1, "the group's bucket has the longest wait");
    assert!(wait > seconds(5) && wait <= seconds(10), "{wait:?}");
    fixture.advance(wait / 2).await;
    let (_, shorter) = wait_of(admit(fixture, &app(), &wants).await);
    assert!(shorter < wait);
    fixture.advance(shorter).await;
    assert_eq!(admit(fixture, &app(), &wants).await, Admission::Admitted);
}

/// What the platform says counts, whatever we counted.
pub async fn a_bucket_the_platform_refused_for_is_closed(fixture: &mut impl Fixture) {
    let wants = [("app", "1000/day burst 100"), ("group:A1", "1000/day burst 100")];
    fixture.state().cool_down(&app(), "group:A1", seconds(30)).await.expect(ANSWERS);
    fixture.state().cool_down(&app(), "group:A1", seconds(5)).await.expect(ANSWERS);
    let (want, wait) = wait_of(admit(fixture, &app(), &wants).await);
    assert_eq!(want, 1);
    assert!(wait > seconds(20) && wait <= seconds(30), "{wait:?}");
    fixture.advance(wait).await;
    assert_eq!(admit(fixture, &app(), &wants).await, Admission::Admitted);
}

/// Not even where their buckets have the same name.
pub async fn bots_share_no_bucket(fixture: &mut impl Fixture) {
    let want = ("group:A1", "1/day");
    for app in [app(), longer_app(), "".into(), "}{".into()] {
        assert_eq!(admit(fixture, &app, &[want]).await, Admission::Admitted);
        wait_of(admit(fixture, &app, &[want]).await);
    }
}
