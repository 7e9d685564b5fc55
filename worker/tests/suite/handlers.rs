//! Handlers that fail, in each way they can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use qqrelay_proto::event::Event;
use qqrelay_proto::id::Scene;
use qqrelay_runtime::state::State;
use qqrelay_worker::app::Drained;
use qqrelay_worker::handler::{Context, Handler, HandlerError, REPLIES_MAX, Reply};

use super::world::{APP, World, eventually};

type Answer = fn(usize, &str) -> Result<Vec<Reply>, HandlerError>;

/// Answers by the number of the call, from 1, and the text.
struct Scripted {
    calls: AtomicUsize,
    answer: Answer,
}

impl Scripted {
    fn new(answer: Answer) -> Arc<Self> {
        Arc::new(Self { calls: AtomicUsize::new(0), answer })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Handler for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn handle(&self, event: &Event<'_>, _: &Context) -> Result<Vec<Reply>, HandlerError> {
        let text = event.message.as_ref().and_then(|message| message.text.as_deref());
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        (self.answer)(call, text.unwrap_or_default())
    }
}

fn failed() -> HandlerError {
    HandlerError::Failed("no idea what that means".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_waited_for_and_counts_as_no_failure() {
    let mut world = World::new().await;
    world.config.worker.failures = 1;
    let handler = Scripted::new(|call, text| match call {
        1 | 2 => Err(HandlerError::Infrastructure("database is starting".into())),
        _ => Ok(vec![Reply::text(text)]),
    });
    let worker = world.worker(Some(handler.clone()));
    world.says(Scene::Group, "G1", "ping").await;
    assert_eq!(world.platform.wait_for(1).await[0].text(), "ping");
    assert_eq!(handler.calls(), 3);
    assert_eq!(worker.stop().await, Drained::Clean);
    assert!(world.letters(0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_a_handler_fails_at_is_parked_and_the_next_goes_on() {
    let mut world = World::new().await;
    world.config.worker.failures = 2;
    let handler = Scripted::new(|_, text| match text {
        "bad" => Err(failed()),
        "panics" => panic!("a handler's bug"),
        _ => Ok(vec![Reply::text(text)]),
    });
    let worker = world.worker(Some(handler.clone()));
    for text in ["bad", "panics", "good"] {
        world.says(Scene::Group, "G1", text).await;
    }
    assert_eq!(world.platform.wait_for(1).await[0].text(), "good");
    let letters = world.letters(2).await;
    let details: Vec<_> = letters.iter().map(|letter| letter.detail.as_str()).collect();
    assert_eq!(
        details,
        [
            "failure 2: the handler failed: no idea what that means",
            "failure 2: the handler failed: the handler panicked"
        ]
    );
    assert!(letters.iter().all(|letter| letter.reason == "handler"));
    assert_eq!(handler.calls(), 5);
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_remembered_over_a_restart() {
    let mut world = World::new().await;
    world.config.worker.failures = 2;
    let handler = Scripted::new(|_, _| Err(failed()));
    let worker = world.worker(Some(handler.clone()));
    world.says(Scene::Group, "G1", "bad").await;
    eventually(async || (handler.calls() == 1).then_some(())).await;
    let counted = eventually(async || {
        let ttl = Duration::from_secs(1);
        let probe = world.state.count_failure(&APP.into(), "probe", ttl).await;
        probe.is_ok().then_some(())
    });
    counted.await;
    world.crash(worker).await;
    let worker = world.worker(Some(handler.clone()));
    world.letters(1).await;
    assert!(handler.calls() <= 3, "{} calls for 2 failures", handler.calls());
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_replies_are_a_failure_and_none_is_sent() {
    let mut world = World::new().await;
    world.config.worker.failures = 1;
    let handler = Scripted::new(|_, _| Ok(vec![Reply::text("again"); REPLIES_MAX + 1]));
    let worker = world.worker(Some(handler));
    world.says(Scene::Group, "G1", "ping").await;
    let letters = world.letters(1).await;
    assert_eq!(
        letters[0].detail,
        "failure 1: the handler failed: the handler gave 21 replies, the most is 20"
    );
    assert_eq!(worker.stop().await, Drained::Clean);
    assert!(world.platform.received().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_twenty_workers_died_of_is_not_started_again() {
    let mut world = World::new().await;
    let event = world.says(Scene::Group, "G1", "deadly").await;
    let app = APP.into();
    for _ in 0..20 {
        let ttl = Duration::from_secs(3600);
        world.state.count_start(&app, &event, ttl).await.expect("the state is there");
    }
    let handler = Scripted::new(|_, text| Ok(vec![Reply::text(text)]));
    let worker = world.worker(Some(handler.clone()));
    world.says(Scene::Group, "G1", "harmless").await;
    assert_eq!(world.platform.wait_for(1).await[0].text(), "harmless");
    let letters = world.letters(1).await;
    assert_eq!(letters[0].reason, "poison");
    assert_eq!(handler.calls(), 1);
    assert_eq!(worker.stop().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspected_event_runs_alone_and_then_the_others_go_on() {
    let mut world = World::new().await;
    let event = world.says(Scene::Group, "G1", "suspect").await;
    for other in 0..8 {
        world.says(Scene::Group, &format!("other-{other}"), "beside").await;
    }
    for _ in 0..2 {
        let ttl = Duration::from_secs(3600);
        world.state.count_start(&APP.into(), &event, ttl).await.expect("the state is there");
    }
    let handler = Arc::new(Watching::default());
    let worker = world.worker(Some(handler.clone()));
    world.platform.wait_for(9).await;
    assert_eq!(handler.beside_suspect.load(Ordering::SeqCst), 0);
    assert_eq!(worker.stop().await, Drained::Clean);
}

/// Sees who runs beside the suspect, which takes its time.
#[derive(Default)]
struct Watching {
    others: AtomicUsize,
    suspects: AtomicUsize,
    beside_suspect: AtomicUsize,
}

#[async_trait]
impl Handler for Watching {
    fn name(&self) -> &'static str {
        "watching"
    }

    async fn handle(&self, event: &Event<'_>, _: &Context) -> Result<Vec<Reply>, HandlerError> {
        let suspect = event.message.as_ref().and_then(|m| m.text.as_deref()) == Some("suspect");
        let (own, foreign) =
            if suspect { (&self.suspects, &self.others) } else { (&self.others, &self.suspects) };
        own.fetch_add(1, Ordering::SeqCst);
        self.beside_suspect.fetch_add(foreign.load(Ordering::SeqCst), Ordering::SeqCst);
        if suspect {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        own.fetch_sub(1, Ordering::SeqCst);
        Ok(vec![Reply::text("seen")])
    }
}
