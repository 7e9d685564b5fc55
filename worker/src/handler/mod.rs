//! What a bot does with an event: the trait it implements, and the handlers that are shipped.
//!
//! A handler says what to answer; it never sends. Its replies run through the same egress as
//! everybody's commands, under ids made of the event's, so that an event handled again gives the
//! same messages and the platform shows them once.

mod answer;
mod echo;
mod http;
mod nats;

use std::error::Error;

use async_trait::async_trait;
use bytes::Bytes;
use qqrelay_proto::command::Content;
use qqrelay_proto::event::Event;

pub use self::echo::Echo;
pub use self::http::{Http, HttpSetup, HttpSetupError, SecretError};
pub use self::nats::{Nats, NatsSetup};

/// Most messages that one event may be answered with.
///
/// Far above what the platform takes to any event, and low enough that the ids of all of them have
/// numbers of their own (see `CommandId::of_handler`).
pub const REPLIES_MAX: usize = 20;

/// What a bot does with an event.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Its name in the ids of its replies, in metrics and logs. It never changes: a reply under
    /// another name is another reply.
    fn name(&self) -> &'static str;

    /// Who tells the platform that a button press was taken.
    fn acknowledges(&self) -> Acknowledges {
        Acknowledges::Worker
    }

    /// Handles one event and says what to answer, at most [`REPLIES_MAX`] messages.
    ///
    /// Events of one place come one after the other, in order; the next one waits for this one's
    /// replies. The same event comes again after a crash, and after an error. The future is dropped
    /// when the lane is lost.
    ///
    /// # Errors
    ///
    /// [`HandlerError::Infrastructure`] to be asked again for as long as it takes,
    /// [`HandlerError::Failed`] to be asked again a few times and then to give the event up.
    async fn handle(
        &self,
        event: &Event<'_>,
        context: &Context,
    ) -> Result<Vec<Reply>, HandlerError>;
}

/// Who tells the platform that a button press was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledges {
    /// The worker, at once, with "done".
    Worker,
    /// The handler, by a command of its own.
    Handler,
}

/// What a handler may want to know beside the event.
#[derive(Debug, Clone)]
pub struct Context {
    /// The event as the log holds it.
    pub json: Bytes,
    /// How often this event was handled and failed before.
    pub failures: u32,
    /// The trace this handling belongs to, W3C form.
    pub trace_parent: Option<String>,
}

/// One message in answer to an event, in the event's own place.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What it says.
    pub content: Content,
    /// What it quotes: in a channel or direct message an id, elsewhere a `REFIDX_…`.
    pub quote: Option<String>,
    /// Under which right it is sent.
    pub right: Right,
}

/// Under which right a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// The right to answer the event; where there is none, the message is refused.
    Answer,
    /// The bot's right to speak unasked.
    Push,
}

impl Reply {
    /// Answers with `content`.
    #[must_use]
    pub const fn new(content: Content) -> Self {
        Self { content, quote: None, right: Right::Answer }
    }

    /// Answers with a text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Content::Text(text.into()))
    }
}

/// A cause to be logged with its chain.
pub type Cause = Box<dyn Error + Send + Sync>;

/// An event that was not handled.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// Something the handler needs is not there now. The event is handled again until it is, and
    /// its scope waits; no attempt is counted.
    #[error("what the handler needs is not there")]
    Infrastructure(#[source] Cause),
    /// The handler failed at this event. After a few times the event goes to the dead letters.
    #[error("the handler failed")]
    Failed(#[source] Cause),
}

impl HandlerError {
    /// The error's metric label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Infrastructure(_) => "infrastructure",
            Self::Failed(_) => "failed",
        }
    }
}
