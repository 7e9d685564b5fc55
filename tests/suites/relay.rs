//! The gateway's main road: a session begins, events are stored once and in order, and what ends a
//! socket does not end the session.

use qqrelay_gateway::Drained;
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::Partition;
use qqrelay_simulator::{Action, AppConfig, Config, Injection, Simulator, Target};
use qqrelay_tests::gateway::{Running, config};

const APP: &str = "102000001";
const SECRET: &str = "a-secret-of-a-bot";

async fn platform() -> Simulator {
    let apps = vec![AppConfig::new(APP, SECRET)];
    Simulator::start(Config { apps, ..Config::default() }).await.expect("a platform")
}

fn say(platform: &Simulator, text: &str) {
    platform.inject(APP, &Injection::c2c("user", text)).expect("the bot exists");
}

/// The sequences of a session's frame records, in the log's order.
fn seqs(records: &[(Partition, Stored)]) -> Vec<u64> {
    let frames = records.iter().filter(|(_, stored)| !stored.record.subject.ends_with(".gap"));
    frames.filter_map(|(_, stored)| stored.record.headers.seq).collect()
}

fn events(records: &[(Partition, Stored)]) -> usize {
    records.iter().filter(|(_, stored)| stored.record.headers.event.is_some()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_bot_records_a_gap_then_its_session_and_every_event() {
    let platform = platform().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&platform.base_url(), &[(APP, SECRET, 1)]);
    let relay = Running::start(config, &folder.path().join("log")).await.expect("a relay");
    relay.read_until(|read| seqs(read) == [1]).await.expect("READY");
    for number in 0..100 {
        say(&platform, &number.to_string());
    }
    let read = relay.read_until(|read| events(read) == 100).await.expect("all events");
    assert_eq!(seqs(&read), (1..=101).collect::<Vec<_>>());
    assert_eq!(relay.stop().await.expect("it stops"), Drained::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_socket_or_the_process_does_not_end_the_session() {
    let platform = platform().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let config = config(&platform.base_url(), &[(APP, SECRET, 1)]);
    let relay = Running::start(config.clone(), &path).await.expect("a relay");
    relay.read_until(|read| seqs(read) == [1]).await.expect("READY");
    let ends = [
        Action::Reconnect { target: Target::default(), code: 4009, after: None },
        Action::Close { target: Target::default(), code: Some(4009), reason: String::new() },
        Action::Cut { target: Target::default() },
    ];
    for (number, end) in ends.iter().enumerate() {
        platform.perform(end).expect("a socket is open");
        say(&platform, "while away");
        relay.read_until(|read| events(read) == number + 1).await.expect("the event");
    }
    assert_eq!(relay.stop().await.expect("it stops"), Drained::Clean);

    say(&platform, "while down");
    let relay = Running::start(config, &path).await.expect("a relay");
    let read = relay.read_until(|read| events(read) == 4).await.expect("all events");
    let seqs = seqs(&read);
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "one session, no hole");
    assert_eq!(relay.stop().await.expect("it stops"), Drained::Clean);
}
