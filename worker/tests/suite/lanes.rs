//! Order inside a scope, work beside each other across scopes, bounds and draining.

use std::sync::Arc;

use async_trait::async_trait;
use qqrelay_proto::event::Event;
use qqrelay_proto::id::Scene;
use qqrelay_worker::app::Drained;
use qqrelay_worker::handler::{Context, Handler, HandlerError, Reply};
use qqrelay_worker::scopes::Bounds;
use tokio::sync::{Semaphore, mpsc};

use super::world::{World, eventually};

/// Says what it starts, and ends when the test lets it.
struct Gated {
    started: mpsc::UnboundedSender<String>,
    gate: Arc<Semaphore>,
}

#[async_trait]
impl Handler for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    async fn handle(&self, event: &Event<'_>, _: &Context) -> Result<Vec<Reply>, HandlerError> {
        let text = event.message.as_ref().and_then(|message| message.text.as_deref());
        let text = text.expect("the test writes messages").to_owned();
        self.started.send(text.clone()).expect("the test listens");
        if text.starts_with("slow") {
            self.gate.acquire().await.expect("the gate stays").forget();
        }
        Ok(Vec::new())
    }
}

struct Gate {
    started: mpsc::UnboundedReceiver<String>,
    gate: Arc<Semaphore>,
}

impl Gate {
    fn new() -> (Self, Arc<dyn Handler>) {
        let (tell, started) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let handler = Gated { started: tell, gate: Arc::clone(&gate) };
        (Self { started, gate }, Arc::new(handler))
    }

    async fn next(&mut self) -> String {
        let next = tokio::time::timeout(super::platform::PATIENCE, self.started.recv());
        next.await.expect("a handler starts in time").expect("the handler is there")
    }

    fn open(&self) {
        self.gate.add_permits(1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_event_holds_its_own_scope_only() {
    let mut world = World::new().await;
    let (mut gate, handler) = Gate::new();
    let worker = world.worker(Some(handler));
    world.says(Scene::Group, "G1", "slow 1").await;
    world.says(Scene::Group, "G1", "2").await;
    assert_eq!(gate.next().await, "slow 1");
    for other in 0..40 {
        world.says(Scene::Group, &format!("other-{other}"), "beside").await;
        assert_eq!(gate.next().await, "beside");
    }
    gate.open();
    assert_eq!(gate.next().await, "2");
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_scope_has_no_room_for_is_parked_in_order_and_others_go_on() {
    let mut world = World::new().await;
    world.config.worker.scope_queue = 2;
    let (mut gate, handler) = Gate::new();
    let worker = world.worker(Some(handler));
    world.says(Scene::Group, "G1", "slow").await;
    assert_eq!(gate.next().await, "slow");
    for number in 1..=5 {
        world.says(Scene::Group, "G1", &number.to_string()).await;
    }
    let letters = world.letters(3).await;
    let parked: Vec<_> = letters.iter().map(|letter| text(&letter.record.payload)).collect();
    assert_eq!(parked, ["3", "4", "5"]);
    assert!(letters.iter().all(|letter| letter.reason == "overflow"));
    assert!(letters.iter().all(|letter| letter.subject.ends_with(".group.G1.message_create")));
    world.says(Scene::Group, "G2", "beside").await;
    assert_eq!(gate.next().await, "beside");
    gate.open();
    assert_eq!([gate.next().await, gate.next().await], ["1", "2"]);
    let overflowed = worker.registry.gather().into_iter().any(|family| {
        family.name() == "qqrelay_dlq_total"
            && family.get_metric().iter().any(|metric| metric.get_counter().get_value() == 3.0)
    });
    assert!(overflowed, "parked records are counted");
    assert_eq!(worker.stop().await, Drained::Clean);
}

fn text(event: &[u8]) -> String {
    let event: serde_json::Value = serde_json::from_slice(event).expect("an event");
    event["message"]["text"].as_str().expect("a message").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_finishes_what_is_in_hand_and_starts_nothing() {
    let mut world = World::new().await;
    let (mut gate, handler) = Gate::new();
    let worker = world.worker(Some(handler));
    world.says(Scene::Group, "G1", "slow 1").await;
    world.says(Scene::Group, "G1", "2").await;
    assert_eq!(gate.next().await, "slow 1");
    let stopping = tokio::spawn(worker.stop());
    gate.open();
    assert_eq!(stopping.await.expect("the worker stops"), Drained::Clean);
    assert!(gate.started.try_recv().is_err(), "the second was not started");
    let (mut gate, handler) = Gate::new();
    let worker = world.worker(Some(handler));
    assert_eq!(gate.next().await, "2");
    assert_eq!(worker.stop().await, Drained::Clean);
    assert!(gate.started.try_recv().is_err(), "the first was finished");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_end_within_the_grace_is_given_back() {
    let mut world = World::new().await;
    world.config.worker.drain_grace = std::time::Duration::from_millis(50);
    let (mut gate, handler) = Gate::new();
    let worker = world.worker(Some(handler));
    world.says(Scene::Group, "G1", "slow").await;
    assert_eq!(gate.next().await, "slow");
    assert_eq!(worker.stop().await, Drained::GivenBack(1));
    let (mut gate, handler) = Gate::new();
    let worker = world.worker(Some(handler));
    assert_eq!(gate.next().await, "slow");
    gate.open();
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stored_twice_is_handled_once() {
    let mut world = World::new().await;
    let (mut gate, handler) = Gate::new();
    let worker = world.worker(Some(handler));
    let event = world.says(Scene::Group, "G1", "slow").await;
    assert_eq!(gate.next().await, "slow");
    world.repeat(&event).await;
    gate.open();
    world.says(Scene::Group, "G1", "next").await;
    assert_eq!(gate.next().await, "next");
    // Later, too, when only the done mark knows it.
    eventually(async || world.is_done(&event).await.then_some(())).await;
    world.repeat(&event).await;
    world.says(Scene::Group, "G1", "last").await;
    assert_eq!(gate.next().await, "last");
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_up_its_lane_too_long_is_parked_and_the_rest_goes_on() {
    let mut world = World::new().await;
    let (mut gate, handler) = Gate::new();
    let bounds = Bounds { above_floor: 1, ..Bounds::default() };
    let worker = world.worker_with(Some(handler), bounds);
    world.says(Scene::Group, "G1", "slow and stuck").await;
    assert_eq!(gate.next().await, "slow and stuck");
    for _ in 0..2 {
        world.says(Scene::Group, same_lane_as_g1(), "beside").await;
        assert_eq!(gate.next().await, "beside");
    }
    let letters = world.letters(1).await;
    assert_eq!(
        (&*letters[0].reason, text(&letters[0].record.payload).as_str()),
        ("stuck", "slow and stuck")
    );
    world.says(Scene::Group, "G1", "after").await;
    assert_eq!(gate.next().await, "after");
    assert_eq!(worker.stop().await, Drained::Clean);
}

/// Another group whose events share a lane with G1's.
fn same_lane_as_g1() -> &'static str {
    let lane = |group: &str| {
        let scope = qqrelay_proto::id::Scope::new(Scene::Group, group);
        qqrelay_proto::subject::ScopeSubject::new(&super::world::APP.into(), &scope).lane()
    };
    let others = ["A", "B", "C", "D", "E", "F", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q"];
    others.into_iter().find(|other| lane(other) == lane("G1")).expect("one of sixteen")
}
