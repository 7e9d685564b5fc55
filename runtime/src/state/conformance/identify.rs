//! A bot's identifies, the scarcest thing there is.

use std::time::Duration;

use qqrelay_proto::id::AppId;
use qqrelay_proto::identify::{Asker, Permit, StartLimit};

use super::{ANSWERS, Fixture, app, crowd, longer_app, seconds};
use crate::state::UNTOLD;

const HOUR: Duration = Duration::from_secs(3_600);

fn limit(remaining: u32, max_concurrency: u32) -> StartLimit {
    StartLimit { total: 100, remaining, reset_after: HOUR, max_concurrency }
}

async fn ask_for(
    fixture: &impl Fixture,
    app: &AppId,
    told: Option<StartLimit>,
    asker: Asker,
) -> Permit {
    fixture.state().permit_identify(app, told, asker).await.expect(ANSWERS)
}

async fn ask(fixture: &impl Fixture, told: StartLimit) -> Permit {
    ask_for(fixture, &app(), Some(told), Asker::Relay).await
}

/// Over all gateways.
pub async fn a_crowd_of_shards_starts_as_many_as_may_start_at_once(fixture: &mut impl Fixture) {
    let answers = crowd(fixture, |state, _| async move {
        state.permit_identify(&app(), Some(limit(100, 3)), Asker::Relay).await.expect(ANSWERS)
    })
    .await;
    let now = answers.iter().filter(|permit| **permit == Permit::Now).count();
    assert_eq!(now, 3);
    let mut longest = Duration::ZERO;
    for answer in answers {
        match answer {
            Permit::Now => {}
            Permit::After(wait) => longest = longest.max(wait),
            Permit::RefusedUntil(until) => panic!("the day is not over: {until}"),
        }
    }
    assert!(!longest.is_zero() && longest <= seconds(5), "{longest:?}");
    fixture.advance(seconds(5)).await;
    assert_eq!(ask(fixture, limit(100, 3)).await, Permit::Now);
}

/// A process that identifies, crashes and starts again, told the same each time, ends at the
/// reserve, which a person may still use.
pub async fn a_crash_loop_cannot_spend_the_day(fixture: &mut impl Fixture) {
    let mut started = 0;
    let until = loop {
        match ask(fixture, limit(16, 5)).await {
            Permit::Now => started += 1,
            Permit::After(wait) => panic!("{wait:?} is left of a window that is over"),
            Permit::RefusedUntil(until) => break until,
        }
        fixture.reopen().await;
        fixture.advance(seconds(6)).await;
    };
    assert_eq!(started, 6, "ten of a hundred are kept");
    let person = ask_for(fixture, &app(), None, Asker::Person).await;
    assert_eq!(person, Permit::Now);
    fixture.advance(until.since(fixture.now().await)).await;
    assert_eq!(ask(fixture, limit(16, 5)).await, Permit::Now, "a new day");
}

/// Not what somebody was told before.
pub async fn what_the_platform_said_last_counts(fixture: &mut impl Fixture) {
    assert_eq!(ask(fixture, limit(100, 50)).await, Permit::Now);
    fixture.advance(seconds(10)).await;
    let state = fixture.state();
    state.learn_identify(&app(), limit(12, 50), Duration::ZERO).await.expect(ANSWERS);
    for _ in 0..2 {
        assert_eq!(ask(fixture, limit(100, 50)).await, Permit::Now);
    }
    assert!(matches!(ask(fixture, limit(100, 50)).await, Permit::RefusedUntil(_)));
    fixture.advance(seconds(10)).await;
    fixture.state().learn_identify(&app(), limit(11, 50), Duration::ZERO).await.expect(ANSWERS);
    assert_eq!(ask(fixture, limit(100, 50)).await, Permit::Now);
    fixture.advance(seconds(1)).await;
    fixture.state().learn_identify(&app(), limit(11, 50), seconds(3)).await.expect(ANSWERS);
    let refused = ask(fixture, limit(100, 50)).await;
    assert!(
        matches!(refused, Permit::RefusedUntil(_)),
        "it does not know of the last: {refused:?}"
    );
}

/// Carefully, and each bot for itself.
pub async fn a_bot_of_which_nothing_is_known_may_identify(fixture: &mut impl Fixture) {
    for app in [app(), longer_app()] {
        for _ in 0..UNTOLD.max_concurrency {
            assert_eq!(ask_for(fixture, &app, None, Asker::Relay).await, Permit::Now);
        }
        let next = ask_for(fixture, &app, None, Asker::Relay).await;
        assert!(matches!(next, Permit::After(_)), "{next:?}");
    }
}
