//! The rules over real HTTP: a platform on a port of its own, and a client that is not ours.

mod content;
mod fault;
mod message;
mod reads;
mod reply;
mod session;

use std::sync::Arc;
use std::time::Duration;

use qqrelay_proto::id::Scene;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Fault;
use crate::app::{AppConfig, AppHandle, Domain};
use crate::config::Config;
use crate::events::Event;
use crate::faults::Armed;
use crate::journal::Entry;
use crate::platform::Platform;
use crate::rules::Limits;
use crate::rules::limits::WithoutSession;
use crate::server;

/// The bot that calls unless a test says otherwise.
const APP: &str = "102000001";
/// A private-domain bot.
const PRIVATE_APP: &str = "102000002";

/// A platform and a bot that calls it.
struct Bench {
    platform: Arc<Platform>,
    base: String,
    client: Client,
    app: String,
    server: JoinHandle<()>,
}

/// What came back.
#[derive(Debug)]
struct Got {
    status: u16,
    body: Value,
}

impl Got {
    fn code(&self) -> u64 {
        self.body["code"].as_u64().unwrap_or(0)
    }

    /// The id of the message that was sent.
    fn id(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.body["id"].as_str().expect("a message has an id").to_owned()
    }
}

impl Bench {
    /// A bench whose bots need no session to send.
    async fn new() -> Self {
        let mut limits = Limits::default();
        limits.session.guild = WithoutSession::Shown;
        Self::with(limits).await
    }

    async fn with(limits: Limits) -> Self {
        Self::of(AppConfig::new(APP, "secret"), limits).await
    }

    /// A bench whose bot has a callback URL.
    async fn called_back_at(url: &str, limits: Limits) -> Self {
        let app = AppConfig { webhook: Some(url.to_owned()), ..AppConfig::new(APP, "secret") };
        Self::of(app, limits).await
    }

    async fn of(app: AppConfig, limits: Limits) -> Self {
        let private =
            AppConfig { domain: Domain::Private, ..AppConfig::new(PRIVATE_APP, "secret") };
        let apps = vec![app, private];
        let platform = Platform::open(Config { apps, limits, ..Config::default() }).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(server::serve(Arc::clone(&platform), listener));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { platform, base, client, app: APP.to_owned(), server }
    }

    /// The same platform, called by another bot.
    fn calling_as(mut self, app: &str) -> Self {
        self.app = app.to_owned();
        self
    }

    fn handle(&self) -> AppHandle {
        Arc::clone(self.platform.app(&self.app).unwrap())
    }

    fn authorization(&self) -> String {
        let id = &self.handle().id;
        format!("QQBot {}", self.platform.tokens.issue(id, self.platform.now()).token)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Response> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header("Authorization", self.authorization());
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Got {
        let response = self.send(method, path, body).await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        Got { status, body }
    }

    async fn post(&self, path: &str, body: Value) -> Got {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn put(&self, path: &str, body: Value) -> Got {
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Got {
        self.call(Method::GET, path, None).await
    }

    async fn delete(&self, path: &str) -> Got {
        self.call(Method::DELETE, path, None).await
    }

    /// Tells the bot of a message in the place of [`path_of`], and gives its id.
    fn told(&self, scene: Scene) -> String {
        let id = format!("ROBOT1.0_{}", self.platform.dice.hex(12));
        let (t, d) = match scene {
            Scene::C2c => ("C2C_MESSAGE_CREATE", json!({"id": id, "author": {"user_openid": "U"}})),
            Scene::Group => ("GROUP_AT_MESSAGE_CREATE", json!({"id": id, "group_openid": "G"})),
            Scene::Channel => {
                ("AT_MESSAGE_CREATE", json!({"id": id, "guild_id": "10", "channel_id": "11"}))
            }
            Scene::Dm => {
                ("DIRECT_MESSAGE_CREATE", json!({"id": id, "guild_id": "20", "channel_id": "21"}))
            }
            Scene::Guild | Scene::App => unreachable!("nobody writes there"),
        };
        self.event(t, None, d);
        id
    }

    fn event(&self, t: &str, id: Option<&str>, d: Value) {
        self.platform.push(&self.handle(), Event::new(t, id.map(str::to_owned), d));
    }

    fn arm(&self, fault: Fault) {
        self.platform.faults.rest.arm(Armed::next(1, fault));
    }

    /// Makes it later, so that no rate of the past second counts any more.
    fn later(&self, by: Duration) {
        self.platform.clock.advance(by);
    }

    /// Waits until the journal is as wanted.
    async fn until(&self, wanted: impl Fn(&Self) -> bool) {
        const DEADLINE: Duration = Duration::from_secs(20);
        let polled = async {
            while !wanted(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, polled).await.expect("the journal gets as wanted");
    }

    /// The calls in the journal, as `(status, code, applied)`.
    fn journal(&self) -> Vec<(u16, Option<u32>, bool)> {
        let lines = self.platform.journal.all().into_iter();
        lines
            .filter_map(|line| match line.entry {
                Entry::Rest { status, code, applied, .. } => Some((status, code, applied)),
                _ => None,
            })
            .collect()
    }

    /// The texts that people saw, in order.
    fn shown(&self) -> Vec<String> {
        let lines = self.platform.journal.all().into_iter();
        lines
            .filter_map(|line| match line.entry {
                Entry::Rest { applied: true, sent: Some(sent), .. } => Some(sent.content),
                _ => None,
            })
            .collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Where a message into the place of [`Bench::told`] is posted.
fn path_of(scene: Scene) -> &'static str {
    match scene {
        Scene::C2c => "/v2/users/U/messages",
        Scene::Group => "/v2/groups/G/messages",
        Scene::Channel => "/channels/11/messages",
        Scene::Dm => "/dms/20/messages",
        Scene::Guild | Scene::App => unreachable!("nobody writes there"),
    }
}

fn reply(msg_id: &str, msg_seq: u32) -> Value {
    json!({"content": format!("reply {msg_seq}"), "msg_id": msg_id, "msg_seq": msg_seq})
}
