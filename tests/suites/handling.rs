//! What befalls events on their way through a handler: rows A19, A21 to A23 and A25 of the fault
//! matrix, with gateway and workers apart and the handler in the suite's hand.

use std::collections::BTreeMap;
use std::time::Duration;

use qqrelay_proto::id::{AppId, Scene, Scope};
use qqrelay_proto::subject::{Lane, ScopeSubject};
use qqrelay_simulator::{Config as PlatformConfig, Injection};
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::invariants::Expected;
use qqrelay_tests::seam::{Asked, Seam};
use qqrelay_tests::wait::{paced, within};
use serde_json::json;

const APP: &str = "102000001";

/// For what has to go at the platform's pace, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(120);

async fn cluster() -> (Cluster, Seam) {
    let servers = Servers::start(1).await.expect("servers");
    let seam = Seam::on(&servers).await.expect("a handler");
    let mut platform = PlatformConfig::default();
    platform.replay.frames = 100_000;
    platform.journal.memory = usize::MAX;
    let mut env = Seam::env();
    env.push(("QQRELAY_LOG__PARTITIONS", "1".to_owned()));
    let setup = Setup {
        bots: vec![Bot::new(APP, 1)],
        platform,
        env,
        expected: Expected { identifies: Some(1), ..Expected::default() },
        servers: Some(servers),
        ..Setup::default()
    };
    (Cluster::up(setup).await.expect("a relay"), seam)
}

fn say(cluster: &Cluster, user: &str, text: &str) {
    cluster.platform.inject(APP, &Injection::c2c(user, text)).expect("the bot exists");
}

async fn next(seam: &mut Seam) -> Asked {
    seam.next().await.expect("a worker asks")
}

/// The next question about this text. What a dead worker had shown and not yet recorded as over is
/// asked once more by the one after it, and answered.
async fn next_saying(seam: &mut Seam, text: &str) -> Asked {
    loop {
        let asked = next(seam).await;
        if asked.text == text {
            return asked;
        }
        assert_eq!(asked.text, "hello");
        echo(seam, asked).await;
    }
}

async fn echo(seam: &Seam, asked: Asked) {
    seam.echo(asked).await.expect("it can be answered");
}

async fn replace_worker(cluster: &mut Cluster) {
    cluster.kill_worker().expect("a worker to kill");
    cluster.start_worker().await.expect("a worker");
}

/// What the platform has shown, place by place and in order.
fn shown(cluster: &Cluster) -> BTreeMap<String, Vec<String>> {
    let mut shown: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for sent in cluster.platform.journal().shown() {
        shown.entry(sent.scope).or_default().push(sent.content);
    }
    shown
}

/// The sum of the worker's series that begin like this.
async fn counted(cluster: &Cluster, series: &str) -> Option<f64> {
    Some(cluster.worker().series(series).await.ok()?.iter().sum())
}

async fn counts(cluster: &Cluster, series: &str, least: f64) {
    within(PATIENCE, series, async || (counted(cluster, series).await? >= least).then_some(()))
        .await
        .expect("the worker counts it");
}

/// The worker is killed with an event of each of 50 places in hand and 450 behind them.
#[tokio::test(flavor = "multi_thread")]
async fn a19_a_lane_taken_over_with_work_in_flight_keeps_order_and_answers_once() {
    const USERS: usize = 50;
    const EACH: usize = 10;
    let (mut cluster, mut seam) = cluster().await;
    for turn in 0..EACH {
        for user in 0..USERS {
            say(&cluster, &format!("user-{user}"), &format!("{turn}"));
        }
    }
    let mut in_hand = Vec::new();
    while in_hand.len() < USERS {
        in_hand.push(next(&mut seam).await);
    }
    cluster.settle().await.expect("everything is stored");
    assert!(in_hand.iter().all(|asked| asked.text == "0"), "one after the other: {in_hand:?}");
    replace_worker(&mut cluster).await;
    // The one that is dead hears no answer any more.
    for asked in in_hand {
        echo(&seam, asked).await;
    }
    for _ in 0..USERS * EACH {
        let asked = next(&mut seam).await;
        echo(&seam, asked).await;
    }
    let expected: Vec<_> = (0..EACH).map(|turn| turn.to_string()).collect();
    within(PATIENCE, "every reply is shown", async || {
        (shown(&cluster).values().map(Vec::len).sum::<usize>() >= USERS * EACH).then_some(())
    })
    .await
    .expect("replies");
    cluster.answered().await.expect("nothing is left to do");
    let shown = shown(&cluster);
    assert!(shown.len() == USERS && shown.values().all(|texts| *texts == expected), "{shown:?}");
    cluster.finish().await.expect("a run that kept its promises");
}

