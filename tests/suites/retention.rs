//! What retention may not take from a gateway: rows C27 and C28 of the fault matrix.

use qqrelay_simulator::journal::Entry;
use qqrelay_simulator::{Config as PlatformConfig, Injection};
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::wait::paced;

const APP: &str = "102000001";

/// Fills the partition three times at least: an event is more than four kibibytes there.
const EVENTS: usize = 30_000;

/// One shard floods a small partition, the other is silent.
#[tokio::test(flavor = "multi_thread")]
async fn c27_c28_a_flooding_neighbour_takes_neither_resume_point_nor_marker() {
    let mut platform = PlatformConfig::default();
    platform.gateway.max_concurrency = 2;
    platform.replay.frames = 100_000;
    let setup = Setup {
        bots: vec![Bot::new(APP, 2)],
        platform,
        env: vec![
            ("QQRELAY_LOG__PARTITIONS", "1".to_owned()),
            ("QQRELAY_LOG__MAX_BYTES", "32MiB".to_owned()),
            ("QQRELAY_LOG__RECORD_LIMIT", "64KiB".to_owned()),
        ],
        servers: Some(Servers::start(1).await.expect("servers")),
        ..Setup::default()
    };
    let mut cluster = Cluster::new(setup).await.expect("a platform");
    cluster.start().await.expect("a gateway");
    cluster.live().await.expect("both sessions");
    // What is said outside of guilds goes to shard 0.
    let event = Injection::c2c("user", &"x".repeat(2_000));
    paced(EVENTS, |_| {
        cluster.platform.inject(APP, &event).expect("the bot exists");
    })
    .await;
    cluster.settle().await.expect("everything is stored");

    let log = cluster.run().await.expect("the log").log;
    let (first, last) = (log[0].1.number, log[log.len() - 1].1.number);
    assert!(first > 2 * (last - first), "turned over too little: {first} to {last}");
    let subjects = || log.iter().map(|(_, stored)| stored.record.subject.as_str());
    assert!(subjects().any(|subject| subject.ends_with(".own")), "no marker left");
    assert!(subjects().any(|subject| subject.ends_with(".2-1.ses")), "no resume point left");

    cluster.kill().expect("a gateway to kill");
    cluster.start().await.expect("a gateway");
    cluster.live().await.expect("both sessions");
    let journal = cluster.platform.journal().all();
    let count = |what: &str| journal.iter().filter(|line| line.entry.label() == what).count();
    assert_eq!((count("identify"), count("resumed")), (2, 2), "{:?}", {
        let told = |entry: &Entry| !matches!(entry, Entry::Dispatch { .. } | Entry::Ack { .. });
        journal.iter().filter(|line| told(&line.entry)).collect::<Vec<_>>()
    });
    cluster.finish_unjudged().await.expect("it ends");
}
