//! Commands of outside clients: stored from `qq.v1.cmd.…`, and asked for on `qq.v1.rpc.…`.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use prometheus::Registry;
use qqrelay_proto::command::{Command, Content};
use qqrelay_proto::outcome::{News, Outcome, ResultRecord};
use qqrelay_proto::subject::ScopeSubject;
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::bus::nats::{NatsBus, ServiceMetrics, WAIT};
use qqrelay_runtime::bus::{Bus, Delivery, Only};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::nats_stage::{attempt, client, group, nats, servers};

/// No answer takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

fn command(id: &str) -> Command {
    Command::send(id.into(), "102".into(), group(), Content::Text("hello".into()))
}

fn place() -> ScopeSubject {
    ScopeSubject::new(&"102".into(), &group())
}

fn json_of(command: &Command) -> Vec<u8> {
    serde_json::to_vec(command).expect("a command is JSON")
}

async fn next(bus: &NatsBus) -> Delivery {
    let mut feed = bus.lane(place().lane()).await.expect("the lane is free");
    let delivery = timeout(PATIENCE, feed.next()).await.expect("something is to do");
    let delivery = delivery.expect("the lane is held");
    feed.ack(delivery.position);
    delivery
}

async fn ask(client: &Client, subject: &str, wait: &str, body: Vec<u8>) -> Message {
    let mut headers = HeaderMap::new();
    headers.insert(WAIT, wait);
    let request =
        async_nats::Request::new().headers(headers).payload(body.into()).timeout(Some(PATIENCE));
    client.send_request(subject.to_owned(), request).await.expect("the service answers")
}

/// The code and the sentence of a refusal.
fn refusal(message: &Message) -> (String, String) {
    let headers = message.headers.as_ref().expect("a refusal has headers");
    let text = |name: &str| headers.get(name).map(ToString::to_string).unwrap_or_default();
    (text("Nats-Service-Error-Code"), text("Nats-Service-Error"))
}

#[tokio::test]
async fn a_command_that_a_client_publishes_reaches_its_lane_once() {
    let servers = servers(1).await;
    let bus = attempt(&nats(servers.urls(), 1)).await.expect("the server will do");
    let client = client(&servers).await;
    let stream = async_nats::jetstream::new(client);
    let command = command("mine-1");
    for _ in 0..2 {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", "mine-1");
        let body = json_of(&command).into();
        let sent = stream.publish_with_headers(place().command("send"), headers, body).await;
        sent.expect("the server is there").await.expect("it is stored");
    }
    let delivery = next(&bus).await;
    assert_eq!(delivery.stored.record.subject, place().stored_command("send"));
    assert_eq!(delivery.stored.record.payload, json_of(&command));
    assert_eq!(delivery.stored.number, 1, "the second is the first");
}

#[tokio::test]
async fn who_asks_hears_the_outcome_and_what_is_wrong() {
    let servers = servers(1).await;
    let bus = attempt(&nats(servers.urls(), 1)).await.expect("the server will do");
    let client = client(&servers).await;
    let (registry, stop) = (Registry::new(), CancellationToken::new());
    let metrics = ServiceMetrics::register(&registry).expect("one service");
    let serving = tokio::spawn({
        let (bus, stop) = (bus.clone(), stop.clone());
        async move { bus.serve_requests(metrics, stop).await }
    });
    // The service is there once it says so itself.
    let there = async {
        while client.request("$SRV.PING.qqrelay", "".into()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, there).await.expect("the service is offered");

    let asked = command("rpc-1");
    let asking = tokio::spawn({
        let (client, body) = (client.clone(), json_of(&asked));
        async move { ask(&client, "qq.v1.rpc.102.send", "30", body).await }
    });
    next(&bus).await;
    let outcome = News::Outcome(Outcome::Sent { message_id: Some("M1".into()) });
    let record = ResultRecord::new(&asked, UnixMs(1), "worker".into(), outcome);
    let text = serde_json::to_vec(&record).expect("texts and numbers are JSON");
    bus.result(&place().result("rpc-1"), text.clone().into(), Only::Always)
        .await
        .expect("it is up");
    let answer = asking.await.expect("it asked");
    assert_eq!(answer.payload, text);

    let again = ask(&client, "qq.v1.rpc.102.send", "0", json_of(&asked)).await;
    assert_eq!(again.payload, text, "the same command has the same outcome");
    let later = ask(&client, "qq.v1.rpc.102.send", "0", json_of(&command("rpc-2"))).await;
    let later: Value = serde_json::from_slice(&later.payload).expect("it is JSON");
    assert_eq!(later, json!({"pending": "rpc-2"}));

    let elsewhere = ask(&client, "qq.v1.rpc.103.send", "0", json_of(&asked)).await;
    assert_eq!(refusal(&elsewhere).0, "400");
    assert!(refusal(&elsewhere).1.contains("qq.v1.rpc.102.send"));
    let unread = ask(&client, "qq.v1.rpc.102.send", "0", b"{}".to_vec()).await;
    assert_eq!(refusal(&unread).0, "400");
    let hasty = ask(&client, "qq.v1.rpc.102.send", "soon", json_of(&asked)).await;
    assert!(refusal(&hasty).1.contains(WAIT), "{:?}", refusal(&hasty));

    stop.cancel();
    serving.await.expect("it did not panic").expect("it ended well");
}
