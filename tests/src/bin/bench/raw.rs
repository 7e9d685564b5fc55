//! The least that a relay can do, to hold ours against: sessions on one thread, a borrowed look at
//! `op`, `s` and `t`, and each dispatch to the log as it came, under the chain's headers and
//! condition, with a numeric reply subject and the answers counted. Nothing is normalised, resumed,
//! fenced or remembered, and whatever goes wrong ends it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_nats::{Client, ConnectOptions, HeaderMap};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use qqrelay_proto::id::{AppId, ShardId};
use qqrelay_proto::intent::Intents;
use qqrelay_proto::subject::Partition;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet, unconstrained};
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::scene::{APP, http, token};

const BUFFER: usize = 4 * 1024;
const WINDOW: usize = 256;
const BEAT: Duration = Duration::from_secs(20);

/// What it is told on its command line, as JSON.
#[derive(Debug, Clone, serde::Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) platform: String,
    pub(crate) nats: String,
    pub(crate) secret: String,
    pub(crate) sessions: u16,
    pub(crate) partitions: u8,
}

/// One stream, which this process alone writes.
struct Chain {
    /// Of the newest record that was sent.
    number: Cell<u64>,
    /// Records that may still be sent before an answer comes.
    room: Semaphore,
    inbox: String,
    prefix: String,
}

/// A frame, as far as it is looked at.
#[derive(Deserialize)]
struct Frame<'a> {
    op: u8,
    #[serde(default)]
    s: u64,
    #[serde(borrow, default, rename = "t")]
    _t: Option<&'a str>,
}

/// Relays until it is killed.
pub(crate) fn run(task: Task) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, relay(task))
}

async fn relay(task: Task) -> anyhow::Result<()> {
    let options = ConnectOptions::new().client_capacity(WINDOW * usize::from(task.partitions) * 2);
    let client = options.connect(&task.nats).await?;
    let token = token(&http()?, &task.platform, &task.secret).await?;
    let mut running = JoinSet::new();
    let mut chains = Vec::new();
    for index in 0..task.partitions {
        let inbox = client.new_inbox();
        let prefix = Partition::Chain(index).all().trim_end_matches('>').to_owned();
        let room = Semaphore::new(WINDOW);
        let chain = Rc::new(Chain { number: Cell::new(0), room, inbox, prefix });
        let mut answers = client.subscribe(format!("{}.*", chain.inbox)).await?;
        chains.push(Rc::clone(&chain));
        running.spawn_local(async move {
            while let Some(answer) = answers.next().await {
                ensure!(!answer.payload.starts_with(b"{\"error\""), "{:?}", answer.payload);
                chain.room.add_permits(1);
            }
            Ok(())
        });
    }
    let app = AppId::from(APP);
    for shard in ShardId::all(task.sessions) {
        let partition = Partition::of_shard(&app, shard, task.partitions);
        let Partition::Chain(index) = partition else { unreachable!("shards are on chains") };
        let chain = Rc::clone(&chains[usize::from(index)]);
        let session = Session { task: task.clone(), shard, token: token.clone() };
        running.spawn_local(session.run(chain, client.clone()));
    }
    running.join_next().await.context("nothing to do")?.context("a task ended")?
}

struct Session {
    task: Task,
    shard: ShardId,
    token: String,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Session {
    async fn run(self, chain: Rc<Chain>, client: Client) -> anyhow::Result<()> {
        let mut socket = self.connect().await?;
        let subject = format!("{}{APP}.raw", chain.prefix);
        let mut beats = interval_at(Instant::now() + BEAT, BEAT);
        let mut seq = 0;
        loop {
            let text = tokio::select! {
                message = socket.next() => match message.context("closed")?? {
                    Message::Text(text) => text,
                    Message::Close(frame) => anyhow::bail!("closed: {frame:?}"),
                    _ => continue,
                },
                _ = beats.tick() => {
                    let beat = json!({"op": 1, "d": seq}).to_string();
                    socket.send(Message::text(beat)).await?;
                    continue;
                }
            };
            let frame: Frame<'_> = serde_json::from_str(&text)?;
            match frame {
                Frame { op: 0, s, .. } => {
                    seq = s;
                    self.store(&chain, &client, &subject, s, text).await?;
                }
                Frame { op: 10, .. } => socket.send(self.identify()).await?,
                _ => {}
            }
        }
    }

    async fn connect(&self) -> anyhow::Result<Socket> {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_write_buffer_size(16 * BUFFER);
        let url = format!("{}/websocket", self.task.platform.replace("http", "ws"));
        let connecting = tokio_tungstenite::connect_async_with_config(url, Some(config), true);
        Ok(connecting.await?.0)
    }

    fn identify(&self) -> Message {
        let shard = [self.shard.index(), self.shard.count()];
        let d = json!({"token": format!("QQBot {}", self.token), "intents": Intents::DEFAULT.bits(), "shard": shard});
        Message::text(json!({"op": 2, "d": d}).to_string())
    }

    async fn store(
        &self,
        chain: &Chain,
        client: &Client,
        subject: &str,
        seq: u64,
        text: Utf8Bytes,
    ) -> anyhow::Result<()> {
        chain.room.acquire().await?.forget();
        let last = chain.number.replace(chain.number.get() + 1);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Sequence", last.to_string());
        headers.insert("Qq-Session", "raw");
        headers.insert("Qq-Seq", seq.to_string());
        headers.insert("Qq-Owner", "raw");
        let reply = format!("{}.{last}", chain.inbox);
        let payload = Bytes::from(text);
        let subject = subject.to_owned();
        // The queue has room for a whole window; without a turn of another task in between, what is
        // numbered first leaves first.
        let publish = client.publish_with_reply_and_headers(subject, reply, headers, payload);
        Ok(unconstrained(publish).await?)
    }
}
