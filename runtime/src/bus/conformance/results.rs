//! Rules of results: attempts and outcomes of a command, for those who wait.

use std::time::Duration;

use qqrelay_proto::id::{Scene, Scope};
use tokio::task::JoinSet;

use super::Fixture;
use super::stage::{payload, place, within};
use crate::bus::{Appended, Only};

/// Longer than any test waits in vain.
const LONG: Duration = Duration::from_secs(300);

fn subject(command: &str) -> String {
    place(&Scope::new(Scene::Group, "A1")).result(command)
}

/// Also where one command's id is the beginning of another's.
pub async fn entries_stand_in_order_for_each_command_alone(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    for number in 0..5 {
        for command in ["c-1", "c-10"] {
            let appended = bus.result(&subject(command), payload(number), Only::Always).await;
            assert_eq!(appended.expect("the bus is up"), Appended::Stored);
        }
    }
    bus.result(&subject("c-10"), payload(9), Only::Always).await.expect("the bus is up");
    let found = bus.results(&subject("c-1")).await.expect("the bus is up");
    assert_eq!(found, (0..5).map(payload).collect::<Vec<_>>());
    let found = bus.results(&subject("c-10")).await.expect("the bus is up");
    assert_eq!(found.len(), 6);
    assert_eq!(bus.results(&subject("c")).await.expect("the bus is up").len(), 0);
}

/// An answer that was lost is no reason for a second outcome.
pub async fn the_same_entry_again_is_one_entry(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    for number in [0, 1, 0, 1, 1] {
        let appended = bus.result(&subject("c-1"), payload(number), Only::Always).await;
        assert_eq!(appended.expect("the bus is up"), Appended::Stored);
    }
    bus.result(&subject("c-2"), payload(0), Only::Always).await.expect("the bus is up");
    let found = bus.results(&subject("c-1")).await.expect("the bus is up");
    assert_eq!(found, [payload(0), payload(1)]);
    assert_eq!(bus.results(&subject("c-2")).await.expect("the bus is up"), [payload(0)]);
}

/// The attempt record: whoever loses does not send.
pub async fn of_a_crowd_of_firsts_one_stands(fixture: &mut impl Fixture) {
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let bus = fixture.bus();
        tasks.spawn(async move {
            let appended = bus.result(&subject("c-1"), payload(number), Only::First).await;
            (number, appended.expect("the bus is up"))
        });
    }
    let appended = within("a crowd of attempts", tasks.join_all()).await;
    let won: Vec<_> = appended.into_iter().filter(|(_, is)| *is == Appended::Stored).collect();
    let [(number, _)] = won[..] else { panic!("one wins: {won:?}") };
    let bus = fixture.bus();
    assert_eq!(bus.results(&subject("c-1")).await.expect("it is up"), [payload(number)]);
    bus.result(&subject("c-1"), payload(100), Only::Always).await.expect("the bus is up");
    let late = bus.result(&subject("c-1"), payload(101), Only::First).await;
    assert_eq!(late.expect("the bus is up"), Appended::Taken);
    assert_eq!(bus.results(&subject("c-1")).await.expect("the bus is up").len(), 2);
}

/// However many wait, and whichever comes first, the question or the entry.
pub async fn a_waiter_hears_of_what_is_appended(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let mut waiters = JoinSet::new();
    for _ in 0..10 {
        let bus = fixture.bus();
        waiters.spawn(async move { bus.await_result(&subject("c-1"), 1, LONG).await });
    }
    for number in 0..2 {
        bus.result(&subject("c-1"), payload(number), Only::Always).await.expect("it is up");
    }
    for heard in within("ten waiters", waiters.join_all()).await {
        assert_eq!(heard.expect("the bus is up"), [payload(0), payload(1)]);
    }
    let known = within("what is known", bus.await_result(&subject("c-1"), 0, LONG)).await;
    assert_eq!(known.expect("the bus is up").len(), 2);
}

/// No error: nothing has happened, which is for the caller to judge.
pub async fn a_waiter_whose_time_is_up_gets_what_there_is(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    bus.result(&subject("c-1"), payload(0), Only::Always).await.expect("the bus is up");
    let little = Duration::from_millis(20);
    let waited = within("the time", bus.await_result(&subject("c-1"), 1, little)).await;
    assert_eq!(waited.expect("the bus is up"), [payload(0)]);
    let waited = within("the time", bus.await_result(&subject("c-2"), 0, little)).await;
    assert_eq!(waited.expect("the bus is up").len(), 0);
}

/// An attempt that was recorded is known to whoever comes after a crash.
pub async fn results_outlive_a_restart(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    bus.result(&subject("c-1"), payload(0), Only::First).await.expect("the bus is up");
    drop(bus);
    fixture.reopen().await;
    let bus = fixture.bus();
    assert_eq!(bus.results(&subject("c-1")).await.expect("the bus is up"), [payload(0)]);
    let late = bus.result(&subject("c-1"), payload(1), Only::First).await;
    assert_eq!(late.expect("the bus is up"), Appended::Taken);
}
