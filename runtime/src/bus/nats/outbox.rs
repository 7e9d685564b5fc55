//! Messages on their way to a connection, sent in order by code that must not wait.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use async_nats::Client;
use async_nats::message::OutboundMessage;
use futures_util::Sink;
use tokio::task::coop::unconstrained;

/// What the connection had no room for waits here. Whoever pushes bounds how much that can be.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Its own clone, which remembers the place in the queue that it waits for.
    client: Client,
    waiting: VecDeque<OutboundMessage>,
}

impl Outbox {
    pub(super) fn new(client: &Client) -> Self {
        Self { client: client.clone(), waiting: VecDeque::new() }
    }

    /// Sends at once, or with the next [`Outbox::poll_send`], which has a waker.
    pub(super) fn push(&mut self, message: OutboundMessage) {
        self.waiting.push_back(message);
        // A task at the end of its turn would be told that there is no room.
        let sent = pin!(unconstrained(poll_fn(|cx| self.poll_send(cx))));
        let _ = sent.poll(&mut Context::from_waker(Waker::noop()));
    }

    /// Lets out what waits, in order; ready when nothing does.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.waiting.is_empty() {
            match Pin::new(&mut self.client).poll_ready(cx) {
                Poll::Pending => return Poll::Pending,
                // The client is gone for good, and says so elsewhere.
                Poll::Ready(Err(_)) => self.waiting.clear(),
                Poll::Ready(Ok(())) => {
                    if let Some(message) = self.waiting.pop_front() {
                        // Its size was judged, so that only a client that is gone refuses it.
                        let _ = Pin::new(&mut self.client).start_send(message);
                    }
                }
            }
        }
        Poll::Ready(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
