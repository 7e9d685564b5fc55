//! `[worker]` and `[egress]`: how events are handled and replies sent.

use std::path::PathBuf;
use std::time::Duration;

use qqrelay_proto::limits::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::form::{Size, Span};
use super::secret::Secret;
use super::section::section;

section! {
    /// The process that handles events and sends replies.
    pub struct Worker {
        /// What handles events: "none" only runs commands, "echo" answers with what was said,
        /// "http" posts each event to [worker.http], "nats" asks on a subject, [worker.nats].
        handler: HandlerName = HandlerName::None,
        /// Events and commands that may wait in one scope, 1 to 4096; more go to the dead letters.
        scope_queue: u16 = 256,
        /// Handlers that may run at once, 1 to 65536.
        parallel: u32 = 256,
        /// Failures of a handler after which its event goes to the dead letters, 1 to 100.
        failures: u16 = 5,
        /// How long stopping may take. Shorter than what the service manager or pod allows.
        #[serde(with = "Span")]
        drain_grace: Duration = Duration::from_secs(25),
        /// The handler "http".
        http: HttpHandler = HttpHandler::default(),
        /// The handler "nats".
        nats: NatsHandler = NatsHandler::default(),
    }
}

/// What handles events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum HandlerName {
    /// Nothing: the worker only runs commands.
    None,
    /// Answers with what was said.
    Echo,
    /// Posts each event to an address of the operator's.
    Http,
    /// Asks on a subject of the operator's.
    Nats,
}

section! {
    /// Asks each event on a subject of yours, with the connection of nats; the answer may hold a
    /// reply.
    pub struct NatsHandler {
        /// Where events are asked. Must be given for this handler.
        #[schemars(example = "qq.handler.mine")]
        subject: Option<String> = None,
        /// How long your side may take to answer.
        #[serde(with = "Span")]
        timeout: Duration = Duration::from_secs(10),
        /// The largest answer that is taken.
        #[serde(with = "Size")]
        response_limit: u64 = 1 << 20,
    }
}

section! {
    /// Posts each event, signed, to an address of yours; the answer's body may hold a reply.
    pub struct HttpHandler {
        /// Where events go. Must be given for this handler.
        #[schemars(example = "http://127.0.0.1:8080/qq")]
        url: Option<String> = None,
        /// Signs what is posted. One of secret and secret_file must be given for this handler.
        #[schemars(example = "32-or-more-characters-of-your-own")]
        secret: Secret = Secret::default(),
        /// A file that holds the signing secret and nothing else.
        #[schemars(example = "/run/secrets/handler")]
        secret_file: Option<PathBuf> = None,
        /// How long your side may take to answer.
        #[serde(with = "Span")]
        timeout: Duration = Duration::from_secs(10),
        /// The largest answer that is read.
        #[serde(with = "Size")]
        response_limit: u64 = 1 << 20,
    }
}

section! {
    /// The way out: from a command to the platform.
    pub struct Egress {
        /// How long sends are held while all sessions of their bot are down; "0s" holds none.
        #[serde(with = "Span")]
        hold: Duration = Duration::from_secs(30),
        /// How long connecting to the platform may take.
        #[serde(with = "Span")]
        connect_timeout: Duration = Duration::from_secs(3),
        /// How long a request may take in all. At least "5s": a message may appear although the
        /// answer is late.
        #[serde(with = "Span")]
        request_timeout: Duration = Duration::from_secs(10),
        /// When a send that failed is tried again.
        retry: Retry = Retry::default(),
        /// How fast we go in each of the platform's rate limits.
        limits: Limits = Limits::default(),
    }
}

section! {
    /// When a send that failed is tried again. Each wait is drawn between nothing and its bound.
    pub struct Retry {
        /// Attempts per command in all, 1 to 5.
        attempts: u8 = 3,
        /// Bound of the first wait; it doubles.
        #[serde(with = "Span")]
        base: Duration = Duration::from_secs(1),
        /// The largest bound.
        #[serde(with = "Span")]
        cap: Duration = Duration::from_secs(30),
        /// Of a bot's requests, the share in percent that may be retries, 0 to 100.
        budget_percent: u8 = 10,
    }
}
