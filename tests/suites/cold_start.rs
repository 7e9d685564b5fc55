//! A process that begins before its servers do.

use qqrelay_simulator::Injection;
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::invariants::{Answers, Expected};
use qqrelay_tests::process::ask;
use qqrelay_tests::servers::free_port;
use qqrelay_tests::wait::eventually;

const APP: &str = "102000001";

/// What `/readyz?verbose` answers, with its status.
async fn readiness(port: u16) -> Option<(u16, String)> {
    let answer = ask(([127, 0, 0, 1], port).into(), "/readyz?verbose=1").await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

/// Waits until the process says that it is not ready, and why.
async fn waits_for(port: u16, why: &str) {
    eventually(why, async || {
        let (status, text) = readiness(port).await?;
        (status == 503 && text.contains(why)).then_some(())
    })
    .await
    .expect("it says what it waits for");
}

/// It waits, not ready, with a sentence for each; then it is as usual.
#[tokio::test(flavor = "multi_thread")]
async fn b15_a_gateway_waits_for_redis_and_nats_and_says_so() {
    let mut servers = Servers::start(1).await.expect("servers");
    servers.redis.kill();
    servers.nats.servers[0].kill();
    // It shall be asked before it says where it is.
    let port = free_port().expect("a free port");
    let setup = Setup {
        bots: vec![Bot::new(APP, 1)],
        env: vec![("QQRELAY_ADMIN__LISTEN", format!("127.0.0.1:{port}"))],
        // There is no worker.
        expected: Expected { identifies: Some(1), answers: Answers::Any, ..Expected::default() },
        servers: Some(servers),
        ..Setup::default()
    };
    let mut cluster = Cluster::new(setup).await.expect("a platform");
    let started = cluster.start_while(async |servers| {
        waits_for(port, "no Redis server answers").await;
        servers.redis.restart().await.expect("Redis starts");
        waits_for(port, "no NATS server answers").await;
        servers.nats.servers[0].restart().await.expect("NATS starts");
    });
    started.await.expect("it goes on by itself");
    assert_eq!(readiness(port).await.map(|(status, _)| status), Some(200));
    cluster.live().await.expect("a session");
    cluster.platform.inject(APP, &Injection::c2c("user", "ping")).expect("the bot exists");
    let tally = cluster.finish().await.expect("a run that kept its promises").tally;
    assert_eq!((tally.events, tally.gaps), (1, 0));
}
