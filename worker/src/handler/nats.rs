//! Asks each event on a NATS subject; the answer may hold replies.
//!
//! The request is the event as the log holds it. Whoever subscribes there as a queue group shares
//! the work. While nobody does, the event waits: no attempt is counted.

use std::time::Duration;

use async_trait::async_trait;
use qqrelay_proto::event::Event;
use qqrelay_proto::record::{encode, header};
use qqrelay_runtime::bus::nats::{NatsBus, RequestError};

use super::answer::{self, AnswerError};
use super::{Context, Handler, HandlerError, Reply};

/// Where and how to ask.
#[derive(Debug, Clone)]
pub struct NatsSetup {
    /// The subject of the requests.
    pub subject: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Largest answer that is taken, in bytes.
    pub answer_bytes: usize,
}

/// The handler `nats`.
pub struct Nats {
    bus: NatsBus,
    setup: NatsSetup,
}

impl Nats {
    /// Builds the handler on the connection of the bus.
    #[must_use]
    pub const fn new(setup: NatsSetup, bus: NatsBus) -> Self {
        Self { bus, setup }
    }
}

/// A request that brought no answer we can use.
#[derive(Debug, thiserror::Error)]
enum AskError {
    /// Nobody answered.
    #[error("no answer on {subject}")]
    Unanswered {
        /// As configured.
        subject: String,
        /// Why.
        source: RequestError,
    },
    /// An answer without an end.
    #[error("the answer has {bytes} bytes, the most is {most}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What is taken at most.
        most: usize,
    },
    /// An answer that says nothing we can send.
    #[error("the answer cannot be used")]
    Answer(#[from] AnswerError),
}

impl From<AskError> for HandlerError {
    /// An event that no message can hold will be as large the next time. All else that has no
    /// answer is nobody's fault but the connection's.
    fn from(error: AskError) -> Self {
        match &error {
            AskError::Unanswered { source: RequestError::TooLarge(_), .. }
            | AskError::TooLarge { .. }
            | AskError::Answer(_) => Self::Failed(error.into()),
            AskError::Unanswered { .. } => Self::Infrastructure(error.into()),
        }
    }
}

#[async_trait]
impl Handler for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    async fn handle(
        &self,
        event: &Event<'_>,
        context: &Context,
    ) -> Result<Vec<Reply>, HandlerError> {
        let NatsSetup { subject, timeout, answer_bytes } = &self.setup;
        let id = encode(&event.id);
        let trace = context.trace_parent.as_deref().map(encode);
        let mut headers = vec![(header::ID, &*id)];
        headers.extend(trace.as_deref().map(|trace| (header::TRACE_PARENT, trace)));
        let asked = self.bus.request(subject, &headers, context.json.clone(), *timeout).await;
        let unanswered = |source| AskError::Unanswered { subject: subject.clone(), source };
        let body = asked.map_err(unanswered)?;
        if body.len() > *answer_bytes {
            return Err(AskError::TooLarge { bytes: body.len(), most: *answer_bytes }.into());
        }
        Ok(answer::replies(&body).map_err(AskError::Answer)?)
    }
}
