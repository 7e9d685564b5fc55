//! The frames that we send.
//!
//! An access token is in two of them, so nothing here can be shown but by being sent.

use std::fmt;

use serde::Serialize;

use crate::id::{Seq, SessionId, ShardId};
use crate::intent::Intents;
use crate::opcode::Opcode;

/// A frame for the platform.
///
/// Source: PLATFORM.md, "frames".
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outgoing<'a> {
    /// Opcode 1, with the newest sequence that the log holds.
    Heartbeat(Option<Seq>),
    /// Opcode 2.
    Identify {
        /// The bare access token.
        token: &'a str,
        /// What we want to hear of.
        intents: Intents,
        /// Which slice of it.
        shard: ShardId,
    },
    /// Opcode 6.
    Resume {
        /// The bare access token.
        token: &'a str,
        /// The session to go on with.
        session_id: &'a SessionId,
        /// The newest sequence of it that the log holds.
        seq: Seq,
    },
}

impl Outgoing<'_> {
    /// The frame as a text message.
    #[must_use]
    pub fn encode(&self) -> String {
        let text = match *self {
            Self::Heartbeat(seq) => encode(Opcode::Heartbeat, seq),
            Self::Identify { token, intents, shard } => {
                let token = authorization(token);
                let properties = Properties { os: "linux", browser: "qqrelay", device: "qqrelay" };
                encode(Opcode::Identify, Identify { token, intents, shard, properties })
            }
            Self::Resume { token, session_id, seq } => {
                encode(Opcode::Resume, Resume { token: authorization(token), session_id, seq })
            }
        };
        text.expect("texts and numbers are always JSON")
    }
}

impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat(seq) => f.debug_tuple("Heartbeat").field(seq).finish(),
            Self::Identify { intents, shard, .. } => {
                let mut shown = f.debug_struct("Identify");
                shown.field("intents", intents).field("shard", shard).finish_non_exhaustive()
            }
            Self::Resume { session_id, seq, .. } => {
                let mut shown = f.debug_struct("Resume");
                shown.field("session_id", session_id).field("seq", seq).finish_non_exhaustive()
            }
        }
    }
}

#[derive(Serialize)]
struct Envelope<D> {
    op: Option<u8>,
    d: D,
}

#[derive(Serialize)]
struct Identify {
    token: String,
    intents: Intents,
    shard: ShardId,
    properties: Properties,
}

/// Without effect on the platform; every official client but one sends them.
#[derive(Serialize)]
struct Properties {
    #[serde(rename = "$os")]
    os: &'static str,
    #[serde(rename = "$browser")]
    browser: &'static str,
    #[serde(rename = "$device")]
    device: &'static str,
}

#[derive(Serialize)]
struct Resume<'a> {
    token: String,
    session_id: &'a SessionId,
    seq: Seq,
}

fn encode(op: Opcode, d: impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(&Envelope { op: op.number(), d })
}

fn authorization(token: &str) -> String {
    format!("QQBot {token}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    #[test]
    fn frames_read_as_the_documents_write_them() {
        let check = |frame: Outgoing<'_>, expected: &str| assert_eq!(frame.encode(), expected);
        let shard = ShardId::new(0, 4).expect("0 is below 4");
        check(Outgoing::Heartbeat(None), r#"{"op":1,"d":null}"#);
        check(Outgoing::Heartbeat(Some(251)), r#"{"op":1,"d":251}"#);
        check(
            Outgoing::Identify { token: "abc", intents: Intents::DEFAULT, shard },
            concat!(
                r#"{"op":2,"d":{"token":"QQBot abc","intents":1174409219,"shard":[0,4],"#,
                r#""properties":{"$os":"linux","$browser":"qqrelay","$device":"qqrelay"}}}"#
            ),
        );
        check(
            Outgoing::Resume { token: "abc", session_id: &"0b7d".into(), seq: 251 },
            r#"{"op":6,"d":{"token":"QQBot abc","session_id":"0b7d","seq":251}}"#,
        );
    }

    #[test]
    fn a_token_is_sent_and_never_shown() {
        let session_id = "a\"b".into();
        let shard = ShardId::new(0, 1).expect("0 is below 1");
        let frames = [
            Outgoing::Identify { token: "se\"cret", intents: Intents::DEFAULT, shard },
            Outgoing::Resume { token: "se\"cret", session_id: &session_id, seq: 1 },
        ];
        for frame in frames {
            assert!(!format!("{frame:?}").contains("cret"));
            assert!(Frame::parse(&frame.encode()).is_ok());
        }
    }
}
