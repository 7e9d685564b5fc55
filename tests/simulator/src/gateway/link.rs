//! A handle on one open socket: what others may ask of it.

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Orders that may wait for a socket; beyond it the socket is too far behind to be told anything.
pub(crate) const ORDERS: usize = 256;

/// Something for the socket to do, in the order in which it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Write these bytes, a whole frame or worse.
    Write(Bytes),
    /// Write a close frame and end.
    Close {
        /// The code; none writes an empty close frame.
        code: Option<u16>,
        /// The reason.
        reason: String,
    },
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
    cut: CancellationToken,
}

impl Link {
    /// A handle, and what the socket listens on.
    #[must_use]
    pub fn new(number: u64) -> (Self, mpsc::Receiver<Order>) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let stalled = watch::Sender::new(Stalled::default());
        let cut = CancellationToken::new();
        (Self { number, orders, wake: Notify::new(), stalled, cut }, inbox)
    }

    /// Asks for something; false when the socket is gone or too far behind.
    pub fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// As [`Link::order`], waiting for room: only the socket's own reader may, everybody else would
    /// be held up by a slow client.
    pub(crate) async fn order_in_turn(&self, order: Order) -> bool {
        self.orders.send(order).await.is_ok()
    }

    /// Tells it that its session has something to send.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for [`Link::wake`].
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Stalls or frees it.
    pub fn stall(&self, stalled: Stalled) {
        self.stalled.send_replace(stalled);
    }

    /// Waits until the socket may do this again.
    pub(crate) async fn free(&self, blocked: impl Fn(&Stalled) -> bool) {
        let mut stalled = self.stalled.subscribe();
        // The sender lives as long as self, so waiting cannot fail.
        let _ = stalled.wait_for(|stalled| !blocked(stalled)).await;
    }

    /// Ends the connection with a TCP reset, whatever it is doing.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// Waits for [`Link::cut`].
    pub(crate) async fn was_cut(&self) {
        self.cut.cancelled().await;
    }
}
