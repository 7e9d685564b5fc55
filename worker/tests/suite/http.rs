//! The handler that posts events to an address of the operator's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use qqrelay_proto::id::Scene;
use qqrelay_runtime::config::{HandlerName, Secret};
use qqrelay_runtime::store::Clock;
use qqrelay_worker::app::{self, Drained};
use sha2::Sha256;
use tokio::net::TcpListener;

use super::world::{World, now};

const SECRET: &str = "a secret of the operator";

#[derive(Clone)]
struct Operator {
    answer: Arc<dyn Fn(usize) -> (StatusCode, String) + Send + Sync>,
    posts: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Operator {
    /// Answers the posts by their number, from 1. Gives the address, too.
    async fn start(
        answer: impl Fn(usize) -> (StatusCode, String) + Send + Sync + 'static,
    ) -> (Self, String) {
        let operator = Self { answer: Arc::new(answer), posts: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let url = format!("http://{}/qq", listener.local_addr().expect("it is bound"));
        let app = Router::new().fallback(take).with_state(operator.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (operator, url)
    }

    fn posts(&self) -> Vec<(HeaderMap, Bytes)> {
        self.posts.lock().unwrap().clone()
    }
}

async fn take(
    State(operator): State<Operator>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let number = {
        let mut posts = operator.posts.lock().unwrap();
        posts.push((headers, body));
        posts.len()
    };
    (operator.answer)(number)
}

fn worker(world: &mut World, url: &str) -> super::world::Running {
    world.config.worker.handler = HandlerName::Http;
    world.config.worker.http.url = Some(url.to_owned());
    world.config.worker.http.secret = Secret::new(SECRET.into());
    let handler =
        app::handler(&world.config.worker, Clock::system(), None).expect("it can be built");
    world.worker(handler)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_posted_signed_and_the_answer_is_sent() {
    let mut world = World::new().await;
    let (operator, url) =
        Operator::start(|_| (StatusCode::OK, r#"{"replies":["one","two"]}"#.into())).await;
    let worker = worker(&mut world, &url);
    let event = world.says(Scene::Group, "G1", "ping").await;
    let received = world.platform.wait_for(2).await;
    let texts: Vec<_> = received.iter().map(super::platform::Received::text).collect();
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(worker.stop().await, Drained::Clean);

    let posts = operator.posts();
    let [(headers, body)] = &posts[..] else { panic!("one event is one post") };
    let json: serde_json::Value = serde_json::from_slice(body).expect("an event");
    assert_eq!(
        (json["id"].as_str(), json["message"]["text"].as_str()),
        (Some(&*event), Some("ping"))
    );
    assert_eq!(headers["webhook-id"], event.as_str());
    assert_eq!(headers["traceparent"], super::world::TRACE);
    let timestamp = headers["webhook-timestamp"].to_str().expect("digits");
    let age = now().0 / 1000 - timestamp.parse::<u64>().expect("digits");
    assert!(age < 60);
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key will do");
    mac.update(format!("{event}.{timestamp}.").as_bytes());
    mac.update(body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(headers["webhook-signature"], expected.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_answer_is_no_reply() {
    let mut world = World::new().await;
    let (_operator, url) = Operator::start(|number| match number {
        1 => (StatusCode::NO_CONTENT, String::new()),
        2 => (StatusCode::OK, String::new()),
        _ => (StatusCode::OK, r#"{"reply":"pong"}"#.into()),
    })
    .await;
    let worker = worker(&mut world, &url);
    for text in ["1", "2", "3"] {
        world.says(Scene::Group, "G1", text).await;
    }
    assert_eq!(world.platform.wait_for(1).await[0].text(), "pong");
    assert_eq!(worker.stop().await, Drained::Clean);
    assert!(world.letters(0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_is_not_there_is_asked_again() {
    let mut world = World::new().await;
    world.config.worker.failures = 1;
    world.config.worker.http.timeout = Duration::from_millis(500);
    let (operator, url) = Operator::start(|number| match number {
        1 => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        _ => (StatusCode::OK, r#"{"reply":"pong"}"#.into()),
    })
    .await;
    let worker = worker(&mut world, &url);
    world.says(Scene::Group, "G1", "ping").await;
    assert_eq!(world.platform.wait_for(1).await[0].text(), "pong");
    assert_eq!(worker.stop().await, Drained::Clean);
    let posts = operator.posts();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].0["webhook-id"], posts[1].0["webhook-id"]);
    assert!(world.letters(0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_used_parks_the_event_and_names_the_member() {
    let mut world = World::new().await;
    world.config.worker.failures = 1;
    world.config.worker.http.response_limit = 100;
    let (_operator, url) = Operator::start(|number| match number {
        1 => (StatusCode::OK, "pong".into()),
        2 => (StatusCode::OK, r#"{"replies":["a",{"content":{}}]}"#.into()),
        3 => (StatusCode::UNPROCESSABLE_ENTITY, String::new()),
        4 => (StatusCode::MOVED_PERMANENTLY, String::new()),
        5 => (StatusCode::OK, format!(r#"{{"reply":"{}"}}"#, "x".repeat(200))),
        _ => (StatusCode::OK, r#"{"reply":"good"}"#.into()),
    })
    .await;
    let worker = worker(&mut world, &url);
    for number in 1..=6 {
        world.says(Scene::Group, "G1", &number.to_string()).await;
    }
    assert_eq!(world.platform.wait_for(1).await[0].text(), "good");
    let letters = world.letters(5).await;
    let check = |at: usize, expected: &str| {
        let detail = &letters[at].detail;
        assert!(detail.contains(expected), "{detail}");
    };
    check(0, "the answer is wrong at .: ");
    check(1, "the answer is wrong at replies[1].content: ");
    check(2, "status 422");
    check(3, "status 301");
    check(4, "the answer is larger than 100 bytes");
    assert_eq!(worker.stop().await, Drained::Clean);
    assert_eq!(world.platform.received().len(), 1);
}