/// A place whose handler is stuck gets 1,000 events: 256 wait, the others go, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a21_what_a_place_has_no_room_for_goes_to_the_dead_letters_in_order() {
    const EVENTS: usize = 1_000;
    const WAITING: usize = 256;
    let (cluster, mut seam) = cluster().await;
    say(&cluster, "stuck", "first");
    let stuck = next(&mut seam).await;
    for number in 0..EVENTS {
        say(&cluster, "stuck", &number.to_string());
    }
    let over = EVENTS - WAITING;
    counts(&cluster, "qqrelay_dlq_total{reason=\"overflow\"}", over as f64).await;
    say(&cluster, "other", "hello");
    let other = next(&mut seam).await;
    assert_eq!((other.scope.as_str(), other.text.as_str()), ("other", "hello"));
    echo(&seam, other).await;

    seam.pass(stuck).await.expect("it can be answered");
    for number in 0..WAITING {
        let asked = next(&mut seam).await;
        assert_eq!(asked.text, number.to_string());
        seam.pass(asked).await.expect("it can be answered");
    }
    cluster.answered().await.expect("nothing is left to do");
    let letters = cluster.letters().await.expect("the dead letters");
    assert!(letters.iter().all(|letter| letter.reason == "overflow"), "{letters:?}");
    let numbers: Vec<_> = letters.iter().map(|letter| letter.stream_number).collect();
    assert!(numbers.len() == over && numbers.is_sorted(), "{numbers:?}");
    let shown = shown(&cluster);
    assert_eq!(shown.get("other").map(Vec::len), Some(1), "{shown:?}");
    cluster.finish().await.expect("a run that kept its promises");
}

/// An event that ends every worker that hands it to its handler.
#[tokio::test(flavor = "multi_thread")]
async fn a22_an_event_that_kills_every_worker_is_given_up_at_the_twentieth() {
    const STARTS: usize = 20;
    let (mut cluster, mut seam) = cluster().await;
    say(&cluster, "killer", "poison");
    let mut starts = 0;
    while starts < STARTS {
        next_saying(&mut seam, "poison").await;
        starts += 1;
        // Another place goes on meanwhile.
        if starts == 2 {
            say(&cluster, "other", "hello");
            let other = next_saying(&mut seam, "hello").await;
            echo(&seam, other).await;
            within(PATIENCE, "the other is answered", async || {
                shown(&cluster).contains_key("other").then_some(())
            })
            .await
            .expect("a reply");
        }
        if starts < STARTS {
            replace_worker(&mut cluster).await;
        }
    }
    replace_worker(&mut cluster).await;
    counts(&cluster, "qqrelay_dlq_total{reason=\"poison\"}", 1.0).await;
    say(&cluster, "killer", "harmless");
    // The place goes on behind it.
    let asked = next_saying(&mut seam, "harmless").await;
    echo(&seam, asked).await;
    cluster.answered().await.expect("nothing is left to do");
    let letters = cluster.letters().await.expect("the dead letters");
    assert!(letters.len() == 1 && letters[0].reason == "poison", "{letters:?}");
    cluster.finish().await.expect("a run that kept its promises");
}

