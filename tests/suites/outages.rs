//! Servers that are away, one after the other and all at once, and what somebody did to Redis by hand.

use std::time::Duration;

use qqrelay_simulator::Injection;
use qqrelay_simulator::journal::Entry;
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::course::length;
use qqrelay_tests::wait::eventually;
use redis::Value;
use serde_json::json;
use tokio::time::{Instant, interval};

const APP: &str = "102000001";
const SHARDS: u16 = 4;

/// How long NATS is away in CI: longer than a socket stays open that cannot be read, so that every rung of
/// the ladder is stood on. `QQRELAY_LONG=7` makes it more than five minutes.
const NATS_AWAY: Duration = Duration::from_secs(45);

async fn cluster(replicas: u8) -> Cluster {
    let servers = Some(Servers::start(replicas).await.expect("servers"));
    let mut setup = Setup { servers, ..Setup::echo(vec![Bot::new(APP, SHARDS)]) };
    // The platform keeps what nobody hears for as long as the longest outage.
    setup.platform.replay.frames = 100_000;
    Cluster::up(setup).await.expect("every session")
}

fn servers(cluster: &mut Cluster) -> &mut Servers {
    cluster.servers.as_mut().expect("there are servers")
}

/// Something that asks for no reply, to one shard after the other.
fn notice(cluster: &Cluster, number: usize) {
    let guild = ((number % 1_000 + 1) as u64) << 22;
    let event = Injection::at(&guild.to_string(), "1000", "user", &number.to_string());
    let event = event.with(json!({"author": {"bot": true}}));
    cluster.platform.inject(APP, &event).expect("the bot exists");
}

/// Says something fifty times a second for so long; gives how often.
async fn talk(cluster: &Cluster, lasts: Duration) -> usize {
    let (until, mut turns, mut said) =
        (Instant::now() + lasts, interval(Duration::from_millis(20)), 0);
    while Instant::now() < until {
        turns.tick().await;
        notice(cluster, said);
        said += 1;
    }
    said
}

/// How many lines of the platform's journal are like this.
fn lines(cluster: &Cluster, is_it: impl Fn(&Entry) -> bool) -> usize {
    cluster.platform.journal().all().iter().filter(|line| is_it(&line.entry)).count()
}

fn resumes(cluster: &Cluster) -> usize {
    lines(cluster, |entry| matches!(entry, Entry::Resumed { .. }))
}

async fn finish(cluster: Cluster, said: usize) {
    finish_with(cluster, said, 0).await;
}

/// Judges the run, which holds so many events and gaps.
async fn finish_with(cluster: Cluster, events: usize, gaps: usize) {
    let tally = cluster.finish().await.unwrap_or_else(|error| panic!("{error:#}")).tally;
    assert_eq!((tally.events, tally.gaps), (events, gaps), "{tally:?}");
}

/// Two of three servers, then all three: buffer, stop reading, close so that the session lives, and
/// resume from where the log ends. Heartbeats are answered until the sockets are left.
#[tokio::test(flavor = "multi_thread")]
async fn c4_c5_an_outage_of_nats_loses_nothing_that_the_platform_keeps() {
    let mut cluster = cluster(3).await;
    let mut said = talk(&cluster, Duration::from_secs(1)).await;
    for away in [2, 3] {
        for server in &mut servers(&mut cluster).nats.servers[..away] {
            server.kill();
        }
        let resumed = resumes(&cluster);
        said += talk(&cluster, NATS_AWAY * length()).await;
        for server in &mut servers(&mut cluster).nats.servers[..away] {
            server.restart().await.expect("it starts again");
        }
        cluster.live().await.expect("every session");
        said += talk(&cluster, Duration::from_secs(1)).await;
        cluster.settle().await.expect("everything is durable");
        assert!(resumes(&cluster) >= resumed + usize::from(SHARDS), "the sockets were left");
    }
    finish(cluster, said).await;
}

/// Every gateway dies at one moment, and others come: every session is resumed.
#[tokio::test(flavor = "multi_thread")]
async fn a9_gateways_that_all_die_at_once_are_followed_by_resumes() {
    let mut cluster = cluster(1).await;
    cluster.start().await.expect("a second");
    cluster.shared().await.expect("a share for each");
    let mut said = talk(&cluster, Duration::from_secs(1)).await;
    cluster.kill().expect("the first dies");
    cluster.kill().expect("the second dies");
    said += talk(&cluster, Duration::from_secs(1)).await;
    for _ in 0..2 {
        cluster.start().await.expect("another");
    }
    cluster.shared().await.expect("a share for each");
    finish(cluster, said).await;
}

/// A pause that is shorter than what counts as death: nothing moves, no socket is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a4_a_short_pause_of_a_gateway_moves_nothing() {
    let mut cluster = cluster(1).await;
    cluster.start().await.expect("a second");
    cluster.shared().await.expect("a share for each");
    let (before, mut said) = (resumes(&cluster), 0);
    for _ in 0..3 {
        let asleep = cluster.put_to_sleep().expect("it sleeps");
        said += talk(&cluster, Duration::from_millis(600)).await;
        cluster.wake(asleep).expect("it wakes up");
        said += talk(&cluster, Duration::from_secs(1)).await;
    }
    cluster.settle().await.expect("everything is durable");
    assert_eq!(resumes(&cluster), before, "nothing has moved");
    finish(cluster, said).await;
}

