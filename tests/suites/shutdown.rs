//! Stopping loses nothing: what is in hand is finished, sessions live on, the next start resumes.

use qqrelay_simulator::journal::{By, Entry};
use qqrelay_simulator::{Action, Injection};
use qqrelay_tests::cluster::{Bot, Cluster, Setup};
use qqrelay_tests::wait::eventually;

const APP: &str = "102000001";
const SHARDS: u16 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_ends_with_0_and_the_next_start_resumes() {
    let setup = Setup::echo(vec![Bot::new(APP, SHARDS)]);
    let mut cluster = Cluster::new(setup).await.expect("a platform");
    let mut said = 0;
    for start in 0..3 {
        cluster.start().await.expect("a relay");
        cluster.live().await.expect("every session");
        for number in 0..40 {
            let user = format!("user-{}", number % 8);
            let event = Injection::c2c(&user, &format!("{start}: {number}"));
            cluster.platform.inject(APP, &event).expect("the bot exists");
            said += 1;
        }
        // In the midst of it: some are stored and not answered, some not yet read.
        let status = cluster.terminate().await.expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", cluster.output().unwrap_or_default());
    }
    let closes = cluster.platform.journal().all().into_iter().filter_map(|line| match line.entry {
        Entry::Close { by: By::Client, code, .. } => code,
        _ => None,
    });
    let closes: Vec<_> = closes.collect();
    assert_eq!(closes, vec![4000; 3 * usize::from(SHARDS)], "codes that keep the session");

    cluster.start().await.expect("a relay");
    cluster.live().await.expect("every session");
    eventually("every reply", async || {
        (cluster.platform.journal().shown().len() >= said).then_some(())
    })
    .await
    .expect("nothing said is left unanswered");
    let tally = cluster.finish().await.expect("a run that kept its promises").tally;
    assert_eq!((tally.replies, tally.gaps), (said, 0));
    assert_eq!(tally.resumes, 3 * usize::from(SHARDS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_platform_is_gone_still_ends_when_asked() {
    let setup = Setup { bots: vec![Bot::new(APP, 1)], ..Setup::default() };
    let mut cluster = Cluster::new(setup).await.expect("a platform");
    cluster.start().await.expect("a relay");
    cluster.live().await.expect("a session");
    let target = qqrelay_simulator::Target::default();
    let stall = Action::Stall { target, reading: true, writing: true, lasts: None };
    cluster.platform.perform(&stall).expect("the platform knows how");
    let status = cluster.terminate().await.expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", cluster.output().unwrap_or_default());
}
