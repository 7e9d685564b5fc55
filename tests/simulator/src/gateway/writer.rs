//! The writing half of a socket.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::frame;
use super::link::{Closing, Link, Order};
use super::session::Reading;
use crate::flood::{Flood, Pace};
use crate::journal::By;
use crate::platform::Platform;

/// Bytes gathered for one write.
const ROOM: usize = 64 << 10;
/// How long a client may leave a write unread before the socket is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes orders as they come and a session's frames as they are there.
pub(super) struct Writer {
    platform: Arc<Platform>,
    link: Arc<Link>,
    io: WriteHalf<TokioIo<Upgraded>>,
    orders: mpsc::Receiver<Order>,
    closing: Option<(Instant, Closing)>,
    /// The socket's share of a flood, once it serves a session.
    pace: Option<Pace>,
    buffer: Vec<u8>,
}

/// Whether the socket is still to be written to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Stop,
}

impl Writer {
    pub(super) fn new(
        platform: &Arc<Platform>,
        link: Arc<Link>,
        io: WriteHalf<TokioIo<Upgraded>>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let platform = Arc::clone(platform);
        Self { platform, link, io, orders, closing: None, pace: None, buffer: Vec::new() }
    }

    /// Writes until the socket is closed or broken.
    pub(super) async fn run(&mut self) {
        while self.turn().await == Then::GoOn {}
    }

    /// Waits for something to do, and does it.
    async fn turn(&mut self) -> Then {
        let deadline = self.closing.as_ref().map(|(at, _)| *at);
        let due = async {
            match deadline {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let more = async {
            match &self.pace {
                Some(pace) => pace.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = due => return self.close().await,
            order = self.orders.recv() => match order {
                Some(order) => if self.obey(order).await == Then::Stop { return Then::Stop },
                None => return Then::Stop,
            },
            () = self.link.woken() => {}
            () = more => {}
        }
        self.drain().await
    }

    /// Writes what the session has, between the orders that come meanwhile.
    async fn drain(&mut self) -> Then {
        loop {
            while let Ok(order) = self.orders.try_recv() {
                if self.obey(order).await == Then::Stop {
                    return Then::Stop;
                }
            }
            if self.closing.as_ref().is_some_and(|(at, _)| *at <= Instant::now()) {
                return self.close().await;
            }
            self.link.free_of(|stalled| stalled.writing).await;
            let Some(session) = self.link.session() else { return Then::GoOn };
            if self.pace.is_none() {
                self.pace = self.platform.flood.as_ref().map(Flood::pace);
            }
            let allowed = self.pace.as_mut().map_or(0, Pace::allowed);
            self.buffer.clear();
            match session.read(self.link.number, &mut self.buffer, ROOM, allowed) {
                Reading::Frames { fresh } => {
                    if let Some(pace) = &mut self.pace {
                        pace.spend(fresh);
                    }
                    let bytes = std::mem::take(&mut self.buffer);
                    let then = self.write(&bytes).await;
                    self.buffer = bytes;
                    if then == Then::Stop {
                        return Then::Stop;
                    }
                }
                Reading::Nothing | Reading::NotMine => return Then::GoOn,
                Reading::TooSlow => {
                    self.closing = Some((Instant::now(), Closing::now(4009, "too slow")));
                }
            }
        }
    }

    async fn obey(&mut self, order: Order) -> Then {
        match order {
            Order::Write(bytes) => {
                self.link.free_of(|stalled| stalled.writing).await;
                self.write(&bytes).await
            }
            Order::Close(closing) => {
                let at = Instant::now() + closing.after;
                // The first to be due wins: an op 7's delayed close does not hold up a later one.
                if self.closing.as_ref().is_none_or(|(due, _)| at < *due) {
                    self.closing = Some((at, closing));
                }
                Then::GoOn
            }
            Order::HangUp => Then::Stop,
        }
    }

    /// Closes, and gives the client time to answer: its reader ends the socket when it does.
    async fn close(&mut self) -> Then {
        let Some((_, Closing { code, reason, .. })) = self.closing.take() else {
            return Then::GoOn;
        };
        // First, so that whoever comes back at once finds it in the journal.
        self.link.close(&self.platform, By::Platform, code, &reason);
        let written = self.write(&frame::close(code, &reason)).await;
        if written == Then::GoOn && !self.platform.stop.is_cancelled() {
            sleep(CLOSE_TIMEOUT).await;
        }
        Then::Stop
    }

    /// Answers a client's own close.
    pub(super) async fn answer_close(&mut self, code: Option<u16>, reason: &str) {
        self.write(&frame::close(code, reason)).await;
    }

    async fn write(&mut self, bytes: &[u8]) -> Then {
        let write = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        match timeout(WRITE_TIMEOUT, write).await {
            Ok(Ok(())) => Then::GoOn,
            Ok(Err(_)) | Err(_) => Then::Stop,
        }
    }
}
