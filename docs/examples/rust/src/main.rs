//! Answers /ping by a command, wherever it is said, and says what became of each answer.
//!
//! ```sh
//! cargo run                                 # events of every bot
//! cargo run -- 102000001                    # of one bot
//! cargo run -- 102000001 group GROUP_OPENID # of one place
//! ```
//!
//! NATS_URL, NATS_USER, NATS_PASSWORD and NATS_INBOX_PREFIX say where NATS is, and who you are.

use std::env;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::ConnectOptions;
use async_nats::jetstream::consumer::AckPolicy;
use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::{self, AckKind, Context, Message};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Of the durable consumers: where they are is kept on the server under it.
const NAME: &str = "ping";

/// What a durable consumer gives, for ever, from where it was left.
async fn messages(jetstream: &Context, stream: &str, subjects: &str) -> anyhow::Result<Stream> {
    let config = Config {
        name: Some(NAME.to_owned()),
        durable_name: Some(NAME.to_owned()),
        filter_subject: subjects.to_owned(),
        ack_policy: AckPolicy::Explicit,
        // What a program that died had in hand comes again after so long.
        ack_wait: Duration::from_secs(10),
        // One after the other, so that order holds over a restart.
        max_ack_pending: 1,
        ..Config::default()
    };
    let consumer = jetstream.create_consumer_on_stream(config, stream).await;
    let consumer = consumer.with_context(|| stream.to_owned())?;
    Ok(consumer.stream().max_messages_per_batch(1).messages().await?)
}

/// The command that answers an event.
fn answer(event: &Value) -> Option<Value> {
    if event["message"]["command"]["name"] != "ping" {
        return None;
    }
    let reply = event.get("reply")?;
    let mut command = json!({
        "v": 1,
        // The same event, the same id: it is answered once.
        "id": format!("ping/{}", event["id"].as_str()?),
        "reply": reply,
        "deadline": reply["expires_at"],
        "action": {"send": {"content": {"text": "pong"}}},
    });
    for member in ["app", "scene", "scope", "guild", "traceparent"] {
        if let Some(value) = event.get(member) {
            command[member] = value.clone();
        }
    }
    Some(command)
}

/// Publishes a command; it is stored when this returns.
async fn send(jetstream: &Context, event: &Message, command: &Value) -> anyhow::Result<()> {
    // Parts of the event's subject are those of the command's, as they stand.
    let part: Vec<&str> = event.subject.split('.').collect();
    let [_, _, _, _, app, _, _, _, scene, scope, _] = part[..] else {
        anyhow::bail!("{}: no event's subject", event.subject);
    };
    let id = command["id"].as_str().unwrap_or_default();
    let publish = jetstream::message::PublishMessage::build()
        .message_id(id)
        .payload(command.to_string().into());
    let subject = format!("qq.v1.cmd.{app}.{scene}.{scope}.send");
    jetstream.send_publish(subject, publish).await?.await?;
    Ok(())
}

async fn follow_events(jetstream: Context, stream: String, subjects: String) -> anyhow::Result<()> {
    let mut messages = messages(&jetstream, &stream, &subjects).await?;
    while let Some(message) = messages.next().await {
        let Ok(message) = message else { continue }; // the connection is being made again
        let event: Value = serde_json::from_slice(&message.payload)?;
        println!("event {} {}", text(&event["id"]), text(&event["kind"]));
        let sent = match answer(&event) {
            Some(command) => send(&jetstream, &message, &command).await,
            None => Ok(()),
        };
        let kind = match sent {
            Ok(()) => AckKind::Ack,
            Err(error) => {
                eprintln!("not stored, tried again: {error:#}");
                AckKind::Nak(Some(Duration::from_secs(1)))
            }
        };
        message.ack_with(kind).await.map_err(anyhow::Error::from_boxed)?;
    }
    anyhow::bail!("{stream}: no messages any more")
}

async fn follow_results(jetstream: Context, subjects: String) -> anyhow::Result<()> {
    let mut messages = messages(&jetstream, "QQ_RESULTS", &subjects).await?;
    while let Some(message) = messages.next().await {
        let Ok(message) = message else { continue };
        let result: Value = serde_json::from_slice(&message.payload)?;
        if text(&result["id"]).starts_with("ping/") && result.get("outcome").is_some() {
            println!("outcome {} {}", text(&result["id"]), text(&result["outcome"]["kind"]));
        }
        message.ack().await.map_err(anyhow::Error::from_boxed)?;
    }
    anyhow::bail!("no results any more")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut filter = env::args().skip(1);
    let [app, scene, scope] = [(); 3].map(|()| filter.next().unwrap_or_else(|| "*".to_owned()));
    let variable = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let mut options = ConnectOptions::new();
    if let Ok(user) = env::var("NATS_USER") {
        options = options.user_and_password(user, variable("NATS_PASSWORD", ""));
    }
    let client = options
        .custom_inbox_prefix(variable("NATS_INBOX_PREFIX", "_INBOX"))
        .connect(variable("NATS_URL", "nats://127.0.0.1:4222"))
        .await?;
    let question = r#"{"subject": "qq.v1.ev.>"}"#;
    let names = client.request("$JS.API.STREAM.NAMES", question.into()).await?;
    let names: Value = serde_json::from_slice(&names.payload)?;
    let jetstream = jetstream::new(client);
    let events = format!("qq.v1.ev.*.{app}.*.e.*.{scene}.{scope}.*");
    let results = format!("qq.v1.res.{app}.{scene}.{scope}.*");
    let mut following = JoinSet::new();
    following.spawn(follow_results(jetstream.clone(), results));
    for stream in names["streams"].as_array().context("no streams: does a relay run?")? {
        following.spawn(follow_events(jetstream.clone(), text(stream).to_owned(), events.clone()));
    }
    following.join_next().await.context("nothing to follow")??
}
