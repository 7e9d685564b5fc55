//! What can be made to happen.

use std::time::Duration;

use qqrelay_proto::id::AppId;
use serde::{Deserialize, Serialize};

use crate::app::Standing;
use crate::events::Injection;
use crate::faults::Armed;
use crate::gateway::fault::SocketFault;
use crate::gateway::session::Silence;
use crate::rest;
use crate::shard::Shard;
use crate::span;
use crate::token_endpoint::TokenFault;

/// One thing to do. In JSON: `{"reconnect": {"target": {"app": "102"}}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Send an event to a bot.
    Inject {
        /// Whose.
        app: AppId,
        /// Which.
        event: Injection,
        /// How often, each as an event of its own.
        #[serde(default = "once")]
        times: u32,
    },
    /// Push a recent event again, under new sequences.
    PushAgain {
        /// Its number, as [`Action::Inject`] told it.
        injection: u64,
    },
    /// Op 7, then a close.
    Reconnect {
        /// Which sockets.
        #[serde(default)]
        target: Target,
        /// The close code that follows.
        #[serde(default = "timed_out")]
        code: u16,
        /// How long after; the configured delay where nothing is said.
        #[serde(default, with = "span::maybe")]
        after: Option<Duration>,
    },
    /// Op 9, then a close.
    InvalidSession {
        /// Which sockets.
        #[serde(default)]
        target: Target,
        /// Its payload.
        resumable: bool,
        /// The close code that follows.
        #[serde(default = "no_session")]
        code: u16,
    },
    /// A close frame.
    Close {
        /// Which sockets.
        #[serde(default)]
        target: Target,
        /// The code, whatever it is; none sends an empty close frame.
        code: Option<u16>,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// A TCP reset.
    Cut {
        /// Which sockets.
        #[serde(default)]
        target: Target,
    },
    /// The end of the bytes, without a close frame.
    HangUp {
        /// Which sockets.
        #[serde(default)]
        target: Target,
    },
    /// Neither close nor go on: the socket stays open.
    Stall {
        /// Which sockets.
        #[serde(default)]
        target: Target,
        /// Nothing is read from it.
        #[serde(default = "yes")]
        reading: bool,
        /// Nothing is written to it.
        #[serde(default = "yes")]
        writing: bool,
        /// For how long; until a stall that stalls nothing where nothing is said.
        #[serde(default, with = "span::maybe")]
        lasts: Option<Duration>,
    },
    /// Sessions leave out heartbeat answers, or events, until told otherwise.
    Silence {
        /// Which sessions.
        #[serde(default)]
        target: Target,
        /// What they leave out.
        silence: Silence,
    },
    /// Sessions leave out their next sequences.
    Skip {
        /// Which sessions.
        #[serde(default)]
        target: Target,
        /// How many.
        count: u64,
    },
    /// Sockets get frames once more under the sequence they had.
    Again {
        /// Which sockets.
        #[serde(default)]
        target: Target,
        /// Which frames.
        lapse: Lapse,
    },
    /// Sockets get something no platform sends.
    Raw {
        /// Which sockets.
        #[serde(default)]
        target: Target,
        /// What.
        bytes: RawBytes,
    },
    /// Sessions end for good, and their sockets with op 9.
    EndSession {
        /// Which sessions.
        #[serde(default)]
        target: Target,
    },
    /// Something shall go wrong later.
    Arm(Arming),
    /// Nothing armed shall go wrong any more.
    Disarm,
    /// A bot's access tokens hold no longer.
    ExpireTokens {
        /// Whose.
        app: AppId,
    },
    /// The platform's opinion of a bot changes: banned, taken offline, calling from a wrong address.
    /// Of one that may not connect any more, the sockets are closed.
    Stand {
        /// Whose.
        app: AppId,
        /// The new one.
        standing: Standing,
    },
    /// It becomes later: tokens age, windows pass, sessions expire.
    Advance {
        /// By so much.
        #[serde(with = "span")]
        by: Duration,
    },
    /// Another number of shards is recommended.
    Shards {
        /// How many.
        count: u32,
    },
    /// Look-ups tell another gateway address, or the platform's own again.
    TellUrl {
        /// Which; none is the platform's own.
        url: Option<String>,
    },
    /// A bot has only so many IDENTIFYs left today.
    IdentifiesLeft {
        /// Whose.
        app: AppId,
        /// How many.
        remaining: u32,
    },
}

/// Which sessions or sockets are meant; what is not said matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// Only this bot's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// Only this shard's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Only this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Only this socket, by its number in the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
}

impl Target {
    /// Everything of one bot.
    #[must_use]
    pub fn app(app: impl Into<AppId>) -> Self {
        Self { app: Some(app.into()), ..Self::default() }
    }

    /// One shard of one bot.
    #[must_use]
    pub fn shard(app: impl Into<AppId>, index: u32, count: u32) -> Self {
        Self { shard: Some(Shard { index, count }), ..Self::app(app) }
    }
}

/// Which frames come once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lapse {
    /// The last so many, in order.
    Last(u64),
    /// The single one that many before the last: the sequence goes backwards.
    Back(u64),
}

/// Something no platform sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawBytes {
    /// A text frame that holds this.
    Text(String),
    /// These bytes on the TCP connection, in base64: frames of any kind, whole or not.
    Base64(String),
}

/// Something that shall go wrong later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arming {
    /// With a REST call.
    Rest(Armed<rest::Fault>),
    /// With a token request.
    Token(Armed<TokenFault>),
    /// At the beginning of a socket.
    Socket(Armed<SocketFault>),
}

const fn once() -> u32 {
    1
}

const fn yes() -> bool {
    true
}

const fn timed_out() -> u16 {
    4009
}

const fn no_session() -> u16 {
    4006
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_action_says_only_what_matters() {
        let check = |text, expected: Action| {
            let action: Action = serde_json::from_value(text).unwrap();
            assert_eq!(action, expected);
            let printed = serde_json::to_value(&action).unwrap();
            assert_eq!(serde_json::from_value::<Action>(printed).unwrap(), expected);
        };
        check(
            json!({"reconnect": {}}),
            Action::Reconnect { target: Target::default(), code: 4009, after: None },
        );
        check(
            json!({"skip": {"target": {"app": "102", "shard": [1, 4]}, "count": 2}}),
            Action::Skip { target: Target::shard("102", 1, 4), count: 2 },
        );
        check(
            json!({"arm": {"socket": {"fault": "no_ready", "times": {"next": 2}}}}),
            Action::Arm(Arming::Socket(Armed::next(2, SocketFault::NoReady))),
        );
        check(json!("disarm"), Action::Disarm);
        check(
            json!({"advance": {"by": "61m"}}),
            Action::Advance { by: Duration::from_secs(3_660) },
        );
    }

    #[test]
    fn a_misspelt_member_is_an_error() {
        assert!(serde_json::from_value::<Action>(json!({"reconnect": {"cod": 1}})).is_err());
        assert!(serde_json::from_value::<Action>(json!({"cut": {"target": {"ap": "1"}}})).is_err());
    }
}
