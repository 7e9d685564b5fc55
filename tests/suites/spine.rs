//! The whole way under fire: events at a rate, forced reconnects, and a relay that is killed.

use std::time::Duration;

use qqrelay_simulator::{Action, Config as PlatformConfig, Injection, Target};
use qqrelay_tests::cluster::{Bot, Cluster, Setup};
use qqrelay_tests::invariants::{Answers, Expected};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

const BOTS: [(&str, u16); 3] = [("102000001", 4), ("102000002", 3), ("102000003", 1)];
const SHARDS: u16 = 8;

const EVENTS: u32 = 50_000;
/// Events a second. A turn gives a hundredth of them.
const RATE: u32 = 600;
const TURN: Duration = Duration::from_millis(10);

/// One event in so many is something that somebody says. The others ask for no answer: the
/// platform's rates, which hold here, would not let a bot answer all of them.
const SAID_EACH: u32 = 4;
/// One event in so many is pushed again, some events later.
const AGAIN_EACH: u32 = 500;
/// Events until bots and kinds come together again as they were.
const ROUND: u32 = 3 * 4 * SAID_EACH;
/// Places of each scene and bot: so many that what waits behind a killed relay in one of them is
/// answered within the rates of that place.
const PLACES: u32 = 64;

/// Conversations in which the platform would not notice a second send, each with one on its way at
/// the most.
const IN_FLIGHT: usize = BOTS.len() * 2 * PLACES as usize;

/// How much longer than in CI the run is, by `QQRELAY_LONG`.
fn length() -> u32 {
    let asked = std::env::var("QQRELAY_LONG").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_events_are_stored_and_answered_once_whatever_is_killed() {
    let mut platform = PlatformConfig { seed: 7, ..PlatformConfig::default() };
    platform.gateway.max_concurrency = u32::from(SHARDS);
    // The platform's own depth is unknown. This one outlasts a machine that does other things, too.
    platform.replay.frames = 20_000;
    platform.journal.memory = usize::MAX;
    let setup = Setup {
        bots: BOTS.iter().map(|(app, shards)| Bot::new(app, *shards)).collect(),
        platform,
        env: vec![("QQRELAY_LOG__PARTITIONS", "2".to_owned())],
        expected: Expected {
            identifies: Some(usize::from(SHARDS)),
            answers: Answers::Echo,
            ..Expected::default()
        },
    };
    let mut cluster = Cluster::new(setup).await.expect("a platform");
    cluster.start().await.expect("a relay");
    cluster.live().await.expect("every session");

    let events = EVENTS * length();
    let mut said = 0;
    let mut again = 0;
    let mut pace = interval(TURN);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut recent = None;
    for number in 0..events {
        if number % (RATE / 100) == 0 {
            pace.tick().await;
        }
        if number % RATE == RATE / 2 {
            trouble(&cluster, number / RATE);
        }
        if number % (events / 4) == 0 && number > 0 {
            cluster.kill().expect("a relay to kill");
            cluster.start().await.expect("a relay");
        }
        let (app, _) = BOTS[number as usize % BOTS.len()];
        let event = event(number);
        said += usize::from(number % SAID_EACH == 0);
        let pushed = cluster.platform.inject(app, &event).expect("the bot exists");
        assert_eq!(pushed.placed.len(), 1, "{event:?} goes to one shard");
        if number % AGAIN_EACH == 0 {
            recent = Some(pushed.injection);
        } else if number % AGAIN_EACH == AGAIN_EACH / 2
            && let Some(injection) = recent.take()
        {
            cluster.platform.perform(&Action::PushAgain { injection }).expect("it is remembered");
            again += 1;
        }
    }

    let report = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
    let tally = report.tally;
    println!("{tally:?}");
    assert_eq!(tally.events, events as usize, "{tally:?}");
    // A kill can hide the fate of what is on its way at that moment, and of nothing else.
    assert!(tally.replies <= said && said <= tally.replies + tally.ambiguous, "{tally:?}");
    assert!(tally.ambiguous <= 3 * IN_FLIGHT, "{tally:?}");
    assert_eq!((tally.duplicates, tally.gaps), (again, 0), "{tally:?}");
    // Three kills and one start, two partitions; a reconnect each second, mostly of one shard.
    assert!(tally.takeovers >= 8 && tally.resumes >= 50, "{tally:?}");
}

/// Op 7 to one of the shards; now and then the close alone, or a connection that is cut.
fn trouble(cluster: &Cluster, second: u32) {
    let shards =
        BOTS.iter().flat_map(|(app, count)| (0..*count).map(move |shard| (app, shard, count)));
    let (app, index, count) = shards.cycle().nth(second as usize).expect("it never ends");
    let target = Target::shard(*app, u32::from(index), u32::from(*count));
    let action = match second % 7 {
        3 => Action::Close { target, code: Some(4009), reason: String::new() },
        5 => Action::Cut { target },
        _ => Action::Reconnect { target, code: 4009, after: None },
    };
    // While the relay is down there is nobody to be troubled.
    cluster.platform.perform(&action).expect("the platform knows how");
}

fn event(number: u32) -> Injection {
    // Each bot meets each kind of event once in a round, and each round has another place.
    let place = (number / ROUND) % PLACES;
    // Shards take turns with bit 22 of the guild's id.
    let guild = (u64::from(place + 1) << 22).to_string();
    let channel = (1_000_000 + place).to_string();
    let (user, text) = (format!("user-{place}"), format!("hello {number}"));
    match (number.is_multiple_of(SAID_EACH), (number / SAID_EACH) % 4) {
        (true, 0) => Injection::c2c(&user, &text),
        (true, 1) => Injection::group_at(&format!("group-{place}"), &user, &text),
        (true, 2) => Injection::at(&guild, &channel, &user, &text),
        (true, _) => Injection::direct(&guild, &user, &text),
        (false, 0) => {
            let group = format!("group-{place}");
            Injection::group_message(&group, &user, &text).with(json!({"author": {"bot": true}}))
        }
        (false, 1) => Injection::of("GUILD_MEMBER_UPDATE").with(json!({"guild_id": guild})),
        (false, 2) => Injection::of("CHANNEL_UPDATE").with(json!({"guild_id": guild})),
        (false, _) => {
            let said = Injection::at(&guild, &channel, &user, &text);
            said.with(json!({"author": {"bot": true}}))
        }
    }
}
