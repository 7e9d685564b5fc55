//! Bots that are added, changed and removed while the relay runs, and shards that become more and
//! fewer: the file is edited, and nobody else notices.

use std::time::Duration;

use qqrelay_proto::record::{EndReason, SessionRecord};
use qqrelay_simulator::journal::Entry;
use qqrelay_simulator::{Action, Injection, Target};
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::wait::eventually;
use serde_json::json;
use tokio::time::interval;

const FIRST: &str = "102000001";
const SECOND: &str = "102000002";

fn say(cluster: &Cluster, app: &str, text: &str) {
    cluster.platform.inject(app, &Injection::c2c("user", text)).expect("the bot exists");
}

/// Something that asks for no reply, in one of a hundred groups.
fn notice(cluster: &Cluster, number: usize) {
    let event = Injection::group_message(&format!("group-{}", number % 100), "user", "on and on");
    let event = event.with(json!({"author": {"bot": true}}));
    cluster.platform.inject(FIRST, &event).expect("the bot exists");
}

/// How often a bot's sessions were resumed or begun.
fn connects(cluster: &Cluster, of: &str) -> usize {
    let is_its = |entry: &Entry| match entry {
        Entry::Resumed { app, .. } | Entry::Ready { app, .. } => app.as_str() == of,
        _ => false,
    };
    cluster.platform.journal().all().iter().filter(|line| is_its(&line.entry)).count()
}

/// The ends that the log says were ours, by their reason.
async fn ends(cluster: &Cluster, reason: EndReason) -> usize {
    let run = cluster.run().await.expect("the log");
    let is_end = |payload: &[u8]| {
        let said = serde_json::from_slice(payload);
        said.is_ok_and(|said: SessionRecord| said == SessionRecord::Ended { reason })
    };
    run.log.iter().filter(|(_, stored)| is_end(&stored.record.payload)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn g16_bots_come_and_go_while_others_live_on() {
    let (first, second) = (Bot::new(FIRST, 1), Bot::new(SECOND, 1));
    let servers = Some(Servers::start(1).await.expect("servers"));
    let mut setup = Setup { servers, ..Setup::echo(vec![first.clone()]) };
    setup.platform.apps = vec![second.account()];
    setup.expected.identifies = Some(4);
    setup.platform.gateway.max_concurrency = 2;
    let mut cluster = Cluster::up(setup).await.expect("every session");
    say(&cluster, FIRST, "one");

    cluster.configure(&[first.clone(), second.clone()]).expect("a file");
    cluster.live().await.expect("the second bot comes");
    say(&cluster, FIRST, "two");
    say(&cluster, SECOND, "one");
    cluster.settle().await.expect("everything is durable");
    cluster.answered().await.expect("and answered");

    // What cannot be read changes nothing.
    cluster.write_config("[[bots]]\napp_id = 7\n").expect("a file");
    eventually("it is refused", async || {
        let refused = cluster.relay().series("qqrelay_config_refused").await.ok()?;
        (refused == [1.0]).then_some(())
    })
    .await
    .expect("the gateway says so");
    say(&cluster, SECOND, "two");
    cluster.settle().await.expect("the sessions go on");

    cluster.configure(std::slice::from_ref(&first)).expect("a file");
    cluster.live().await.expect("the second bot goes");
    eventually("its end is in the log", async || {
        (ends(&cluster, EndReason::Removed).await == 1).then_some(())
    })
    .await
    .expect("an end");

    let both = [first, second];
    cluster.configure(&both).expect("a file");
    cluster.live().await.expect("the second bot comes back");

    // A session cannot be told to hear of something else.
    let text = cluster.config_for(&both) + "intents = [\"GROUP_AND_C2C_EVENT\"]\n";
    cluster.write_config(&text).expect("a file");
    eventually("its session is begun anew", async || {
        (connects(&cluster, SECOND) == 3).then_some(())
    })
    .await
    .expect("another session");
    assert_eq!(ends(&cluster, EndReason::Reconfigured).await, 1);
    cluster.live().await.expect("every session");
    say(&cluster, FIRST, "three");
    say(&cluster, SECOND, "three");
    cluster.settle().await.expect("everything is durable");
    assert_eq!(connects(&cluster, FIRST), 1, "the first bot's session was not touched");
    let report = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!((report.tally.events, report.tally.gaps), (6, 2));
}

/// 1 → 2 → 1, with two gateways: the new set comes up beside the old one, and nothing is lost, stored
/// twice, or resumed that was ended.
#[tokio::test(flavor = "multi_thread")]
async fn d29_shards_become_more_and_fewer_under_load() {
    let servers = Some(Servers::start(1).await.expect("servers"));
    let mut setup = Setup { servers, ..Setup::echo(vec![Bot::new(FIRST, 1)]) };
    setup.platform.gateway.max_concurrency = 2;
    setup.expected.identifies = Some(1 + 2 + 1);
    let mut cluster = Cluster::up(setup).await.expect("every session");
    cluster.start().await.expect("a second gateway");
    cluster.shared().await.expect("a share for each");
    let mut said = 0;
    for shards in [2, 1] {
        cluster.configure(&[Bot::new(FIRST, shards)]).expect("a file");
        let mut turns = interval(Duration::from_millis(20));
        let talk = async {
            loop {
                turns.tick().await;
                notice(&cluster, said);
                said += 1;
            }
        };
        tokio::select! {
            live = cluster.live() => live.expect("the new set alone"),
            () = talk => {}
        }
    }
    cluster.settle().await.expect("everything is durable");
    assert_eq!(ends(&cluster, EndReason::Resharded).await, 3);
    let report = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
    let tally = report.tally;
    assert_eq!((tally.events, tally.gaps), (said, 1), "{tally:?}");
    assert!(tally.duplicates > 0, "no event was shown by both sets: {tally:?}");
}

/// A bot that follows the platform's advice: a close that says too many guilds has it read again.
#[tokio::test(flavor = "multi_thread")]
async fn d29_a_bot_on_auto_follows_the_platforms_advice() {
    let mut setup = Setup::echo(vec![Bot::advised(FIRST, 1)]);
    setup.platform.gateway.max_concurrency = 2;
    setup.expected.identifies = Some(3);
    let mut cluster = Cluster::up(setup).await.expect("every session");
    say(&cluster, FIRST, "one");
    cluster.settle().await.expect("everything is durable");
    cluster.platform.perform(&Action::Shards { count: 2 }).expect("it advises two");
    let (target, code, reason) = (Target::default(), Some(4011), String::new());
    let close = Action::Close { target, code, reason };
    cluster.platform.perform(&close).expect("it is closed");
    cluster.configure(&[Bot::advised(FIRST, 2)]).expect("a file that says the same");
    cluster.live().await.expect("two shards");
    say(&cluster, FIRST, "two");
    let report = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(report.tally.events, 2);
}
