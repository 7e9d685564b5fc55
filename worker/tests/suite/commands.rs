//! Commands from outside, good and bad.

use qqrelay_proto::command::{Command, Content, ReplyTo};
use qqrelay_proto::id::{Scene, Scope};
use qqrelay_proto::outcome::Outcome;
use qqrelay_worker::app::Drained;
use serde_json::json;

use super::world::{APP, World, group};

pub(crate) fn text(id: &str, scope: &Scope, text: &str) -> Command {
    Command::send(id.into(), APP.into(), scope.clone(), Content::Text(text.into()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_sent_in_each_scene_and_has_its_outcome() {
    let world = World::new().await;
    let worker = world.worker(None);
    let scenes = [Scene::C2c, Scene::Group, Scene::Channel, Scene::Dm];
    for scene in scenes {
        let scope = Scope::new(scene, "P1");
        world.command(&text(&format!("c-{scene}"), &scope, "hello")).await;
        let outcome = world.outcome(&scope, &format!("c-{scene}")).await;
        assert!(matches!(outcome, Outcome::Sent { message_id: Some(_) }), "{outcome:?}");
    }
    assert_eq!(world.platform.shown().len(), scenes.len());
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_published_twice_is_sent_once() {
    let world = World::new().await;
    let command = text("c-1", &group("G1"), "hello");
    world.command(&command).await;
    world.command(&command).await;
    let worker = world.worker(None);
    world.outcome(&group("G1"), "c-1").await;
    world.command(&command).await;
    world.command(&text("c-2", &group("G1"), "bye")).await;
    world.outcome(&group("G1"), "c-2").await;
    assert_eq!(worker.stop().await, Drained::Clean);
    let path = "/v2/groups/G1/messages";
    assert_eq!(world.platform.shown(), [format!("{path}: hello"), format!("{path}: bye")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_makes_no_sense_is_rejected_with_the_member_and_the_fix() {
    let world = World::new().await;
    let worker = world.worker(None);
    world.command(&text("c-1", &group("G1"), "")).await;
    let outcome = world.outcome(&group("G1"), "c-1").await;
    let Outcome::Rejected { code: Outcome::OURS, sentence } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(sentence.contains("content.text"), "{sentence}");
    assert_eq!(worker.stop().await, Drained::Clean);
    assert!(world.platform.received().is_empty());
    assert!(world.letters(0).await.is_empty(), "its sender knows all there is to know");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_command_is_kept_for_people_and_rejected_under_its_id() {
    let world = World::new().await;
    let worker = world.worker(None);
    world.raw_command("x-1", &group("G1"), r#"{"id":"c-1","verb":"send"}"#).await;
    let outcome = world.outcome(&group("G1"), "c-1").await;
    assert!(matches!(outcome, Outcome::Rejected { code: Outcome::OURS, .. }), "{outcome:?}");
    world.raw_command("x-2", &group("G1"), "not even JSON").await;
    let letters = world.letters(2).await;
    assert!(letters.iter().all(|letter| letter.reason == "unreadable"), "{letters:?}");
    assert_eq!(&letters[1].record.payload[..], b"not even JSON");
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_on_another_places_subject_is_not_run() {
    let world = World::new().await;
    let worker = world.worker(None);
    let command = text("c-1", &group("G2"), "hello");
    let json = serde_json::to_string(&command).expect("commands are JSON");
    world.raw_command("x-1", &group("G1"), &json).await;
    let outcome = world.outcome(&group("G1"), "c-1").await;
    let Outcome::Rejected { code: Outcome::OURS, sentence } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(sentence.contains(&format!("qq.v1.cmd.{APP}.group.G2.send")), "{sentence}");
    assert_eq!(worker.stop().await, Drained::Clean);
    assert!(world.platform.received().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_for_a_bot_that_is_not_here_says_so() {
    let world = World::new().await;
    let worker = world.worker(None);
    let mut command = text("c-1", &group("G1"), "hello");
    command.app = "999".into();
    world.command(&command).await;
    let subject =
        qqrelay_proto::subject::ScopeSubject::new(&"999".into(), &group("G1")).result("c-1");
    let found = super::world::eventually(async || {
        let bus: &dyn qqrelay_runtime::bus::Bus = &world.bus;
        let records = bus.results(&subject).await.expect("the bus is open");
        records
            .iter()
            .find(|record| {
                String::from_utf8_lossy(record).contains("bot 999 is not configured here")
            })
            .cloned()
    });
    found.await;
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_past_its_deadline_expires() {
    let world = World::new().await;
    let worker = world.worker(None);
    let mut command = text("c-1", &group("G1"), "hello");
    command.deadline = Some(super::world::now());
    world.command(&command).await;
    assert_eq!(world.outcome(&group("G1"), "c-1").await, Outcome::Expired);
    assert_eq!(worker.stop().await, Drained::Clean);
    assert!(world.platform.received().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_commands_to_one_message_with_one_number_are_both_seen() {
    let world = World::new().await;
    let worker = world.worker(None);
    let (one, other) = collision();
    for id in [&one, &other] {
        let mut command = text(id, &group("G1"), id);
        command.reply = Some(ReplyTo::MsgId("m-1".into()).into());
        world.command(&command).await;
        let outcome = world.outcome(&group("G1"), id).await;
        assert!(matches!(outcome, Outcome::Sent { .. }), "{id}: {outcome:?}");
    }
    let numbers: Vec<_> =
        world.platform.received().iter().filter_map(|received| received.msg_seq()).collect();
    assert_eq!(numbers[1], numbers[0] + 1);
    assert_eq!(world.platform.shown().len(), 2);
    assert_eq!(worker.stop().await, Drained::Clean);
}

/// Two ids whose messages want the same number.
fn collision() -> (String, String) {
    let mut seen = std::collections::HashMap::new();
    for number in 0_u32.. {
        let id = format!("c-{number}");
        let msg_seq = qqrelay_proto::command::CommandId::from(id.as_str()).msg_seq();
        if let Some(before) = seen.insert(msg_seq, id.clone()) {
            return (before, id);
        }
    }
    unreachable!("there are 65,535 numbers only")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markdown_with_buttons_reaches_the_platform_as_it_is() {
    let world = World::new().await;
    let worker = world.worker(None);
    let button = json!({ "id": "1", "render_data": { "label": "Again" } });
    let keyboard = json!({ "content": { "rows": [{ "buttons": [button] }] } });
    let json = json!({ "v": 1, "id": "c-1", "app": APP, "scene": "group", "scope": "G1",
        "action": { "send": { "content": { "markdown":
            { "content": "**hi**", "keyboard": keyboard } } } } });
    world.raw_command("c-1", &group("G1"), &json.to_string()).await;
    let received = world.platform.wait_for(1).await.pop().expect("just counted");
    assert_eq!(received.body["msg_type"], 2);
    assert_eq!(received.body["markdown"]["content"], "**hi**");
    assert_eq!(received.body["keyboard"], keyboard);
    assert_eq!(worker.stop().await, Drained::Clean);
}
