//! A platform whose every answer a test decides.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Extracted};
use axum::response::Response;
use axum::routing::post;
use prometheus::Registry;
use qqrelay_proto::id::AppId;
use qqrelay_proto::profile::TOKEN_PATH;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::bus::Layout;
use crate::config::{Platform, ProfileName, Secret};
use crate::rest::{Call, Endpoints, Limits, Metrics, Pool, Sharing};
use crate::state::embedded::Embedded;
use crate::store::{Clock, Store};

pub(super) const APP: &str = "102000001";

/// What a test answers: the how-manieth request it is, from 1, and its bearer.
pub(super) type Script = Box<dyn Fn(usize, &str) -> Response + Send + Sync>;

/// A running platform.
pub(super) struct Fake {
    pub(super) base: String,
    tokens: Arc<AtomicUsize>,
    calls: Arc<Mutex<Vec<Seen>>>,
}

/// One API call as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) authorization: String,
    pub(super) appid: String,
    pub(super) path: String,
}

struct Scripts {
    token: Script,
    api: Script,
    tokens: Arc<AtomicUsize>,
    calls: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(super) async fn start(token: Script, api: Script) -> Self {
        let (tokens, calls) = <(Arc<AtomicUsize>, Arc<Mutex<Vec<Seen>>>)>::default();
        let scripts = Scripts { token, api, tokens: tokens.clone(), calls: calls.clone() };
        let routes = Router::new()
            .route(TOKEN_PATH, post(answer_token))
            .fallback(answer_call)
            .with_state(Arc::new(scripts));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { base, tokens, calls }
    }

    /// How often a token was asked for.
    pub(super) fn token_requests(&self) -> usize {
        self.tokens.load(Ordering::SeqCst)
    }

    /// The API calls so far.
    pub(super) fn calls(&self) -> Vec<Seen> {
        self.calls.lock().unwrap().clone()
    }

    pub(super) fn pool(&self) -> Pool {
        pool(&self.base, &self.base, Limits::default(), None)
    }

    /// Processes that agree through one state, which lasts as long as its folder.
    pub(super) async fn pools_of_one_state(&self, owners: [&str; 3]) -> (Vec<Pool>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout { partitions: 1, window: 1 };
        let store = Store::open(&folder.path().join("state"), layout, Clock::system()).unwrap();
        let state = Arc::new(Embedded::new(store).await.unwrap());
        let sharing = owners.map(|owner| Sharing { state: state.clone(), owner: owner.into() });
        let pool = |sharing| pool(&self.base, &self.base, Limits::default(), Some(sharing));
        (sharing.map(pool).into(), folder)
    }
}

async fn answer_token(Extracted(scripts): Extracted<Arc<Scripts>>, body: String) -> Response {
    assert!(body.contains(r#""clientSecret":"0123456789abcdef""#), "{body}");
    let count = 1 + scripts.tokens.fetch_add(1, Ordering::SeqCst);
    (scripts.token)(count, "")
}

async fn answer_call(Extracted(scripts): Extracted<Arc<Scripts>>, request: Request) -> Response {
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let seen = Seen {
        authorization: header("authorization"),
        appid: header("x-union-appid"),
        path: request.uri().to_string(),
    };
    let count = {
        let mut calls = scripts.calls.lock().unwrap();
        calls.push(seen.clone());
        calls.len()
    };
    (scripts.api)(count, &seen.authorization)
}

pub(super) fn pool(token: &str, api: &str, limits: Limits, sharing: Option<Sharing>) -> Pool {
    let platform = Platform {
        profile: ProfileName::Custom,
        token_url: Some(token.into()),
        api_url: Some(api.into()),
        gateway_hosts: Vec::new(),
    };
    let bots = [(AppId::from(APP), Secret::new("0123456789abcdef".into()))];
    let metrics = Metrics::register(&Registry::new()).unwrap();
    Pool::new(Endpoints::of(&platform), limits, bots, sharing, metrics).unwrap()
}

/// A token endpoint that gives `t1`, `t2`, … for two hours each.
pub(super) fn fresh_tokens() -> Script {
    Box::new(|count, _| json(200, format!(r#"{{"access_token":"t{count}","expires_in":"7200"}}"#)))
}

/// An API that says the same to everyone.
pub(super) fn always(status: u16, body: &'static str) -> Script {
    Box::new(move |_, _| json(status, body))
}

pub(super) fn json(status: u16, body: impl Into<Body>) -> Response {
    let builder = Response::builder().status(status).header("content-type", "application/json");
    builder.body(body.into()).unwrap()
}

pub(super) fn app() -> AppId {
    APP.into()
}

pub(super) fn send() -> Call {
    Call {
        method: http::Method::POST,
        route: "/v2/groups/{group_openid}/messages",
        path: "/v2/groups/A%211/messages".into(),
        body: Some("{}".into()),
    }
}

pub(super) const SHORT: Limits =
    Limits { connect: Duration::from_millis(300), total: Duration::from_millis(300) };

/// A server that reads a request, writes these bytes and then hangs up or falls silent.
pub(super) async fn raw(bytes: impl Into<Vec<u8>>, then: Then) -> String {
    let bytes = bytes.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(&bytes).await;
            match then {
                Then::HangUp => drop(socket),
                Then::FallSilent => silent.push(socket),
            }
        }
    });
    base
}

/// How a raw server ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    HangUp,
    FallSilent,
}
