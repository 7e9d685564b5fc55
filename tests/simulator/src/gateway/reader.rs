//! The reading half of a socket.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::frame::{self, Opcode};
use super::link::{Closing, Link, Order};
use super::{greeting, socket};
use crate::config::NormalClose;
use crate::journal::Entry;
use crate::platform::Platform;

/// The largest frame a client may send; an IDENTIFY has a few hundred bytes.
const FRAME_MAX: usize = 64 << 10;
/// A client that counts on botpy's pace beats every 30 s, whatever Hello said.
const PATIENCE_MIN: Duration = Duration::from_secs(60);
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// Reads a client's frames and does what they ask.
pub(super) struct Reader {
    platform: Arc<Platform>,
    link: Arc<Link>,
    frames: WebSocketStream<Incoming>,
    /// When the client last beat, or was greeted.
    beat: Instant,
    /// When the platform sends the client away.
    cycle: Option<Instant>,
    /// When the frames of the last minute came.
    recent: VecDeque<Instant>,
}

/// How reading ended.
pub(super) enum Heard {
    /// The bytes ended, or were no WebSocket.
    Nothing,
    /// The client closed.
    Close(Option<u16>, String),
}

impl Reader {
    /// Waits for nothing in truth: the library's constructor is async for its own reasons.
    pub(super) async fn new(
        platform: &Arc<Platform>,
        link: Arc<Link>,
        half: ReadHalf<TokioIo<Upgraded>>,
    ) -> Self {
        let limits = WebSocketConfig::default()
            .max_message_size(Some(FRAME_MAX))
            .max_frame_size(Some(FRAME_MAX))
            .read_buffer_size(4 << 10);
        let platform = Arc::clone(platform);
        let now = Instant::now();
        let cycle = platform.config.gateway.cycle.map(|cycle| now + cycle);
        let frames =
            WebSocketStream::from_raw_socket(Incoming(half), Role::Server, Some(limits)).await;
        Self { platform, link, frames, beat: now, cycle, recent: VecDeque::new() }
    }

    pub(super) async fn run(&mut self) -> Heard {
        loop {
            if self.link.free_of(|stalled| stalled.reading).await {
                // What came meanwhile could not be heard, so it is not the client's silence.
                self.beat = Instant::now();
            }
            let deadline = self.deadline();
            tokio::select! {
                message = self.frames.next() => match message {
                    Some(Ok(message)) => if let Some(heard) = self.take(message).await {
                        return heard;
                    },
                    Some(Err(_)) | None => return Heard::Nothing,
                },
                () = sleep_until(deadline) => if !self.link.stalled().reading {
                    self.overdue();
                },
            }
        }
    }

    async fn take(&mut self, message: Message) -> Option<Heard> {
        if self.link.stalled().reading {
            self.link.free_of(|stalled| stalled.reading).await;
        }
        match message {
            Message::Text(text) => self.command(text.as_bytes()).await,
            Message::Binary(bytes) => self.command(&bytes).await,
            Message::Ping(payload) => self.say(pong(&payload)).await,
            Message::Close(Some(close)) => {
                return Some(Heard::Close(Some(close.code.into()), close.reason.to_string()));
            }
            Message::Close(None) => return Some(Heard::Close(None, String::new())),
            Message::Pong(_) | Message::Frame(_) => {}
        }
        None
    }

    /// Source: spec/gateway.md §3, §5, §10.
    async fn command(&mut self, text: &[u8]) {
        if self.is_too_fast() {
            return self.close(4008, "sending too fast");
        }
        let Ok(frame) = serde_json::from_slice::<Value>(text) else {
            return self.close(4002, "invalid payload");
        };
        let (op, d) = (frame["op"].as_i64(), &frame["d"]);
        match op {
            Some(1) => self.heartbeat(d).await,
            Some(2 | 6) if self.link.session().is_some() => {
                self.close(4005, "already authenticated");
            }
            Some(2) => greeting::identify(&self.platform, &self.link, d),
            Some(6) => greeting::resume(&self.platform, &self.link, d),
            Some(_) => self.close(4001, "invalid opcode"),
            None => self.close(4002, "invalid payload"),
        }
        if self.link.session().is_some() && matches!(op, Some(2 | 6)) {
            self.beat = Instant::now();
        }
    }

    async fn heartbeat(&mut self, d: &Value) {
        let Some(session) = self.link.session() else {
            return self.close(4003, "not authenticated");
        };
        self.beat = Instant::now();
        let (connection, d) = (self.link.number, d.clone());
        let id = Some(session.id.clone());
        self.platform.journal.record(Entry::Heartbeat { connection, session: id, d });
        if !session.silence().acks {
            self.platform.journal.record(Entry::Ack { connection });
            self.say(frame::text(r#"{"op":11}"#)).await;
        }
    }

    /// What the client's own close does to its session.
    pub(super) fn client_closed(&self, code: Option<u16>) {
        let normal = matches!(code, Some(1000 | 1001));
        if normal
            && self.platform.config.gateway.normal_close == NormalClose::EndsSession
            && let Some(session) = self.link.session()
        {
            session.end("its client closed it");
        }
    }

    fn deadline(&self) -> Instant {
        let patience = match self.link.session() {
            Some(_) => self.patience(),
            None => self.platform.config.gateway.handshake_timeout,
        };
        let silent = self.beat + patience;
        self.cycle.map_or(silent, |cycle| cycle.min(silent))
    }

    fn patience(&self) -> Duration {
        let twice = self.platform.config.heartbeat_interval * 2;
        self.platform.config.gateway.heartbeat_timeout.unwrap_or_else(|| twice.max(PATIENCE_MIN))
    }

    fn overdue(&mut self) {
        let now = Instant::now();
        if self.cycle.is_some_and(|cycle| cycle <= now) {
            self.cycle = None;
            let delay = self.platform.config.gateway.close_delay;
            let closing = Closing::now(4009, "Session timed out").after(delay);
            return socket::reconnect(&self.platform, &self.link, closing);
        }
        // Once is enough: the writer ends the socket.
        self.beat = now + PATIENCE_MIN;
        match self.link.session() {
            Some(_) => self.close(4009, "Session timed out"),
            None => self.close(4003, "not authenticated"),
        }
    }

    fn is_too_fast(&mut self) -> bool {
        let Some(allowed) = self.platform.config.gateway.frames_a_minute else { return false };
        let now = Instant::now();
        while self.recent.front().is_some_and(|at| now - *at >= RATE_WINDOW) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.recent.len() > usize::try_from(allowed).unwrap_or(usize::MAX)
    }

    async fn say(&mut self, frame: Bytes) {
        self.link.order_in_turn(Order::Write(frame)).await;
    }

    fn close(&self, code: u16, reason: &str) {
        self.link.order(Order::Close(Closing::now(code, reason)));
    }
}

fn pong(payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 2);
    frame::append(&mut out, Opcode::Pong, payload);
    out.into()
}

/// The bytes that come in, for a library that would like to write, too.
///
/// All frames that go out are the writer's; what the library says on its own account is dropped, and
/// the reader says it in its place.
struct Incoming(ReadHalf<TokioIo<Upgraded>>);

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
