//! One connection to NATS, and what its server says beside answers: that it went, that it is back,
//! that something is not permitted.
//!
//! The client mends a cut connection by itself and sends what it still holds. What had been written
//! to the old one is lost without a word, so that whoever waits listens here, too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Event, ServerError};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::error::{ApiError, AskError};

/// How long one attempt of a question may take. While servers choose a leader they drop questions
/// without a word.
const ATTEMPT: Duration = Duration::from_secs(1);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    notices: Arc<Notices>,
    /// How long an answer may take, and a question with all its attempts.
    pub(super) patience: Duration,
}

impl Link {
    pub(super) const fn new(client: Client, notices: Arc<Notices>, patience: Duration) -> Self {
        Self { client, notices, patience }
    }

    /// Hears of the connection, and of what is denied to subjects that begin with `about`.
    pub(super) fn listen(&self, about: impl Into<String>) -> Listener {
        self.notices.listen(about.into())
    }

    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Asks the JetStream API once, and for no more than a moment.
    pub(super) async fn ask<V: DeserializeOwned>(
        &self,
        question: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<V, AskError> {
        self.ask_within(ATTEMPT, question, body).await
    }

    /// Asks again until there is an answer that says something. For questions that change nothing,
    /// or not a second time.
    pub(super) async fn read<V: DeserializeOwned>(
        &self,
        question: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<V, AskError> {
        let end = Instant::now() + self.patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let error = match self.ask_within(left.min(ATTEMPT), question, body).await {
                Err(error) if error.is_passing() => error,
                answer => return answer,
            };
            if end.saturating_duration_since(Instant::now()) <= PAUSE {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }

    async fn ask_within<V: DeserializeOwned>(
        &self,
        limit: Duration,
        question: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<V, AskError> {
        let mut body =
            serde_json::to_vec(body).map_err(|error| AskError::NoAnswer(error.into()))?;
        if body == b"null" {
            body.clear(); // some questions must have nothing to say
        }
        let request = async_nats::Request::new().payload(body.into());
        let answer = self.request(limit, format!("$JS.API.{question}"), request).await?;
        if let Some(error) = ApiError::read(&answer) {
            return Err(AskError::Api(error));
        }
        serde_json::from_slice(&answer).map_err(|error| AskError::NoAnswer(error.into()))
    }

    /// Sends and waits for the answer, whatever it is.
    pub(super) async fn request(
        &self,
        limit: Duration,
        subject: String,
        request: async_nats::Request,
    ) -> Result<Bytes, AskError> {
        let mut listener = self.listen(subject.as_str());
        let answer = self.client.send_request(subject, request.timeout(None));
        let denied = async {
            loop {
                if let Notice::Denied(text) = listener.next().await {
                    return text;
                }
            }
        };
        tokio::select! {
            answer = timeout(limit, answer) => match answer {
                Ok(Ok(message)) => Ok(message.payload),
                Ok(Err(error)) => Err(error.into()),
                Err(elapsed) => Err(AskError::NoAnswer(elapsed.into())),
            },
            text = denied => Err(AskError::Denied(text)),
        }
    }
}

/// What a server says beside answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// The connection went; what was written to it may be lost.
    Down,
    /// There is a connection again.
    Up,
    /// The server refused a subject, in its own words.
    Denied(String),
}

/// Where the notices of one connection arrive.
#[derive(Debug, Default)]
pub(super) struct Notices {
    listeners: Mutex<Vec<Weak<Ear>>>,
}

#[derive(Debug)]
struct Ear {
    about: String,
    downs: AtomicU64,
    ups: AtomicU64,
    denied: Mutex<Option<String>>,
    waker: AtomicWaker,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Release);
}

impl Notices {
    /// Takes what the client reports.
    pub(super) fn hear(&self, event: &Event) {
        match event {
            Event::Disconnected | Event::Closed => self.each(|ear| count(&ear.downs)),
            Event::Connected => self.each(|ear| count(&ear.ups)),
            Event::ServerError(ServerError::Other(text)) => self.denied(text),
            Event::SlowConsumer(_) => tracing::warn!("nats: more came than was taken in time"),
            _ => {}
        }
    }

    fn denied(&self, text: &str) {
        // `Permissions Violation for Publish to "qq.v1.ev.00.own"`
        let Some((_, rest)) = text.split_once("Permissions Violation for ") else { return };
        tracing::warn!(server = text, "nats: not permitted");
        let subject = rest.split('"').nth(1).unwrap_or_default();
        let is_inbox = rest.starts_with("Subscription");
        self.each(|ear| {
            if is_inbox || subject.starts_with(&ear.about) {
                *ear.denied.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest.to_owned());
            }
        });
    }

    fn each(&self, tell: impl Fn(&Ear)) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|ear| {
            let Some(ear) = ear.upgrade() else { return false };
            tell(&ear);
            ear.waker.wake();
            true
        });
    }

    fn listen(&self, about: String) -> Listener {
        let ear = Arc::new(Ear {
            about,
            downs: AtomicU64::new(0),
            ups: AtomicU64::new(0),
            denied: Mutex::new(None),
            waker: AtomicWaker::new(),
        });
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        // Those who stopped listening leave with the next notice, or here once they are many.
        if listeners.len() == listeners.capacity() {
            listeners.retain(|ear| ear.strong_count() > 0);
        }
        listeners.push(Arc::downgrade(&ear));
        Listener { ear, downs: 0, ups: 0 }
    }
}

/// One who wants to hear of it. Notices of one kind that come together are told once.
#[derive(Debug)]
pub(super) struct Listener {
    ear: Arc<Ear>,
    downs: u64,
    ups: u64,
}

impl Listener {
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Notice> {
        self.ear.waker.register(cx.waker());
        let denied = self.ear.denied.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(text) = denied {
            return Poll::Ready(Notice::Denied(text));
        }
        let downs = self.ear.downs.load(Ordering::Acquire);
        if downs != self.downs {
            self.downs = downs;
            return Poll::Ready(Notice::Down);
        }
        let ups = self.ear.ups.load(Ordering::Acquire);
        if ups != self.ups {
            self.ups = ups;
            return Poll::Ready(Notice::Up);
        }
        Poll::Pending
    }

    pub(super) async fn next(&mut self) -> Notice {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_denial_is_told_to_whom_it_concerns() {
        let notices = Notices::default();
        let mut ours = notices.listen("qq.v1.ev.00.".into());
        let mut others = notices.listen("qq.v1.ev.01.".into());
        let text = r#"Permissions Violation for Publish to "qq.v1.ev.00.own""#;
        notices.hear(&Event::ServerError(ServerError::Other(text.into())));
        let told = Notice::Denied(r#"Publish to "qq.v1.ev.00.own""#.into());
        assert_eq!(ours.next().await, told);
        notices.hear(&Event::Disconnected);
        notices.hear(&Event::Connected);
        for listener in [&mut ours, &mut others] {
            assert_eq!(listener.next().await, Notice::Down);
            assert_eq!(listener.next().await, Notice::Up);
        }
    }

    #[test]
    fn nobody_is_remembered_who_listens_no_more() {
        let notices = Notices::default();
        drop(notices.listen(String::new()));
        notices.hear(&Event::Disconnected);
        assert!(notices.listeners.lock().expect("nobody panicked").is_empty());
    }
}
