//! Workers that die at the worst moments: every reply is seen once, or reported as unsure.

use qqrelay_proto::id::{Scene, Scope};
use qqrelay_proto::outcome::{News, Outcome};
use qqrelay_worker::app::Drained;

use super::platform::Script;
use super::world::{World, eventually, group, reply_id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_finished_is_not_done_again() {
    let mut world = World::new().await;
    let worker = world.echo();
    let mut events = Vec::new();
    for number in 0..20 {
        events.push(world.says(Scene::Group, &format!("G{number}"), "ping").await);
    }
    world.platform.wait_for(20).await;
    for event in &events {
        eventually(async || world.is_done(event).await.then_some(())).await;
    }
    world.crash(worker).await;
    let worker = world.echo();
    world.says(Scene::Group, "G99", "after").await;
    let received = world.platform.wait_for(21).await;
    assert_eq!(received[20].text(), "after");
    assert_eq!(worker.stop().await, Drained::Clean);
    assert_eq!(world.platform.received().len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_before_it_heard_the_answer_leaves_one_message_in_a_group() {
    let mut world = World::new().await;
    world.platform.script("/v2/groups/G1/messages", Script::ShowAndStall);
    let worker = world.echo();
    let event = world.says(Scene::Group, "G1", "ping").await;
    world.platform.wait_for(1).await;
    world.crash(worker).await;
    let worker = world.echo();
    let outcome = world.outcome(&group("G1"), &reply_id(&event, "echo", 0)).await;
    assert_eq!(outcome, Outcome::Deduped);
    assert_eq!(world.platform.received().len(), 2);
    assert_eq!(world.platform.shown().len(), 1);
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_between_attempt_and_outcome_leaves_an_ambiguous_channel_message() {
    for script in [Script::ShowAndStall, Script::Stall] {
        let mut world = World::new().await;
        world.platform.script("/channels/C1/messages", script);
        let worker = world.echo();
        let event = world.says(Scene::Channel, "C1", "ping").await;
        world.platform.wait_for(1).await;
        world.crash(worker).await;
        let worker = world.echo();
        let scope = Scope::new(Scene::Channel, "C1");
        let news = world.results(&scope, &reply_id(&event, "echo", 0)).await;
        assert!(
            matches!(news[..], [News::Attempt(_), News::Outcome(Outcome::Ambiguous)]),
            "{news:?}"
        );
        assert_eq!(worker.stop().await, Drained::Clean);
        assert_eq!(world.platform.received().len(), 1, "no second call");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outside_command_survives_its_worker_and_is_seen_once() {
    let mut world = World::new().await;
    world.platform.script("/dms/D1/messages", Script::ShowAndStall);
    let worker = world.worker(None);
    let scope = Scope::new(Scene::Dm, "D1");
    world.command(&super::commands::text("c-1", &scope, "first")).await;
    world.command(&super::commands::text("c-2", &scope, "second")).await;
    world.platform.wait_for(1).await;
    world.crash(worker).await;
    let worker = world.worker(None);
    assert_eq!(world.outcome(&scope, "c-1").await, Outcome::Ambiguous);
    assert!(matches!(world.outcome(&scope, "c-2").await, Outcome::Sent { .. }));
    assert_eq!(worker.stop().await, Drained::Clean);
    let path = "/dms/D1/messages";
    assert_eq!(world.platform.shown(), [format!("{path}: first"), format!("{path}: second")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_in_flight_comes_again_in_order_before_what_is_newer() {
    let mut world = World::new().await;
    for place in 0..10 {
        let path = format!("/v2/users/U{place}/messages");
        world.platform.script(&path, Script::Stall);
    }
    let worker = world.echo();
    for number in 0..30 {
        world.says(Scene::C2c, &format!("U{}", number % 10), &number.to_string()).await;
    }
    world.platform.wait_for(10).await;
    world.crash(worker).await;
    for number in 30..40 {
        world.says(Scene::C2c, &format!("U{}", number % 10), &number.to_string()).await;
    }
    let worker = world.echo();
    world.platform.wait_for(50).await;
    assert_eq!(worker.stop().await, Drained::Clean);
    for place in 0..10 {
        let path = format!("/v2/users/U{place}/messages: ");
        let shown = world.platform.shown();
        let texts: Vec<_> = shown.iter().filter_map(|line| line.strip_prefix(&path)).collect();
        let expected: Vec<_> = (0..4).map(|row| (10 * row + place).to_string()).collect();
        assert_eq!(texts, expected, "U{place}");
    }
}
