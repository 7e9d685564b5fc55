//! A handle on one open socket: what others may ask of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};

use super::session::Session;
use crate::journal::{By, Entry};
use crate::platform::Platform;
use crate::wire::Cutter;

/// Orders that may wait for a socket; beyond it the socket is too far behind to be told anything.
const ORDERS: usize = 256;

/// Something for the socket to do, in the order in which it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Write these bytes: a whole frame, or worse.
    Write(Bytes),
    /// Write a close frame and end.
    Close(Closing),
    /// End without a word.
    HangUp,
}

/// How a socket is to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The code; none writes an empty close frame.
    pub code: Option<u16>,
    /// The reason.
    pub reason: String,
    /// Until when the socket goes on as if nothing were.
    pub after: Duration,
}

impl Closing {
    /// At once, with this code.
    #[must_use]
    pub fn now(code: u16, reason: impl Into<String>) -> Self {
        Self { code: Some(code), reason: reason.into(), after: Duration::ZERO }
    }

    /// The same, later.
    #[must_use]
    pub const fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }
}

/// What a socket does not do for the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stalled {
    /// It reads nothing.
    pub reading: bool,
    /// It writes nothing.
    pub writing: bool,
}

/// One open socket.
#[derive(Debug)]
pub struct Link {
    /// Its number in the journal.
    pub number: u64,
    orders: mpsc::Sender<Order>,
    wake: Notify,
    stalled: watch::Sender<Stalled>,
    cutter: Cutter,
    session: OnceLock<Arc<Session>>,
    over: OnceLock<()>,
}

impl Link {
    /// A handle, and what the socket listens on.
    #[must_use]
    pub fn new(number: u64, cutter: Cutter) -> (Arc<Self>, mpsc::Receiver<Order>) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let link = Self {
            number,
            orders,
            wake: Notify::new(),
            stalled: watch::Sender::new(Stalled::default()),
            cutter,
            session: OnceLock::new(),
            over: OnceLock::new(),
        };
        (Arc::new(link), inbox)
    }

    /// Asks for something. A socket that is too far behind to be asked is cut: it could not be told
    /// of a close either.
    pub fn order(&self, order: Order) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.orders.try_send(order) {
            self.cutter.cut();
        }
    }

    /// As [`Link::order`], waiting for room. Only the socket's own reader may: that holds up nobody
    /// but the client who asks too much.
    pub(super) async fn order_in_turn(&self, order: Order) {
        // The writer is gone only when the socket is ending anyway.
        let _ = self.orders.send(order).await;
    }

    /// Tells it that its session has something to send.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for [`Link::wake`].
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Stalls or frees it.
    pub fn stall(&self, stalled: Stalled) {
        self.stalled.send_replace(stalled);
    }

    /// Whether it is stalled.
    #[must_use]
    pub fn stalled(&self) -> Stalled {
        *self.stalled.borrow()
    }

    /// Waits until the socket may do this again; true when it had to.
    pub(super) async fn free_of(&self, blocked: impl Fn(&Stalled) -> bool) -> bool {
        let mut stalled = self.stalled.subscribe();
        let waits = blocked(&stalled.borrow_and_update());
        // The sender lives as long as self, so waiting cannot fail.
        let _ = stalled.wait_for(|stalled| !blocked(stalled)).await;
        waits
    }

    /// Ends the connection with a TCP reset, whatever it is doing.
    pub fn cut(&self) {
        self.cutter.cut();
    }

    pub(super) async fn was_cut(&self) {
        self.cutter.was_cut().await;
    }

    /// The session it serves.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.get()
    }

    /// From now on it serves this session, for the rest of its life.
    pub(super) fn serve(&self, session: Arc<Session>) {
        let taken = self.session.set(session).is_err();
        debug_assert!(!taken, "a socket serves one session");
        self.wake();
    }

    /// The socket is over: its session waits for the next one, and the journal knows. Only the first
    /// end counts.
    pub(super) fn close(&self, platform: &Platform, by: By, code: Option<u16>, reason: &str) {
        if self.over.set(()).is_err() {
            return;
        }
        let session = self.session();
        if let Some(session) = session {
            session.let_go(self.number, platform.now());
        }
        platform.journal.record(Entry::Close {
            connection: self.number,
            session: session.map(|session| session.id.clone()),
            by,
            code,
            reason: reason.to_owned(),
        });
    }

    /// Whether it has been closed already.
    pub(super) fn is_over(&self) -> bool {
        self.over.get().is_some()
    }
}
