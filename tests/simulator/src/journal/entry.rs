//! What can happen on the platform, as a checker reads it.

use qqrelay_proto::id::{AppId, Scene, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

use crate::clock::WallMs;
use crate::shard::Shard;

/// An entry at its place in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Counted from 0, without holes.
    pub index: u64,
    /// When.
    pub at_ms: WallMs,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The platform.
    Platform,
    /// The bot's side.
    Client,
    /// Nobody said so: the bytes ended or could not be written.
    Network,
}

/// One thing that happened. `connection` numbers the sockets in the order they were opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are the protocol's own words")]
pub enum Entry {
    /// A gateway socket was opened.
    Connected { connection: u64, peer: String },
    /// It was greeted.
    Hello { connection: u64 },
    /// An op 2 came, valid or not.
    Identify { connection: u64, app: Option<AppId>, shard: Option<Shard>, intents: Option<u64> },
    /// An op 6 came, valid or not.
    Resume { connection: u64, app: Option<AppId>, session: String, seq: Option<u64> },
    /// A session began; its READY has this sequence.
    Ready { connection: u64, app: AppId, shard: Shard, session: SessionId, seq: u64 },
    /// A session goes on: everything after `after` was sent again, then RESUMED under `seq`.
    Resumed { connection: u64, app: AppId, shard: Shard, session: SessionId, after: u64, seq: u64 },
    /// An event got a sequence in a session. From here on the platform owes it to that session.
    Dispatch {
        app: AppId,
        shard: Shard,
        session: SessionId,
        seq: u64,
        #[serde(rename = "type")]
        t: Arc<str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        event_id: Option<Arc<str>>,
        /// Which injection it belongs to.
        injection: u64,
        /// The injection that this one pushes again.
        #[serde(skip_serializing_if = "Option::is_none")]
        repeat_of: Option<u64>,
    },
    /// Sequences were left out on purpose: the platform never sends them.
    Skipped { session: SessionId, from: u64, to: u64 },
    /// Frames were sent once more under the sequence they had.
    Again { connection: u64, session: SessionId, from: u64, to: u64 },
    /// An op 1 came.
    Heartbeat { connection: u64, session: Option<SessionId>, d: Value },
    /// An op 11 went out.
    Ack { connection: u64 },
    /// An op 7 went out.
    Reconnect { connection: u64 },
    /// An op 9 went out.
    InvalidSession { connection: u64, resumable: bool },
    /// Something no client should get went out.
    Raw { connection: u64, bytes: usize },
    /// A socket ended.
    Close { connection: u64, session: Option<SessionId>, by: By, code: Option<u16>, reason: String },
    /// A session will never be resumed again.
    Ended { app: AppId, shard: Shard, session: SessionId, last_seq: u64, why: String },
    /// A token was asked for; `code` is 0 when one was given.
    Token { app: String, status: u16, code: u32 },
    /// A REST call was answered, or left without an answer (status 0).
    Rest {
        method: String,
        path: String,
        app: Option<AppId>,
        status: u16,
        code: Option<u32>,
        /// Whether people see the effect: a message shown, a message recalled.
        applied: bool,
        /// What was to be sent, of a message.
        #[serde(skip_serializing_if = "Option::is_none")]
        sent: Option<Box<Sent>>,
    },
    /// An event was called back; `status` is absent when nobody answered.
    Webhook {
        app: AppId,
        event_id: String,
        attempt: u32,
        status: Option<u16>,
        acknowledged: bool,
        injection: Option<u64>,
    },
    /// Someone used the control API or the scenario did.
    Action { action: Value },
}

impl Entry {
    /// The message that people see by this, if it is one.
    #[must_use]
    pub fn shown(&self) -> Option<&Sent> {
        match self {
            Self::Rest { applied: true, sent: Some(sent), .. } => Some(sent),
            _ => None,
        }
    }

    /// The kind, as it is written in JSON.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Hello { .. } => "hello",
            Self::Identify { .. } => "identify",
            Self::Resume { .. } => "resume",
            Self::Ready { .. } => "ready",
            Self::Resumed { .. } => "resumed",
            Self::Dispatch { .. } => "dispatch",
            Self::Skipped { .. } => "skipped",
            Self::Again { .. } => "again",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Ack { .. } => "ack",
            Self::Reconnect { .. } => "reconnect",
            Self::InvalidSession { .. } => "invalid_session",
            Self::Raw { .. } => "raw",
            Self::Close { .. } => "close",
            Self::Ended { .. } => "ended",
            Self::Token { .. } => "token",
            Self::Rest { .. } => "rest",
            Self::Webhook { .. } => "webhook",
            Self::Action { .. } => "action",
        }
    }
}

/// What a checker needs to know of a message that a bot sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The kind of place.
    pub scene: Scene,
    /// The place.
    pub scope: String,
    /// The message it answers.
    pub msg_id: Option<String>,
    /// The event it answers.
    pub event_id: Option<String>,
    /// The number that makes it unique among the answers to one message.
    pub msg_seq: Option<u64>,
    /// SHA-256 of the content, in hex.
    pub content_hash: String,
    /// Its text or markdown.
    pub content: String,
    /// The id it was given, when it was applied.
    pub id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_json_calls_the_kind() {
        let check = |entry: Entry| {
            let json = serde_json::to_value(&entry).unwrap();
            assert_eq!(json["what"], entry.label());
        };
        check(Entry::InvalidSession { connection: 1, resumable: true });
        check(Entry::Ack { connection: 1 });
        check(Entry::Action { action: Value::Null });
    }
}
