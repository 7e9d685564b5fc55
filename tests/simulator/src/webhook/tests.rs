//! Callbacks over real HTTP, into a receiver that a test scripts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{CallbackKey, ValidationError};
use crate::app::{AppConfig, AppHandle};
use crate::config::Config;
use crate::events::Event;
use crate::journal::Entry;
use crate::lock;
use crate::platform::Platform;
use crate::rules::Limits;

const APP: &str = "102000001";
const SECRET: &str = "DG5g3B4j9X2KOErG";
/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// A callback as it arrived.
#[derive(Debug, Clone)]
struct Arrived {
    headers: HeaderMap,
    body: Bytes,
}

/// Answers the n-th callback as the script says, the last answer for ever.
type Script = fn(&Arrived) -> (u16, String);

/// A bot that is called back.
struct Receiver {
    platform: Arc<Platform>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    news: Arc<Notify>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Post {
    arrived: Arc<Mutex<Vec<Arrived>>>,
    news: Arc<Notify>,
    script: &'static [Script],
}

async fn receive(State(at): State<Post>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let arrived = Arrived { headers, body };
    let turn = {
        let mut all = lock(&at.arrived);
        all.push(arrived.clone());
        all.len() - 1
    };
    let (status, answer) = at.script[turn.min(at.script.len() - 1)](&arrived);
    at.news.notify_one();
    (StatusCode::from_u16(status).unwrap(), answer)
}

impl Receiver {
    async fn start(script: &'static [Script]) -> Self {
        let (arrived, news) = (Arc::default(), Arc::new(Notify::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/callback", listener.local_addr().unwrap());
        let state = Post { arrived: Arc::clone(&arrived), news: Arc::clone(&news), script };
        let router = Router::new().route("/callback", post(receive)).with_state(state);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let mut limits = Limits::default();
        limits.callback.pause = Duration::from_millis(1);
        let app = AppConfig { webhook: Some(url), ..AppConfig::new(APP, SECRET) };
        let config = Config { apps: vec![app], limits, ..Config::default() };
        Self { platform: Platform::open(config).unwrap(), arrived, news, server }
    }

    fn app(&self) -> AppHandle {
        Arc::clone(self.platform.app(APP).unwrap())
    }

    fn push(&self, id: &str) {
        let event = Event::new("C2C_MESSAGE_CREATE", Some(id.to_owned()), json!({"id": id}));
        self.platform.push(&self.app(), event);
    }

    /// What arrived, once `count` callbacks have and are in the journal.
    async fn after(&self, count: usize) -> Vec<Arrived> {
        let noted = async {
            // The journal is written a moment after the receiver has answered.
            while self.attempts().len() < count {
                let _ = timeout(Duration::from_millis(5), self.news.notified()).await;
            }
        };
        timeout(DEADLINE, noted).await.expect("so many callbacks are made");
        lock(&self.arrived).clone()
    }

    /// The callbacks in the journal, as `(attempt, status, acknowledged)`.
    fn attempts(&self) -> Vec<(u32, Option<u16>, bool)> {
        let lines = self.platform.journal.all().into_iter();
        lines
            .filter_map(|line| match line.entry {
                Entry::Webhook { attempt, status, acknowledged, .. } => {
                    Some((attempt, status, acknowledged))
                }
                _ => None,
            })
            .collect()
    }

    async fn validate(&self) -> Result<(), ValidationError> {
        let app = self.app();
        let url = app.webhook.clone().unwrap();
        self.platform.webhooks.validate(&self.platform, &app, &url).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn taken(_: &Arrived) -> (u16, String) {
    (200, r#"{"op":12,"d":0}"#.into())
}

fn refused(_: &Arrived) -> (u16, String) {
    (200, r#"{"op":12,"d":1}"#.into())
}

fn unavailable(_: &Arrived) -> (u16, String) {
    (503, r#"{"op":12,"d":1}"#.into())
}

#[tokio::test]
async fn a_callback_is_an_envelope_signed_over_its_bytes() {
    let receiver = Receiver::start(&[taken]).await;
    receiver.push("C2C_MESSAGE_CREATE:1");
    let arrived = receiver.after(1).await;
    let Arrived { headers, body } = &arrived[0];
    let header = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(header("x-bot-appid"), APP);
    assert_eq!(header("user-agent"), "QQBot-Callback");
    assert_eq!(header("content-type"), "application/json");
    let key = CallbackKey::new(SECRET).unwrap();
    let timestamp = header("x-signature-timestamp");
    assert_eq!(timestamp.len(), 10);
    assert!(key.verify(timestamp, body, header("x-signature-ed25519")));
    let envelope: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(envelope["op"], 0);
    assert_eq!(envelope["t"], "C2C_MESSAGE_CREATE");
    assert_eq!(envelope["id"], "C2C_MESSAGE_CREATE:1");
    assert_eq!(receiver.attempts(), [(1, Some(200), true)]);
}

#[tokio::test]
async fn an_event_that_is_not_taken_comes_again_under_the_same_id() {
    let receiver = Receiver::start(&[unavailable, refused, taken]).await;
    receiver.push("e");
    let arrived = receiver.after(3).await;
    let bodies: Vec<_> = arrived.iter().map(|arrived| &arrived.body).collect();
    assert_eq!(bodies, [bodies[0]; 3]);
    let expected = [(1, Some(503), false), (2, Some(200), false), (3, Some(200), true)];
    assert_eq!(receiver.attempts(), expected);
}

#[tokio::test]
async fn after_three_repeats_an_event_is_given_up() {
    let receiver = Receiver::start(&[unavailable]).await;
    receiver.push("e");
    assert_eq!(receiver.after(4).await.len(), 4);
    receiver.push("f");
    receiver.after(8).await;
    let attempts: Vec<_> = receiver.attempts().into_iter().map(|(attempt, ..)| attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 1, 2, 3, 4]);
}

#[tokio::test]
async fn nobody_there_is_an_attempt_without_a_status() {
    let receiver = Receiver::start(&[taken]).await;
    receiver.server.abort();
    // The port is free once the server's task is gone.
    while !receiver.server.is_finished() {
        tokio::task::yield_now().await;
    }
    receiver.push("e");
    receiver.after(4).await;
    assert_eq!(receiver.attempts(), [1, 2, 3, 4].map(|attempt| (attempt, None, false)));
}

fn prove(arrived: &Arrived) -> (u16, String) {
    let asked: Value = serde_json::from_slice(&arrived.body).unwrap();
    assert_eq!(asked["op"], 13);
    let (token, at) = (asked["d"]["plain_token"].as_str(), asked["d"]["event_ts"].as_str());
    let key = CallbackKey::new(SECRET).unwrap();
    let signature = key.sign(at.unwrap(), token.unwrap().as_bytes());
    (200, json!({"plain_token": token, "signature": signature}).to_string())
}

fn prove_wrongly(arrived: &Arrived) -> (u16, String) {
    let (status, answer) = prove(arrived);
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    answer["signature"] = "00".repeat(64).into();
    (status, answer.to_string())
}

#[tokio::test]
async fn a_url_is_accepted_only_if_it_knows_the_secret() {
    let receiver = Receiver::start(&[prove, prove_wrongly, taken, unavailable]).await;
    receiver.validate().await.unwrap();
    let arrived = receiver.after(1).await;
    let header = |name: &str| arrived[0].headers[name].to_str().unwrap();
    let signature = header("x-signature-ed25519");
    let key = CallbackKey::new(SECRET).unwrap();
    assert!(key.verify(header("x-signature-timestamp"), &arrived[0].body, signature));

    let refused = receiver.validate().await;
    assert!(matches!(refused, Err(ValidationError::WrongSignature)), "{refused:?}");
    let refused = receiver.validate().await;
    assert!(matches!(refused, Err(ValidationError::WrongToken)), "{refused:?}");
    let refused = receiver.validate().await;
    assert!(matches!(refused, Err(ValidationError::Status(503))), "{refused:?}");
}

#[tokio::test]
async fn shutting_down_gives_up_what_is_under_way() {
    let receiver = Receiver::start(&[unavailable]).await;
    (0..10).for_each(|n| receiver.push(&n.to_string()));
    receiver.platform.webhooks.shutdown().await;
    let attempts = receiver.attempts();
    receiver.push("late");
    receiver.platform.webhooks.shutdown().await;
    assert_eq!(receiver.attempts(), attempts);
}
