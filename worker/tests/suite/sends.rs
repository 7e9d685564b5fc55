//! What becomes of a send when the platform answers badly, late, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use qqrelay_proto::command::CommandId;
use qqrelay_proto::id::{AppId, Scene, Scope};
use qqrelay_proto::outcome::{News, Outcome};
use qqrelay_worker::app::Drained;
use qqrelay_worker::presence::Sessions;
use serde_json::json;
use tokio::sync::watch;

use super::platform::{Received, Script};
use super::world::{APP, World, group, reply_id};

const GROUP: &str = "/v2/groups/G1/messages";
const CHANNEL: &str = "/channels/C1/messages";

fn channel() -> Scope {
    Scope::new(Scene::Channel, "C1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_shown_without_an_answer_is_sent_again_and_seen_once() {
    let mut world = World::new().await;
    world.call = Duration::from_millis(300);
    world.platform.script(GROUP, Script::ShowAndStall);
    let worker = world.echo();
    let event = world.says(Scene::Group, "G1", "ping").await;
    let outcome = world.outcome(&group("G1"), &reply_id(&event, "echo", 0)).await;
    assert_eq!(outcome, Outcome::Deduped);
    let received = world.platform.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].msg_seq(), received[1].msg_seq());
    assert_eq!(world.platform.shown().len(), 1);
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_message_without_an_answer_is_ambiguous_and_never_sent_again() {
    let mut world = World::new().await;
    world.call = Duration::from_millis(300);
    world.platform.script(CHANNEL, Script::ShowAndStall);
    let worker = world.echo();
    let event = world.says(Scene::Channel, "C1", "ping").await;
    let news = world.results(&channel(), &reply_id(&event, "echo", 0)).await;
    assert!(matches!(news[..], [News::Attempt(_), News::Outcome(Outcome::Ambiguous)]), "{news:?}");
    assert_eq!(world.platform.received().len(), 1);
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_somebody_else_used_gives_way_to_the_next() {
    let mut world = World::new().await;
    let worker = world.echo();
    // Of what is there before the lane is taken, an earlier attempt could have been forgotten.
    world.says(Scene::Group, "G1", "first").await;
    world.platform.wait_for(1).await;
    let event = format!("{APP}:m-2");
    let taken = CommandId::of_handler(&event, "echo", 0).msg_seq();
    world.platform.know(GROUP, "m-2", taken.get().into());
    assert_eq!(world.says(Scene::Group, "G1", "second").await, event);
    let outcome = world.outcome(&group("G1"), &reply_id(&event, "echo", 0)).await;
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    let received = world.platform.received();
    let numbers: Vec<_> = received[1..].iter().map(Received::msg_seq).collect();
    assert_eq!(numbers, [taken, taken.next()].map(|number| Some(number.get().into())));
    assert_eq!(world.platform.shown().len(), 2);
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_final_and_has_its_code_and_sentence() {
    let mut world = World::new().await;
    let refusal = json!({ "code": 304_027, "message": "too old" });
    world.platform.script(CHANNEL, Script::Answer(400, refusal));
    let worker = world.echo();
    let event = world.says(Scene::Channel, "C1", "ping").await;
    let outcome = world.outcome(&channel(), &reply_id(&event, "echo", 0)).await;
    let Outcome::Rejected { code: 304_027, sentence } = outcome else { panic!("{outcome:?}") };
    assert!(!sentence.is_empty());
    assert_eq!(world.platform.received().len(), 1);
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_the_platform_closed_is_asked_again_only_after_an_event() {
    let mut world = World::new().await;
    let muted = json!({ "code": 40_054_002, "message": "muted" });
    world.platform.script(GROUP, Script::Answer(400, muted));
    let worker = world.echo();
    let event = world.says(Scene::Group, "G1", "first").await;
    let outcome = world.outcome(&group("G1"), &reply_id(&event, "echo", 0)).await;
    assert!(matches!(outcome, Outcome::Rejected { code: 40_054_002, .. }), "{outcome:?}");
    let push = super::commands::text("c-1", &group("G1"), "push");
    world.command(&push).await;
    let outcome = world.outcome(&group("G1"), "c-1").await;
    assert!(matches!(outcome, Outcome::Rejected { code: 40_054_002, .. }), "{outcome:?}");
    assert_eq!(world.platform.received().len(), 1, "the push was not sent");
    let event = world.says(Scene::Group, "G1", "second").await;
    let outcome = world.outcome(&group("G1"), &reply_id(&event, "echo", 0)).await;
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_refusal_waits_as_long_as_the_platform_says_and_loses_nothing() {
    let mut world = World::new().await;
    world.platform.script(GROUP, Script::Answer(429, json!({ "code": 22_009 })));
    let worker = world.echo();
    let event = world.says(Scene::Group, "G1", "ping").await;
    let outcome = world.outcome(&group("G1"), &reply_id(&event, "echo", 0)).await;
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    let received = world.platform.received();
    assert_eq!(received.len(), 2);
    assert!(received[1].at - received[0].at >= Duration::from_secs(1), "it waited");
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_gets_no_more_than_its_rate() {
    let mut world = World::new().await;
    let worker = world.echo();
    for number in 0..5 {
        world.says(Scene::Channel, "C1", &number.to_string()).await;
    }
    let received = world.platform.wait_for(5).await;
    let texts: Vec<_> = received.iter().map(|received| received.text().to_owned()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4"]);
    // Two at once, then four a second; a little less, because the first call takes its time.
    let took = received[4].at - received[0].at;
    assert!(took >= Duration::from_millis(600), "five messages in {took:?}");
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_waits_for_its_bot_to_be_connected() {
    let mut world = World::new().await;
    let app = AppId::from(APP);
    let (gateway, live) = watch::channel(BTreeMap::from([(app.clone(), 0)]));
    world.presence = Arc::new(Sessions(live));
    let worker = world.echo();
    world.says(Scene::Group, "G1", "ping").await;
    let held = super::world::eventually(async || (gateway.receiver_count() > 1).then_some(()));
    held.await;
    assert!(world.platform.received().is_empty());
    gateway.send_replace(BTreeMap::from([(app, 1)]));
    assert_eq!(world.platform.wait_for(1).await[0].text(), "ping");
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_is_held_no_longer_than_configured() {
    let mut world = World::new().await;
    world.config.egress.hold = Duration::from_millis(50);
    let (_gateway, live) = watch::channel(BTreeMap::from([(AppId::from(APP), 0)]));
    world.presence = Arc::new(Sessions(live));
    let worker = world.echo();
    world.says(Scene::Group, "G1", "ping").await;
    assert_eq!(world.platform.wait_for(1).await[0].text(), "ping");
    assert_eq!(worker.stop().await, Drained::Clean);
}
