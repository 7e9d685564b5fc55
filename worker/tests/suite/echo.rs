//! The whole way, from an event in the log to a message on the platform.

use std::sync::Arc;

use async_trait::async_trait;
use qqrelay_proto::event::Event;
use qqrelay_proto::id::{Scene, Scope};
use qqrelay_proto::outcome::{News, Outcome};
use qqrelay_worker::app::Drained;
use qqrelay_worker::handler::{Context, Handler, HandlerError, Reply};
use serde_json::json;

use super::world::{World, group, now, reply_id, rfc3339};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_any_scene_is_answered_in_its_place() {
    let mut world = World::new().await;
    let worker = world.echo();
    let scenes = [
        (Scene::C2c, "U1", "/v2/users/U1/messages"),
        (Scene::Group, "G1", "/v2/groups/G1/messages"),
        (Scene::Channel, "C1", "/channels/C1/messages"),
        (Scene::Dm, "D1", "/dms/D1/messages"),
    ];
    for (at, (scene, place, path)) in scenes.into_iter().enumerate() {
        let event = world.says(scene, place, "ping").await;
        let received = world.platform.wait_for(at + 1).await.pop().expect("just counted");
        assert_eq!((received.path.as_str(), received.text()), (path, "ping"));
        assert_eq!(received.body["msg_id"], format!("m-{}", at + 1));
        let numbered = matches!(scene, Scene::C2c | Scene::Group);
        assert_eq!(received.msg_seq().is_some(), numbered);
        let scope = Scope::new(scene, place);
        let outcome = world.outcome(&scope, &reply_id(&event, "echo", 0)).await;
        let message_id = Some(format!("sent-{}", at + 1).as_str().into());
        assert_eq!(outcome, Outcome::Sent { message_id });
    }
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_is_not_answered_and_neither_is_what_takes_no_reply() {
    let mut world = World::new().await;
    let author = json!({ "member_openid": "B", "bot": true });
    let d = json!({ "id": "m", "group_openid": "G1", "content": "hello", "author": author,
        "timestamp": rfc3339(now()) });
    world.event("GROUP_MESSAGE_CREATE", d).await;
    world.event("GUILD_CREATE", json!({ "id": "900", "name": "a guild" })).await;
    let worker = world.echo();
    world.says(Scene::Group, "G1", "ping").await;
    assert_eq!(world.platform.wait_for(1).await[0].text(), "ping");
    assert_eq!(worker.stop().await, Drained::Clean);
    assert_eq!(world.platform.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_too_late_expires_and_nothing_is_sent() {
    let mut world = World::new().await;
    let worker = world.echo();
    let sixth_minute = rfc3339(now().minus(std::time::Duration::from_secs(6 * 60)));
    let event = world.says_at(Scene::Group, "G1", "ping", &sixth_minute).await;
    let outcome = world.outcome(&group("G1"), &reply_id(&event, "echo", 0)).await;
    assert_eq!(outcome, Outcome::Expired);
    assert_eq!(worker.stop().await, Drained::Clean);
    assert!(world.platform.received().is_empty());
}

/// Answers with as many messages as the text says.
pub(crate) struct Many;

#[async_trait]
impl Handler for Many {
    fn name(&self) -> &'static str {
        "many"
    }

    async fn handle(&self, event: &Event<'_>, _: &Context) -> Result<Vec<Reply>, HandlerError> {
        let text = event.message.as_ref().and_then(|message| message.text.as_deref());
        let count = text.and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok((0..count).map(|number: usize| Reply::text(format!("{number}"))).collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fifth_reply_in_a_single_chat_and_the_sixth_in_a_group_are_refused_here() {
    let mut world = World::new().await;
    let worker = world.worker(Some(Arc::new(Many)));
    for (scene, place, limit) in [(Scene::C2c, "U1", 4), (Scene::Group, "G1", 5)] {
        let event = world.says(scene, place, "6").await;
        let scope = Scope::new(scene, place);
        for number in 0..6 {
            let outcome = world.outcome(&scope, &reply_id(&event, "many", number)).await;
            if number < limit {
                assert!(matches!(outcome, Outcome::Sent { .. }), "{number}: {outcome:?}");
            } else {
                let sentence = format!("no more than {limit} replies are taken");
                assert_eq!(outcome, Outcome::Rejected { code: Outcome::OURS, sentence });
            }
        }
    }
    assert_eq!(world.platform.received().len(), 9);
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pressed_button_is_acknowledged_at_once() {
    let mut world = World::new().await;
    let worker = world.echo();
    let d = json!({ "id": "i-1", "type": 11, "chat_type": 1, "scene": "group",
        "group_openid": "G1", "data": { "type": 11, "resolved": {} }, "timestamp": rfc3339(now()) });
    world.event("INTERACTION_CREATE", d).await;
    let received = world.platform.wait_for(1).await.pop().expect("just counted");
    assert_eq!((received.method.as_str(), &*received.path), ("PUT", "/interactions/i-1"));
    assert_eq!(received.body, json!({ "code": 0 }));
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_under_review_ends_when_the_reviewers_have_spoken() {
    let mut world = World::new().await;
    let worker = world.echo();
    let audit = json!({ "code": 304_023, "data": { "message_audit": { "audit_id": "a-1" } } });
    let path = "/channels/C1/messages";
    world.platform.script(path, super::platform::Script::Answer(202, audit));
    let event = world.says(Scene::Channel, "C1", "ping").await;
    let (scope, id) = (Scope::new(Scene::Channel, "C1"), reply_id(&event, "echo", 0));
    let pending = |outcome: &Outcome| matches!(outcome, Outcome::PendingAudit { .. });
    world.results_until(&scope, &id, pending).await;
    let verdict = json!({ "audit_id": "a-1", "message_id": "shown-1", "guild_id": "900",
        "channel_id": "C1" });
    world.event("MESSAGE_AUDIT_PASS", verdict).await;
    let news = world.results(&scope, &id).await;
    let passed = Outcome::AuditPass { message_id: Some("shown-1".into()) };
    assert_eq!(news.last(), Some(&News::Outcome(passed)));
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reviewers_word_that_comes_before_the_answer_counts() {
    let mut world = World::new().await;
    let worker = world.echo();
    let verdict = json!({ "audit_id": "a-1", "guild_id": "900", "channel_id": "C1" });
    world.event("MESSAGE_AUDIT_REJECT", verdict).await;
    let audit = json!({ "code": 304_023, "data": { "message_audit": { "audit_id": "a-1" } } });
    let path = "/channels/C1/messages";
    world.platform.script(path, super::platform::Script::Answer(202, audit));
    let event = world.says(Scene::Channel, "C1", "ping").await;
    let scope = Scope::new(Scene::Channel, "C1");
    let outcome = world.outcome(&scope, &reply_id(&event, "echo", 0)).await;
    assert_eq!(outcome, Outcome::AuditReject);
    assert_eq!(worker.stop().await, Drained::Clean);
}
