//! Several gateways share a bot's shards, several workers its lanes: who comes gets its part, who goes
//! gives it, who dies or sleeps leaves it. No session is begun anew for that, no reply is said twice.

use std::collections::BTreeSet;
use std::time::Duration;

use qqrelay_simulator::journal::Entry;
use qqrelay_simulator::{Action, Injection, Target};
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::wait::{eventually, within};
use redis::Value;

const APP: &str = "102000001";
const SHARDS: u16 = 8;

/// For four sessions on each gateway, one after the other, each behind a question that Redis leaves
/// without an answer.
const BEGUN_WITHIN: Duration = Duration::from_secs(120);

/// One gateway that has everything, and a worker.
async fn cluster() -> Cluster {
    let servers = Some(Servers::start(1).await.expect("servers"));
    let setup = Setup { servers, ..Setup::echo(vec![Bot::new(APP, SHARDS)]) };
    Cluster::up(setup).await.expect("every session")
}

/// Says something in each shard's part of the world.
fn say(cluster: &Cluster, round: usize) {
    for place in 1..=u64::from(SHARDS) {
        let guild = (place << 22).to_string();
        let event = Injection::at(&guild, "1000", "user", &format!("round {round}"));
        cluster.platform.inject(APP, &event).expect("the bot exists");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a7_partitions_are_spread_over_gateways_that_come_and_go() {
    let mut cluster = cluster().await;
    cluster.shared().await.expect("a share for each");
    say(&cluster, 0);
    cluster.start().await.expect("a second");
    cluster.shared().await.expect("a share for each");
    say(&cluster, 1);
    cluster.start().await.expect("a third");
    cluster.shared().await.expect("a share for each");
    say(&cluster, 2);
    cluster.terminate_gateway().await.expect("the first hands over and ends");
    cluster.shared().await.expect("a share for each");
    say(&cluster, 3);
    cluster.kill().expect("the second dies");
    cluster.shared().await.expect("a share for each");
    say(&cluster, 4);
    let report = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!((report.tally.events, report.tally.gaps), (5 * usize::from(SHARDS), 0));
}

/// Events go on while lanes move: each is answered once, in its order.
#[tokio::test(flavor = "multi_thread")]
async fn lanes_are_spread_over_workers_that_come_and_go() {
    let mut cluster = cluster().await;
    cluster.lanes_shared().await.expect("all for one");
    say(&cluster, 0);
    cluster.start_worker().await.expect("a second");
    say(&cluster, 1);
    cluster.lanes_shared().await.expect("a half for each");
    cluster.start_worker().await.expect("a third");
    say(&cluster, 2);
    cluster.lanes_shared().await.expect("a third for each");
    cluster.terminate_worker().await.expect("the first ends");
    say(&cluster, 3);
    cluster.lanes_shared().await.expect("a half for each");
    cluster.kill_worker().expect("the second dies");
    say(&cluster, 4);
    cluster.lanes_shared().await.expect("all for one");
    let report = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
    let tally = report.tally;
    assert_eq!(tally.replies + tally.ambiguous, 5 * usize::from(SHARDS), "{tally:?}");
}

/// Row A5: it wakes up with sockets that are another's, writes nothing, takes nothing back, and gets
/// its part again when there is something to share.
#[tokio::test(flavor = "multi_thread")]
async fn a5_a_gateway_that_slept_through_a_takeover_stands_down() {
    let mut cluster = cluster().await;
    cluster.start().await.expect("a second");
    cluster.shared().await.expect("a share for each");
    let asleep = cluster.put_to_sleep().expect("the first sleeps");
    say(&cluster, 0);
    cluster.shared().await.expect("a share for each");
    say(&cluster, 1);
    cluster.wake(asleep).expect("it wakes up");
    cluster.shared().await.expect("a share for each");
    say(&cluster, 2);
    let lost = cluster.relay().series("qqrelay_partitions_lost_total").await.expect("a counter");
    assert_eq!(lost, [4.0], "each once");
    let report = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!((report.tally.events, report.tally.gaps), (3 * usize::from(SHARDS), 0));
}

/// Rows B1 to B3: Redis forgets, goes, and comes back empty. Owners go on, and nothing moves.
#[tokio::test(flavor = "multi_thread")]
async fn b1_b2_b3_owners_go_on_whatever_redis_forgets() {
    let mut cluster = cluster().await;
    cluster.start().await.expect("a second");
    cluster.shared().await.expect("a share for each");
    let resumes = resumes(&cluster);
    let servers = cluster.servers.as_ref().expect("there are servers");
    servers.redis.command::<Value>(&["FLUSHALL"]).expect("Redis forgets everything");
    say(&cluster, 0);
    leased(&cluster).await;
    cluster.servers.as_mut().expect("there are servers").redis.kill();
    say(&cluster, 1);
    cluster.settle().await.expect("what is said while Redis is away is durable");
    let servers = cluster.servers.as_mut().expect("there are servers");
    servers.redis.restart().await.expect("Redis comes back empty");
    leased(&cluster).await;
    say(&cluster, 2);
    cluster.shared().await.expect("a share for each");
    assert_eq!(self::resumes(&cluster), resumes, "nothing has moved");
    let report = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!((report.tally.events, report.tally.gaps), (3 * usize::from(SHARDS), 0));
}

/// Sessions that end while Redis is away begin again: each gateway starts its part of what may start
/// at once. Two that leave five seconds apart may come a little closer.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_begin_while_redis_is_away() {
    let servers = Some(Servers::start(1).await.expect("servers"));
    let mut setup = Setup { servers, ..Setup::echo(vec![Bot::new(APP, SHARDS)]) };
    setup.platform.gateway.max_concurrency = 2;
    setup.expected.identifies = Some(2 * usize::from(SHARDS));
    let mut cluster = Cluster::up(setup).await.expect("every session");
    cluster.start().await.expect("a second");
    cluster.shared().await.expect("a share for each");
    cluster.servers.as_mut().expect("there are servers").redis.kill();
    let ended = Action::EndSession { target: Target::default() };
    cluster.platform.perform(&ended).expect("every session ends");
    within(BEGUN_WITHIN, "every session has begun anew", async || {
        let lines = cluster.platform.journal().all();
        let begun = lines.iter().filter(|line| matches!(line.entry, Entry::Ready { .. })).count();
        (begun == 2 * usize::from(SHARDS)).then_some(())
    })
    .await
    .expect("identifies without Redis");
    say(&cluster, 0);
    cluster.settle().await.expect("what is said is durable");
    let servers = cluster.servers.as_mut().expect("there are servers");
    servers.redis.restart().await.expect("Redis comes back empty");
    let at: Vec<_> = cluster
        .platform
        .journal()
        .all()
        .iter()
        .filter(|line| matches!(line.entry, Entry::Identify { .. }))
        .map(|line| line.at_ms)
        .collect();
    assert!(
        at.windows(3).all(|three| three[2] - three[0] > 4_000),
        "more than two at once: {at:?}"
    );
    let report = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(
        (report.tally.events, report.tally.gaps),
        (usize::from(SHARDS), usize::from(SHARDS))
    );
}

/// Waits until every partition has a lease in Redis.
async fn leased(cluster: &Cluster) {
    eventually("every partition is leased", async || {
        let redis = &cluster.servers.as_ref()?.redis;
        let leases: BTreeSet<String> = redis.command(&["KEYS", "qq:lease:p:*"]).ok()?;
        (leases.len() == 8).then_some(())
    })
    .await
    .expect("leases are taken again");
}

fn resumes(cluster: &Cluster) -> usize {
    let lines = cluster.platform.journal().all();
    lines.iter().filter(|line| matches!(line.entry, Entry::Resumed { .. })).count()
}