/// Redis stands still for 20 s: sessions live on, events are stored, nothing moves.
#[tokio::test(flavor = "multi_thread")]
async fn b8_redis_that_stands_still_holds_nobody_up() {
    let mut cluster = cluster(1).await;
    let before = resumes(&cluster);
    servers(&mut cluster).redis.stand_still().expect("it stands still");
    let mut said = talk(&cluster, Duration::from_secs(20)).await;
    cluster.settle().await.expect("everything is durable");
    servers(&mut cluster).redis.go_on().expect("it goes on");
    said += talk(&cluster, Duration::from_secs(2)).await;
    assert_eq!(resumes(&cluster), before, "nothing has moved");
    finish(cluster, said).await;
}

/// Leases that end too early and leases that never end: owners go on; those of a dead one are taken.
#[tokio::test(flavor = "multi_thread")]
async fn b6_b7_leases_that_end_early_or_never_decide_nothing() {
    let mut cluster = cluster(1).await;
    let before = resumes(&cluster);
    let keys = leases(&cluster).await;
    for key in &keys {
        redis(&cluster, &["PEXPIRE", key, "1"]);
    }
    let mut said = talk(&cluster, Duration::from_secs(5)).await;
    assert_eq!(resumes(&cluster), before, "nothing has moved");
    for key in leases(&cluster).await {
        redis(&cluster, &["PERSIST", &key]);
    }
    cluster.kill().expect("the owner dies");
    cluster.start().await.expect("another");
    said += talk(&cluster, Duration::from_secs(1)).await;
    cluster.live().await.expect("what stands still is taken");
    finish(cluster, said).await;
}

/// Copies of resume points that are ahead of the log, or of another session: RESUME goes by the log.
#[tokio::test(flavor = "multi_thread")]
async fn b13_b14_a_copy_of_a_resume_point_is_never_believed() {
    let mut cluster = cluster(1).await;
    let mut said = talk(&cluster, Duration::from_secs(1)).await;
    cluster.settle().await.expect("everything is durable");
    let keys = eventually("there are copies", async || {
        let keys: Vec<String> = redis_keys(&cluster, "qq:resume:*")?;
        (keys.len() == usize::from(SHARDS)).then_some(keys)
    });
    let keys = keys.await.expect("copies");
    cluster.kill().expect("the owner dies");
    for (number, key) in keys.iter().enumerate() {
        let copy = ask::<String>(&cluster, &["GET", key]);
        let mut copy: serde_json::Value = serde_json::from_str(&copy).expect("JSON");
        match number % 2 {
            0 => copy["seq"] = json!(1_000_000),
            _ => copy["session"] = json!("another"),
        }
        redis(&cluster, &["SET", key, &copy.to_string()]);
    }
    cluster.start().await.expect("another");
    cluster.live().await.expect("every session");
    said += talk(&cluster, Duration::from_secs(1)).await;
    finish(cluster, said).await;
}

/// A stream is deleted under its owner: what was lost is said, and the bot goes on.
#[tokio::test(flavor = "multi_thread")]
async fn c11_a_stream_that_is_deleted_leaves_a_gap_that_says_so() {
    let servers = Servers::start(1).await.expect("servers");
    let mut setup = Setup { servers: Some(servers), ..Setup::echo(vec![Bot::new(APP, 1)]) };
    setup.env.push(("QQRELAY_LOG__PARTITIONS", "1".to_owned()));
    setup.expected.identifies = Some(2);
    setup.platform.gateway.max_concurrency = 2;
    let cluster = Cluster::up(setup).await.expect("every session");
    talk(&cluster, Duration::from_secs(1)).await;
    cluster.settle().await.expect("everything is durable");
    let url = cluster.servers.as_ref().expect("there are servers").nats.urls().swap_remove(0);
    let client = async_nats::connect(url).await.expect("the server takes a client");
    let deleted = client.request("$JS.API.STREAM.DELETE.QQ_EV_00", "".into()).await;
    deleted.expect("it is deleted");
    notice(&cluster, 0);
    let lost = "qqrelay_gaps_total{reason=\"log_lost\"}";
    eventually("the gap is written", async || {
        let gaps = cluster.relay().series(lost).await.ok()?;
        (gaps == [1.0]).then_some(())
    })
    .await
    .expect("the owner finds out");
    cluster.live().await.expect("the bot goes on");
    let said = talk(&cluster, Duration::from_secs(1)).await;
    finish_with(cluster, said, 1).await;
}

async fn leases(cluster: &Cluster) -> Vec<String> {
    let all = eventually("every partition is leased", async || {
        let keys = redis_keys(cluster, "qq:lease:p:*")?;
        (keys.len() == 8).then_some(keys)
    });
    all.await.expect("leases")
}

fn redis_keys(cluster: &Cluster, pattern: &str) -> Option<Vec<String>> {
    cluster.servers.as_ref()?.redis.command(&["KEYS", pattern]).ok()
}

fn redis(cluster: &Cluster, words: &[&str]) {
    ask::<Value>(cluster, words);
}

fn ask<T: redis::FromRedisValue>(cluster: &Cluster, words: &[&str]) -> T {
    let redis = &cluster.servers.as_ref().expect("there are servers").redis;
    redis.command(words).expect("Redis answers")
}
