//! A hand-written client: a bot, its sockets, and how they wait for what they expect.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use qqrelay_simulator::{AppConfig, Config, Simulator};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub(crate) const APP: &str = "102000001";
pub(crate) const SECRET: &str = "secret-of-the-first-bot";
pub(crate) const OTHER_APP: &str = "102000002";
/// Guilds, members, direct messages, groups and single chats, interactions, at-messages.
pub(crate) const INTENTS: u64 = 1_174_409_219;

/// Longer than anything takes, so that a test that waits in vain fails and does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A platform with two bots.
pub(crate) async fn platform(change: impl FnOnce(&mut Config)) -> Simulator {
    let apps = vec![AppConfig::new(APP, SECRET), AppConfig::new(OTHER_APP, "another secret")];
    let mut config = Config { apps, ..Config::default() };
    // One after the other, so that a test that expects a close does not wait for it.
    config.gateway.close_delay = Duration::ZERO;
    change(&mut config);
    Simulator::start(config).await.expect("port 0 is always free")
}

/// A bot at a platform.
pub(crate) struct Bot<'a> {
    pub(crate) simulator: &'a Simulator,
    pub(crate) token: String,
    http: reqwest::Client,
}

/// How a socket ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A close frame with a code.
    Code(u16),
    /// A close frame without one.
    NoCode,
    /// The bytes ended.
    Eof,
    /// The connection was reset.
    Reset,
}

impl<'a> Bot<'a> {
    pub(crate) async fn new(simulator: &'a Simulator) -> Self {
        Self::of(simulator, APP, SECRET).await
    }

    pub(crate) async fn of(simulator: &'a Simulator, app: &str, secret: &str) -> Self {
        let http = http();
        let body = json!({"appId": app, "clientSecret": secret});
        let url = format!("{}/app/getAppAccessToken", simulator.base_url());
        let answer: Value = http.post(url).json(&body).send().await.unwrap().json().await.unwrap();
        let token = answer["access_token"].as_str().expect("the credentials are right").to_owned();
        Self { simulator, token, http }
    }

    pub(crate) fn bearer(&self) -> String {
        format!("QQBot {}", self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("{}{path}", self.simulator.base_url());
        self.http.get(url).header("Authorization", self.bearer()).send().await.unwrap()
    }

    /// A socket before Hello.
    pub(crate) async fn open(&self) -> Socket {
        let url = self.simulator.base_url().replace("http:", "ws:") + "/websocket/";
        let (stream, _) = connect_async(url).await.expect("the platform upgrades");
        Socket { stream }
    }

    /// A socket that was greeted.
    pub(crate) async fn greeted(&self) -> Socket {
        let mut socket = self.open().await;
        assert_eq!(socket.next().await["op"], 10);
        socket
    }

    pub(crate) async fn identify(&self, socket: &mut Socket, shard: [u32; 2], intents: u64) {
        let d = json!({"token": self.bearer(), "intents": intents, "shard": shard});
        socket.send(json!({"op": 2, "d": d})).await;
    }

    /// A socket with a new session, and the session's name.
    pub(crate) async fn ready_as(&self, shard: [u32; 2], intents: u64) -> (Socket, String) {
        let mut socket = self.greeted().await;
        self.identify(&mut socket, shard, intents).await;
        let ready = socket.next().await;
        assert_eq!((&ready["t"], &ready["s"]), (&json!("READY"), &json!(1)), "{ready}");
        let session = ready["d"]["session_id"].as_str().unwrap().to_owned();
        (socket, session)
    }

    pub(crate) async fn ready(&self) -> (Socket, String) {
        self.ready_as([0, 1], INTENTS).await
    }

    /// A socket that has asked to resume.
    pub(crate) async fn resuming(&self, session: &str, seq: impl Into<Value>) -> Socket {
        let mut socket = self.greeted().await;
        let seq: Value = seq.into();
        let d = json!({"token": self.bearer(), "session_id": session, "seq": seq});
        socket.send(json!({"op": 6, "d": d})).await;
        socket
    }
}

pub(crate) fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// One WebSocket connection.
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("the platform reads");
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Value {
        let text = self.next_text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub(crate) async fn next_text(&mut self) -> String {
        match self.message().await {
            Some(Ok(Message::Text(text))) => text.to_string(),
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    /// The next frame, if one comes before the end.
    pub(crate) async fn next_or_end(&mut self) -> Result<Value, End> {
        match self.message().await {
            Some(Ok(Message::Text(text))) => Ok(serde_json::from_str(&text).unwrap()),
            other => Err(end(other)),
        }
    }

    /// Reads to the end, whatever comes before it.
    pub(crate) async fn end(&mut self) -> End {
        loop {
            match self.message().await {
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => {}
                other => return end(other),
            }
        }
    }

    /// The sequences and types of the next frames, up to and with the first of this type.
    pub(crate) async fn until(&mut self, t: &str) -> Vec<(u64, String)> {
        let mut seen = Vec::new();
        loop {
            let frame = self.next().await;
            assert_eq!(frame["op"], 0, "{frame}");
            let found = frame["t"].as_str().unwrap().to_owned();
            seen.push((frame["s"].as_u64().unwrap(), found));
            if seen.last().is_some_and(|(_, found)| found == t) {
                return seen;
            }
        }
    }

    async fn message(&mut self) -> Option<Result<Message, tungstenite::Error>> {
        timeout(PATIENCE, self.stream.next()).await.expect("something comes within the patience")
    }
}

fn end(message: Option<Result<Message, tungstenite::Error>>) -> End {
    use tungstenite::error::ProtocolError;
    match message {
        Some(Ok(Message::Close(Some(close)))) => End::Code(close.code.into()),
        Some(Ok(Message::Close(None))) => End::NoCode,
        Some(Err(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)))
        | None => End::Eof,
        Some(Err(tungstenite::Error::Io(error)))
            if error.kind() == std::io::ErrorKind::ConnectionReset =>
        {
            End::Reset
        }
        other => panic!("expected an end, got {other:?}"),
    }
}
