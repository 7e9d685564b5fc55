//! The platform as far as a worker sees it: a token endpoint, sends, and answers that a test
//! scripts.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a test waits for what should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A request that reached the platform.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) at: Instant,
    /// Whether it became a message that people see.
    pub(crate) shown: bool,
}

impl Received {
    pub(crate) fn text(&self) -> &str {
        self.body["content"].as_str().unwrap_or_default()
    }

    pub(crate) fn msg_seq(&self) -> Option<u64> {
        self.body["msg_seq"].as_u64()
    }
}

/// What the platform does with the next request to a path.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// Answers this and does nothing.
    Answer(u16, Value),
    /// Shows the message and never answers.
    ShowAndStall,
    /// Closes the door: shows nothing and never answers.
    Stall,
}

#[derive(Default)]
struct Inner {
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    scripts: Mutex<HashMap<String, VecDeque<Script>>>,
    /// Pairs of message and number that were shown, where the platform notices a repeat.
    known: Mutex<HashSet<(String, String, u64)>>,
}

/// The platform.
#[derive(Clone, Default)]
pub(crate) struct Platform {
    inner: Arc<Inner>,
    pub(crate) url: String,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let platform = Self { url, ..Self::default() };
        let app = Router::new().fallback(answer).with_state(platform.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        platform
    }

    /// Does this with the next request to `path`, after what was scripted before.
    pub(crate) fn script(&self, path: &str, script: Script) {
        self.inner.scripts.lock().unwrap().entry(path.into()).or_default().push_back(script);
    }

    /// Somebody else has sent a reply with this number.
    pub(crate) fn know(&self, path: &str, msg_id: &str, msg_seq: u64) {
        self.inner.known.lock().unwrap().insert((path.into(), msg_id.into(), msg_seq));
    }

    /// Everything that came, in order, the token endpoint's calls aside.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.inner.received.lock().unwrap().clone()
    }

    /// The messages that people saw, as `path: text`.
    pub(crate) fn shown(&self) -> Vec<String> {
        let received = self.received();
        let shown = received.iter().filter(|received| received.shown);
        shown.map(|received| format!("{}: {}", received.path, received.text())).collect()
    }

    /// Waits until this many requests came.
    pub(crate) async fn wait_for(&self, requests: usize) -> Vec<Received> {
        let mut count = self.inner.count.subscribe();
        let enough = count.wait_for(|&count| count >= requests);
        if timeout(PATIENCE, enough).await.is_err() {
            panic!("{requests} requests were expected, there are {:#?}", self.received());
        }
        self.received()
    }

    fn act(&self, method: Method, path: String, body: Value) -> Script {
        let scripted =
            self.inner.scripts.lock().unwrap().get_mut(&path).and_then(VecDeque::pop_front);
        let to = ["msg_id", "event_id"].map(|name| body[name].as_str());
        let number = to.into_iter().flatten().next().zip(body["msg_seq"].as_u64());
        let shows = matches!(scripted, None | Some(Script::ShowAndStall));
        let new = number.is_none_or(|(to, number)| {
            let pair = (path.clone(), to.to_owned(), number);
            let mut known = self.inner.known.lock().unwrap();
            if shows { known.insert(pair) } else { !known.contains(&pair) }
        });
        let mut received = self.inner.received.lock().unwrap();
        let shown = shows && new && method == Method::POST;
        received.push(Received { method, path, body, at: Instant::now(), shown });
        let id = format!("sent-{}", received.len());
        drop(received);
        self.inner.count.send_modify(|count| *count += 1);
        match scripted {
            Some(script) => script,
            None if new => Script::Answer(200, json!({ "id": id, "timestamp": 1 })),
            None => Script::Answer(400, json!({ "code": 40_054_005, "message": "deduplicated" })),
        }
    }
}

async fn answer(
    State(platform): State<Platform>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if uri.path().contains("getAppAccessToken") {
        return Json(json!({ "access_token": "t", "expires_in": "7200" })).into_response();
    }
    assert_eq!(headers["authorization"], "QQBot t", "every call carries the token");
    match platform.act(method, uri.path().to_owned(), body) {
        Script::Answer(status, body) => {
            let status = StatusCode::from_u16(status).expect("a test writes statuses");
            (status, Json(body)).into_response()
        }
        Script::ShowAndStall | Script::Stall => std::future::pending().await,
    }
}
