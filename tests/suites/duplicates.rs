//! An event that the platform pushes twice is one event and one `dup`, and is answered once.

use qqrelay_simulator::{Action, Injection};
use qqrelay_tests::cluster::{Bot, Cluster, Setup};
use qqrelay_tests::invariants::{Answers, Expected};
use qqrelay_tests::stage::Stage;
use qqrelay_tests::wait::eventually;

const APP: &str = "102000001";

#[tokio::test(flavor = "multi_thread")]
async fn d23_an_event_that_is_pushed_again_is_one_event_and_one_dup() {
    let mut stage = Stage::live().await;
    let said = [stage.say("a"), stage.say("b"), stage.say("c")];
    for pushed in &said {
        stage.push_again(pushed);
    }
    // Right behind one another: the first has no number yet when the second comes.
    let pushed = stage.say("d");
    stage.push_again(&pushed);
    stage.settle().await;
    stage.expected.identifies = Some(1);
    let tally = stage.finish().await.tally;
    assert_eq!((tally.events, tally.duplicates), (4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn d23_a_restarted_gateway_knows_the_events_of_before() {
    let mut stage = Stage::live().await;
    let said = [stage.say("a"), stage.say("b")];
    stage.settle().await;
    stage.stop().await;
    stage.push_again(&said[0]);
    stage.start().await;
    stage.resumed(1).await;
    stage.all_live().await;
    stage.push_again(&said[1]);
    stage.settle().await;
    stage.expected.identifies = Some(1);
    let tally = stage.finish().await.tally;
    assert_eq!((tally.events, tally.duplicates), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_relay_answers_an_event_once_that_comes_again() {
    let setup = Setup {
        bots: vec![Bot::new(APP, 1)],
        expected: Expected { identifies: Some(1), answers: Answers::Echo, ..Expected::default() },
        ..Setup::default()
    };
    let mut cluster = Cluster::up(setup).await.expect("a relay");
    let said =
        cluster.platform.inject(APP, &Injection::c2c("user", "once")).expect("the bot exists");
    eventually("the reply", async || (replies(&cluster) > 0).then_some(())).await.expect("an echo");
    cluster.kill().expect("a relay to kill");
    let again = Action::PushAgain { injection: said.injection };
    cluster.platform.perform(&again).expect("it is remembered");
    cluster.start().await.expect("a relay");
    cluster.live().await.expect("a session");
    let last = Injection::c2c("user", "and on");
    cluster.platform.inject(APP, &last).expect("the bot exists");
    eventually("the reply", async || (replies(&cluster) > 1).then_some(())).await.expect("an echo");
    let tally = cluster.finish().await.expect("a run that kept its promises").tally;
    assert_eq!((tally.events, tally.duplicates, tally.replies), (2, 1, 2));
}

fn replies(cluster: &Cluster) -> usize {
    cluster.platform.journal().shown().len()
}
