//! The handler `nats` against somebody who answers, and nobody who does.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use qqrelay_proto::command::Content;
use qqrelay_proto::event::Event;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_tests::servers::nats::heard;
use qqrelay_worker::handler::{Context, Handler, HandlerError, Nats, NatsSetup, Reply};

use crate::nats_stage::{attempt, client, nats, servers};

const SUBJECT: &str = "qq.handler.test";

const EVENT: &str = r#"{"v":1,"id":"102:m1","app":"102","kind":"message_create",
"type":"C2C_MESSAGE_CREATE","scene":"c2c","scope":"U1","received":"2026-11-25T00:00:00Z","origin":{"ingress":"websocket"}}"#;

async fn handler(bus: &NatsBus) -> Nats {
    let (subject, timeout) = (SUBJECT.to_owned(), Duration::from_secs(5));
    Nats::new(NatsSetup { subject, timeout, answer_bytes: 1024 }, bus.clone())
}

async fn handle(handler: &Nats) -> Result<Vec<Reply>, HandlerError> {
    let json = Bytes::from_static(EVENT.as_bytes());
    let event: Event<'_> = serde_json::from_slice(&json).expect("it is an event");
    let context = Context { json: json.clone(), failures: 0, trace_parent: Some("00-ab".into()) };
    handler.handle(&event, &context).await
}

#[tokio::test]
async fn an_answer_becomes_replies_and_the_lack_of_one_burns_no_attempt() {
    let servers = servers(1).await;
    let bus = attempt(&nats(servers.urls(), 1)).await.expect("the server will do");
    let handler = handler(&bus).await;
    let nobody = handle(&handler).await.expect_err("nobody subscribes");
    assert_eq!(nobody.label(), "infrastructure");

    let answerer = client(&servers).await;
    let mut asked = answerer.subscribe(SUBJECT).await.expect("it may subscribe");
    heard(&answerer).await.expect("the server hears it");
    let answers = ["", r#"{"reply": "pong"}"#, r#"{"rply": 1}"#, &"x".repeat(2000)];
    let answers = answers.map(|answer| Bytes::from(answer.to_owned()));
    let answering = tokio::spawn(async move {
        for answer in answers {
            let request = asked.next().await.expect("a request");
            assert_eq!(request.payload, EVENT.as_bytes());
            let headers = request.headers.expect("there are headers");
            let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
            assert_eq!(header("Qq-Id").as_deref(), Some("102:m1"));
            assert_eq!(header("traceparent").as_deref(), Some("00-ab"));
            let reply = request.reply.expect("it wants an answer");
            answerer.publish(reply, answer).await.expect("the server is there");
        }
        answerer.flush().await.expect("the last one leaves, too");
    });
    assert_eq!(handle(&handler).await.expect("an answer without replies"), []);
    let replies = handle(&handler).await.expect("an answer");
    assert_eq!(replies, [Reply::new(Content::Text("pong".into()))]);
    assert_eq!(handle(&handler).await.expect_err("no answer of ours").label(), "failed");
    assert_eq!(handle(&handler).await.expect_err("too large").label(), "failed");
    answering.await.expect("every request was as it had to be");
}
