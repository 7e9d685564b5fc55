//! A Redis that forgets or is away in the middle: rows B16 and B17 of the fault matrix.

use async_nats::Client;
use qqrelay_proto::command::{Command, Content, Reply};
use qqrelay_proto::event::Event;
use qqrelay_proto::id::{Scene, Scope};
use qqrelay_proto::outcome::{News, Outcome, ResultRecord};
use qqrelay_simulator::control::Arming;
use qqrelay_simulator::faults::{Aim, Armed};
use qqrelay_simulator::journal::Sent;
use qqrelay_simulator::rest::Fault;
use qqrelay_simulator::{Action, Injection};
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::invariants::{Answers, Expected};
use qqrelay_tests::wait::eventually;
use redis::Value;

const APP: &str = "102000001";

async fn cluster(handler: &str, answers: Answers) -> Cluster {
    let setup = Setup {
        bots: vec![Bot::new(APP, 1)],
        env: vec![("QQRELAY_WORKER__HANDLER", handler.to_owned())],
        expected: Expected { identifies: Some(1), answers, ..Expected::default() },
        servers: Some(Servers::start(1).await.expect("servers")),
        ..Setup::default()
    };
    Cluster::up(setup).await.expect("a relay")
}

/// Messages that people see, in order.
fn shown(cluster: &Cluster) -> Vec<Sent> {
    cluster.platform.journal().shown()
}

/// Asks for a reply and waits for its outcome.
async fn reply(client: &Client, to: &Reply, number: usize) -> Outcome {
    let (id, text) = (format!("b16/{number}"), format!("reply {number}"));
    let place = Scope::new(Scene::C2c, "user");
    let command = Command::send(id.as_str().into(), APP.into(), place, Content::Text(text));
    let command = Command { reply: Some(to.clone()), ..command };
    let body = serde_json::to_vec(&command).expect("plain data").into();
    let answer = client.request(format!("qq.v1.rpc.{APP}.send"), body).await.expect("an answer");
    let record: ResultRecord = serde_json::from_slice(&answer.payload)
        .unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    match record.news {
        News::Outcome(outcome) => outcome,
        News::Attempt(_) => panic!("no outcome: {record:?}"),
    }
}

/// Redis forgets everything while a reply is on its way; more replies to the same message follow.
#[tokio::test(flavor = "multi_thread")]
async fn b16_what_the_ledger_forgot_is_shown_once_and_at_worst_refused() {
    let cluster = cluster("none", Answers::Any).await;
    cluster.platform.inject(APP, &Injection::c2c("user", "hello")).expect("the bot exists");
    cluster.settle().await.expect("it is stored");
    let log = cluster.run().await.expect("the log").log;
    let event = log.iter().find(|(_, stored)| stored.record.headers.event.is_some());
    let event: Event<'_> =
        serde_json::from_slice(&event.expect("an event").1.record.payload).expect("it is one");
    let right = event.reply.expect("the right to reply");
    let most = right.limit.map(usize::from).expect("a single chat takes a few");
    let right = serde_json::to_value(&right).expect("plain data");
    let to: Reply = serde_json::from_value(right).expect("it stands in a command as it is");

    let aim = Aim { path: Some("messages".to_owned()), ..Aim::default() };
    let slow = Armed::next(1, Fault::Slow { ms: 2_000 }).aimed(aim);
    cluster.platform.perform(&Action::Arm(Arming::Rest(slow))).expect("the platform knows how");
    let servers = cluster.servers.as_ref().expect("there are servers");
    let client = async_nats::connect(servers.nats.urls()).await.expect("a client");
    let forget = async {
        eventually("the ledger has the claim", async || {
            let claims: Vec<String> = servers.redis.command(&["KEYS", "qq:led:*"]).ok()?;
            (!claims.is_empty()).then_some(())
        })
        .await
        .expect("a claim");
        assert_eq!(shown(&cluster), [], "it is on its way");
        servers.redis.command::<Value>(&["FLUSHALL"]).expect("Redis forgets everything");
    };
    let (first, ()) = tokio::join!(reply(&client, &to, 0), forget);
    assert!(matches!(first, Outcome::Sent { .. }), "{first:?}");
    for number in 1..most {
        let outcome = reply(&client, &to, number).await;
        assert!(matches!(outcome, Outcome::Sent { .. }), "{number}: {outcome:?}");
    }
    // The ledger has counted one less than the platform has.
    let last = reply(&client, &to, most).await;
    assert!(matches!(last, Outcome::Rejected { .. }), "{last:?}");

    let shown = shown(&cluster);
    let texts: Vec<_> = shown.iter().map(|sent| sent.content.clone()).collect();
    let expected: Vec<_> = (0..most).map(|number| format!("reply {number}")).collect();
    assert_eq!(texts, expected);
    let mut numbers: Vec<_> = shown.iter().map(|sent| sent.msg_seq).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), most, "each under a number of its own: {shown:?}");
    cluster.finish().await.expect("a run that kept its promises");
}

/// The same event comes twice while Redis is away. With two sources it would be stored twice at most;
/// this gateway has one, which remembers by itself.
#[tokio::test(flavor = "multi_thread")]
async fn b17_an_event_that_comes_twice_while_redis_is_away_is_handled_once() {
    let mut cluster = cluster("echo", Answers::Echo).await;
    cluster.servers.as_mut().expect("there are servers").redis.kill();
    let pushed = cluster.platform.inject(APP, &Injection::c2c("user", "hello"));
    let injection = pushed.expect("the bot exists").injection;
    cluster.platform.perform(&Action::PushAgain { injection }).expect("it is remembered");
    cluster.settle().await.expect("both are stored");
    let servers = cluster.servers.as_mut().expect("there are servers");
    servers.redis.restart().await.expect("Redis starts again");
    eventually("the reply is shown", async || (!shown(&cluster).is_empty()).then_some(()))
        .await
        .expect("a reply");
    let tally = cluster.finish().await.expect("a run that kept its promises").tally;
    assert_eq!((tally.events, tally.duplicates, tally.replies), (1, 1, 1));
}
