//! The whole way under fire: events at a rate, forced reconnects, and a relay that is killed; on a
//! file, and on servers that are killed as well.

use qqrelay_tests::cluster::{Cluster, Servers};
use qqrelay_tests::course::{self, Course, Pushed, SHARDS, length};
use qqrelay_tests::invariants::Tally;
use qqrelay_tests::wait::eventually;
use redis::Value;

/// Runs a course. At each of its quarters something fails.
async fn run(
    course: Course,
    cluster: &mut Cluster,
    mut fail: impl AsyncFnMut(&mut Cluster, u32),
) -> Pushed {
    let quarter = course.events / 4;
    let happens = async |cluster: &mut Cluster, number: u32| {
        if number.is_multiple_of(quarter) && number > 0 {
            fail(cluster, number / quarter).await;
        }
        Ok(())
    };
    course.run(cluster, happens).await.expect("everything is said")
}

async fn judge(course: Course, cluster: Cluster, pushed: &Pushed) -> Tally {
    course.judge(cluster, pushed).await.unwrap_or_else(|error| panic!("{error:#}"))
}

fn two_partitions() -> Vec<(&'static str, String)> {
    vec![("QQRELAY_LOG__PARTITIONS", "2".to_owned())]
}

/// A gateway with every session and a worker, on servers of their own.
async fn apart(replicas: u8, env: Vec<(&'static str, String)>) -> Cluster {
    let servers = Servers::start(replicas).await.expect("servers");
    Cluster::up(course::setup(Some(servers), env)).await.expect("every session")
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_events_are_stored_and_answered_once_whatever_is_killed() {
    let mut cluster = Cluster::up(course::setup(None, two_partitions())).await.expect("a relay");
    let course = Course { events: 50_000 * length(), rate: 600, said_each: 4 };
    let pushed = run(course, &mut cluster, async |cluster, _| {
        cluster.kill().expect("a relay to kill");
        cluster.start().await.expect("a relay");
    })
    .await;
    let tally = judge(course, cluster, &pushed).await;
    // Three kills and one start, two partitions; a reconnect each second, mostly of one shard.
    assert!(tally.takeovers >= 8 && tally.resumes >= 50, "{tally:?}");
}

/// Gateway, worker, NATS and Redis as processes of their own, each of which fails once.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_events_on_servers_whatever_is_killed() {
    let mut cluster = apart(1, Vec::new()).await;
    let course = Course { events: 100_000 * length(), rate: 1_200, said_each: 8 };
    let pushed = run(course, &mut cluster, fail_one_after_the_other).await;
    eventually("every source's resume point is copied", async || {
        let servers = cluster.servers.as_ref()?;
        let copies: Vec<String> = servers.redis.command(&["KEYS", "qq:resume:*"]).ok()?;
        (copies.len() == usize::from(SHARDS)).then_some(())
    })
    .await
    .expect("copies for people");
    let tally = judge(course, cluster, &pushed).await;
    // Eight partitions, taken once more after the gateway's kill; a reconnect each second.
    assert!(tally.takeovers >= 16 && tally.resumes >= 50, "{tally:?}");
}

async fn fail_one_after_the_other(cluster: &mut Cluster, quarter: u32) {
    match quarter {
        1 => {
            let servers = cluster.servers.as_mut().expect("there are servers");
            servers.nats.servers[0].restart().await.expect("NATS starts again");
        }
        2 => {
            cluster.kill().expect("a gateway to kill");
            cluster.start().await.expect("a gateway");
        }
        _ => {
            let servers = cluster.servers.as_mut().expect("there are servers");
            servers.redis.command::<Value>(&["FLUSHALL"]).expect("Redis forgets everything");
            cluster.kill_worker().expect("a worker to kill");
            cluster.start_worker().await.expect("a worker");
        }
    }
}

/// On three servers, of which one after the other is killed.
#[tokio::test(flavor = "multi_thread")]
async fn c1_c3_events_on_three_replicas_outlive_their_leaders() {
    let mut cluster = apart(3, two_partitions()).await;
    let course = Course { events: 15_000 * length(), rate: 500, said_each: 8 };
    let pushed = run(course, &mut cluster, async |cluster, quarter| {
        let servers = cluster.servers.as_mut().expect("there are servers");
        let server = &mut servers.nats.servers[quarter as usize - 1];
        server.restart().await.expect("it starts again");
    })
    .await;
    judge(course, cluster, &pushed).await;
}

/// One worker becomes four; the first, which has every lane, is killed; two of the others are asked to
/// end. Order per place and one reply each are what the judge looks at.
#[tokio::test(flavor = "multi_thread")]
async fn workers_come_and_go_under_load() {
    let mut cluster = apart(1, two_partitions()).await;
    let course = Course { events: 15_000 * length(), rate: 500, said_each: 4 };
    let pushed = run(course, &mut cluster, async |cluster, quarter| match quarter {
        1 => {
            for _ in 0..3 {
                cluster.start_worker().await.expect("one more worker");
            }
        }
        2 => cluster.kill_worker().expect("a worker to kill"),
        _ => {
            for _ in 0..2 {
                cluster.terminate_worker().await.expect("a worker to end");
            }
        }
    })
    .await;
    judge(course, cluster, &pushed).await;
}

/// One gateway becomes three; the first, which had every session, is killed; the others are replaced
/// one after the other, as a rolling restart does. No session is begun anew.
#[tokio::test(flavor = "multi_thread")]
async fn a1_a7_gateways_come_and_go_under_load() {
    let mut cluster = apart(1, Vec::new()).await;
    let course = Course { events: 15_000 * length(), rate: 500, said_each: 8 };
    let pushed = run(course, &mut cluster, async |cluster, quarter| match quarter {
        1 => {
            for _ in 0..2 {
                cluster.start().await.expect("one more gateway");
            }
        }
        2 => cluster.kill().expect("a gateway to kill"),
        _ => {
            for _ in 0..2 {
                cluster.start().await.expect("one more gateway");
                cluster.terminate_gateway().await.expect("a gateway to end");
            }
        }
    })
    .await;
    judge(course, cluster, &pushed).await;
}