/// Nobody answers where the worker asks. What 10 minutes would show is that no attempt is counted;
/// six tries show it, for five failures are the end of an event.
#[tokio::test(flavor = "multi_thread")]
async fn a23_a_handler_that_cannot_be_reached_burns_no_attempt() {
    let (cluster, seam) = cluster().await;
    let servers = cluster.servers.as_ref().expect("there are servers");
    drop(seam);
    say(&cluster, "user", "anybody?");
    let failed =
        "qqrelay_handler_duration_seconds_count{handler=\"nats\",result=\"infrastructure\"}";
    counts(&cluster, failed, 6.0).await;
    let mut seam = Seam::on(servers).await.expect("a handler");
    let asked = within(PATIENCE, "it is asked again", async || seam.next().await.ok()).await;
    echo(&seam, asked.expect("it waited")).await;
    within(PATIENCE, "the reply is shown", async || {
        shown(&cluster).contains_key("user").then_some(())
    })
    .await
    .expect("a reply");
    assert_eq!(counted(&cluster, "qqrelay_dlq_total").await, Some(0.0));
    cluster.finish().await.expect("a run that kept its promises");
}

/// Groups whose events share a lane.
fn neighbours() -> impl Iterator<Item = String> {
    let app = AppId::from(APP);
    let lane = move |group: &str| -> Lane {
        ScopeSubject::new(&app, &Scope::new(Scene::Group, group)).lane()
    };
    let first = lane("group-0");
    (0..).map(|number| format!("group-{number}")).filter(move |group| lane(group) == first)
}

/// What asks for no reply.
fn notice(group: &str, text: &str) -> Injection {
    Injection::group_message(group, "user", text).with(json!({"author": {"bot": true}}))
}

/// Says so much in these groups, at a pace that the relay can hold.
async fn fill(cluster: &Cluster, groups: &[String], count: usize) {
    paced(count, |number| {
        let event = notice(&groups[number % groups.len()], "on and on");
        cluster.platform.inject(APP, &event).expect("the bot exists");
    })
    .await;
}

/// One event is open while 60,000 above it are handled; a new worker handles none of them again.
/// With 65,536 above it, it is given up.
#[tokio::test(flavor = "multi_thread")]
async fn a25_an_event_open_for_long_costs_no_work_twice_and_is_given_up_in_the_end() {
    const BEFORE: usize = 60_000;
    const AFTER: usize = 10_000;
    let (mut cluster, mut seam) = cluster().await;
    let mut groups = neighbours();
    let stuck = groups.next().expect("there are groups without end");
    let groups: Vec<_> = groups.take(64).collect();
    cluster.platform.inject(APP, &notice(&stuck, "stuck")).expect("the bot exists");
    let held = next(&mut seam).await;
    assert_eq!(held.text, "stuck");

    handled(&cluster, &mut seam, &groups, BEFORE).await;
    cluster.settle().await.expect("everything is stored");
    counts(&cluster, "qqrelay_handler_duration_seconds_count", BEFORE as f64).await;
    let open = "qqrelay_consumer_lag";
    within(PATIENCE, open, async || (counted(&cluster, open).await? <= 1.0).then_some(()))
        .await
        .expect("all others are over");
    replace_worker(&mut cluster).await;
    // The dead one's; the new one asks for this event, and for no other.
    drop(held);
    let held = next(&mut seam).await;
    assert_eq!(held.text, "stuck");

    handled(&cluster, &mut seam, &groups, AFTER).await;
    counts(&cluster, "qqrelay_dlq_total{reason=\"stuck\"}", 1.0).await;
    cluster.answered().await.expect("nothing is left to do");
    let letters = cluster.letters().await.expect("the dead letters");
    assert!(letters.len() == 1 && letters[0].reason == "stuck", "{letters:?}");
    cluster.finish().await.expect("a run that kept its promises");
}

/// Says so much and handles exactly that.
async fn handled(cluster: &Cluster, seam: &mut Seam, groups: &[String], count: usize) {
    let handling = async {
        for _ in 0..count {
            let asked = next(seam).await;
            assert_eq!(asked.text, "on and on");
            seam.pass(asked).await.expect("it can be answered");
        }
    };
    tokio::join!(fill(cluster, groups, count), handling);
}
