//! Posts each event, signed, to an address of the operator's; the answer's body may hold replies.
//!
//! The body is the event as the log holds it, byte for byte, so that the receiver checks what we
//! signed. A repeat of an event has the same `webhook-id`. Nothing is followed: an address that
//! moved is a mistake to be seen, not a place to send messages to.

mod signature;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use qqrelay_proto::event::Event;
use qqrelay_proto::hash::sha256_hex;
use qqrelay_proto::record::header as record_header;
use qqrelay_runtime::config::Secret;
use qqrelay_runtime::store::Clock;
use reqwest::{Client, Response, Url, redirect};

use self::signature::Key;
pub use self::signature::SecretError;
use super::answer::{self, AnswerError};
use super::{Context, Handler, HandlerError, Reply};

/// How long connecting may take. The whole exchange has a limit of its own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where and how to post.
#[derive(Debug)]
pub struct HttpSetup {
    /// Where events go.
    pub url: Url,
    /// Signs what is posted: `whsec_<base64>` as in Standard Webhooks, or any text of 16 bytes or
    /// more.
    pub secret: Secret,
    /// How long the whole exchange may take.
    pub timeout: Duration,
    /// Largest answer that is read, in bytes.
    pub answer_bytes: usize,
}

/// The handler `http`.
pub struct Http {
    client: Client,
    key: Key,
    url: Url,
    answer_bytes: usize,
    clock: Clock,
}

/// A handler that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// The secret protects nothing.
    #[error("the secret of handler http cannot be used")]
    Secret(#[from] SecretError),
    /// TLS has no certificates to trust, or the like.
    #[error("the client of handler http cannot be built")]
    Client(#[source] reqwest::Error),
}

impl Http {
    /// Builds the handler; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// The secret is too short, or TLS cannot be set up.
    pub fn new(setup: HttpSetup, clock: Clock) -> Result<Self, HttpSetupError> {
        let key = Key::new(setup.secret.expose())?;
        // A second call finds a provider installed, and it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(setup.timeout)
            .tcp_nodelay(true)
            .user_agent(concat!("qqrelay/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(HttpSetupError::Client)?;
        let HttpSetup { url, answer_bytes, .. } = setup;
        Ok(Self { client, key, url, answer_bytes, clock })
    }

    async fn post(&self, event: &Event<'_>, context: &Context) -> Result<Bytes, PostError> {
        let headers = self.headers(&event.id, context);
        let request = self.client.post(self.url.clone()).headers(headers);
        let sent = request.body(context.json.clone()).send().await;
        let response = sent.map_err(|error| PostError::Unanswered(error.without_url()))?;
        let status = response.status();
        if !status.is_success() {
            return Err(PostError::Status(status));
        }
        read(response, self.answer_bytes).await
    }

    fn headers(&self, event_id: &str, context: &Context) -> HeaderMap {
        let (id, timestamp) = (header_id(event_id), self.clock.now().0 / 1000);
        let signature = self.key.sign(&id, timestamp, &context.json);
        let text = |text: &str| {
            HeaderValue::from_str(text).expect("digits, base64 and visible ASCII make a header")
        };
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(signature::ID, text(&id));
        headers.insert(signature::TIMESTAMP, HeaderValue::from(timestamp));
        headers.insert(signature::SIGNATURE, text(&signature));
        let trace = context.trace_parent.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(trace)) = trace {
            headers.insert(record_header::TRACE_PARENT, trace);
        }
        headers
    }
}

/// The event's id as a header can hold it: of an id that cannot stand there, its hash.
fn header_id(event_id: &str) -> String {
    let visible = event_id.bytes().all(|byte| matches!(byte, 0x21..=0x7E));
    if visible { event_id.to_owned() } else { sha256_hex(event_id.as_bytes()) }
}

async fn read(mut response: Response, most: usize) -> Result<Bytes, PostError> {
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| PostError::Unanswered(error.without_url()))?
    {
        if body.len() + chunk.len() > most {
            return Err(PostError::TooLarge { most });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// A post that brought no answer we can use.
#[derive(Debug, thiserror::Error)]
enum PostError {
    /// Nobody answered, or not to the end.
    #[error("no answer to the posted event")]
    Unanswered(#[source] reqwest::Error),
    /// A status that is no success.
    #[error("the posted event was answered with status {0}")]
    Status(StatusCode),
    /// An answer without an end.
    #[error("the answer is larger than {most} bytes")]
    TooLarge {
        /// What is read at most.
        most: usize,
    },
    /// An answer that says nothing we can send.
    #[error("the answer cannot be used")]
    Answer(#[from] AnswerError),
}

impl From<PostError> for HandlerError {
    /// Whether asking again will help without anybody doing something about this event: what says
    /// "not now" does, what says "not this" does not.
    fn from(error: PostError) -> Self {
        match &error {
            PostError::Unanswered(_) => Self::Infrastructure(error.into()),
            PostError::Status(status) => match *status {
                StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS => Self::Infrastructure(error.into()),
                status if status.is_server_error() => Self::Infrastructure(error.into()),
                _ => Self::Failed(error.into()),
            },
            PostError::TooLarge { .. } | PostError::Answer(_) => Self::Failed(error.into()),
        }
    }
}

#[async_trait]
impl Handler for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    async fn handle(
        &self,
        event: &Event<'_>,
        context: &Context,
    ) -> Result<Vec<Reply>, HandlerError> {
        let body = self.post(event, context).await?;
        Ok(answer::replies(&body).map_err(PostError::Answer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_not_now_is_asked_again_and_what_says_not_this_is_counted() {
        let check = |status: u16, expected: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(HandlerError::from(PostError::Status(status)).label(), expected);
        };
        check(301, "failed");
        check(400, "failed");
        check(404, "failed");
        check(408, "infrastructure");
        check(425, "infrastructure");
        check(429, "infrastructure");
        check(500, "infrastructure");
        check(503, "infrastructure");
        let large = HandlerError::from(PostError::TooLarge { most: 1 });
        assert_eq!(large.label(), "failed");
    }

    #[test]
    fn an_id_that_no_header_can_hold_is_posted_as_its_hash() {
        assert_eq!(header_id("102:ROBOT1.0_a!"), "102:ROBOT1.0_a!");
        assert_eq!(header_id("102:\r\nx: y").len(), 64);
        assert_eq!(header_id("102:群").len(), 64);
    }
}
