//! What the platform says of itself and of the session: HELLO and READY.
//!
//! A HELLO is never refused, its oddities are mended; a READY only where the session it made could
//! not be resumed.

use std::borrow::Cow;
use std::time::Duration;

use crate::frame::Frame;
use crate::id::{SessionId, ShardId, UserId};
use crate::lenient::{Raw, members};

/// What opcode 10 says, with everything odd mended.
///
/// Source: PLATFORM.md, "frames".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Time between heartbeats, within [`Hello::SHORTEST`] and [`Hello::LONGEST`].
    pub interval: Duration,
    /// Whether the platform asked for something else, which is worth one line in the log.
    pub mended: bool,
}

impl Hello {
    /// Nothing shorter is believed.
    pub const SHORTEST: Duration = Duration::from_secs(5);
    /// Nothing longer is believed: a dead link would go unseen.
    pub const LONGEST: Duration = Duration::from_secs(120);
    /// What holds where the platform says nothing usable.
    pub const UNSAID: Duration = Duration::from_secs(30);

    /// Reads opcode 10.
    #[must_use]
    pub fn read(frame: &Frame<'_>) -> Self {
        members!(Members { heartbeat_interval });
        let interval = Members::read(frame.payload()).heartbeat_interval.number();
        Self::asking_for(interval.unwrap_or_default())
    }

    fn asking_for(milliseconds: f64) -> Self {
        let [shortest, longest] = [Self::SHORTEST, Self::LONGEST].map(|it| it.as_millis() as f64);
        if milliseconds <= 0.0 {
            return Self { interval: Self::UNSAID, mended: true };
        }
        let believed = milliseconds.clamp(shortest, longest);
        let interval = Duration::from_millis(believed as u64);
        Self { interval, mended: believed != milliseconds }
    }
}

/// What READY says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready<'a> {
    /// What RESUME will name.
    pub session_id: SessionId,
    /// The bot itself, in the id space of guilds; it must be the bot we asked for.
    pub user: Option<UserId>,
    /// The bot's name.
    pub name: Option<Cow<'a, str>>,
    /// The shard it claims to be. Documents print `[0,0]` here, so it is good for a log line only.
    pub shard: Option<ShardId>,
}

/// Why a READY cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadyError {
    /// There is no `session_id`.
    #[error("READY has no session_id")]
    NoSession,
    /// It is longer than [`Ready::SESSION_ID_MAX`].
    #[error("READY has a session_id of {0} bytes")]
    SessionTooLong(usize),
    /// It has control characters.
    #[error("READY has a session_id with control characters")]
    SessionUnprintable,
}

impl<'a> Ready<'a> {
    /// The longest `session_id` that is taken, in bytes; it has 36 today.
    pub const SESSION_ID_MAX: usize = 256;

    /// Reads READY.
    ///
    /// # Errors
    ///
    /// Its session cannot be named, so it could not be resumed either.
    pub fn read(frame: &Frame<'a>) -> Result<Self, ReadyError> {
        members!(Members { session_id, user, shard });
        members!(User { id, username });
        let ready = Members::read(frame.payload());
        let user = User::read(ready.user);
        Ok(Self {
            session_id: read_session_id(ready.session_id)?,
            user: user.id.id().map(|id| UserId::from(id.as_ref())),
            name: user.username.text(),
            shard: ready.shard.written().and_then(|pair| serde_json::from_str(pair.get()).ok()),
        })
    }
}

fn read_session_id(raw: Raw<'_>) -> Result<SessionId, ReadyError> {
    let id = raw.id().ok_or(ReadyError::NoSession)?;
    match id.len() {
        too_long if too_long > Ready::SESSION_ID_MAX => Err(ReadyError::SessionTooLong(too_long)),
        _ if id.chars().any(char::is_control) => Err(ReadyError::SessionUnprintable),
        _ => Ok(SessionId::from(id.as_ref())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeat_interval_is_kept_within_reason() {
        let check = |d: &str, seconds, mended| {
            let text = format!(r#"{{"op":10,"d":{d}}}"#);
            let hello = Hello::read(&Frame::parse(&text).expect("a frame"));
            assert_eq!(hello, Hello { interval: Duration::from_secs(seconds), mended }, "{d}");
        };
        check(r#"{"heartbeat_interval":45000}"#, 45, false);
        check(r#"{"heartbeat_interval":5000}"#, 5, false);
        check(r#"{"heartbeat_interval":120000}"#, 120, false);
        check(r#"{"heartbeat_interval":1}"#, 5, true);
        check(r#"{"heartbeat_interval":1e12}"#, 120, true);
        check(r#"{"heartbeat_interval":1e400}"#, 120, true);
        for d in ["0", "-1", "-0", "\"45000\"", "null", "true", "[]"] {
            check(&format!(r#"{{"heartbeat_interval":{d}}}"#), 30, true);
        }
        check("{}", 30, true);
        check("null", 30, true);
    }

    #[test]
    fn ready_names_a_session_that_can_be_resumed() {
        let ready = |d: &str| {
            let text = format!(r#"{{"op":0,"s":1,"t":"READY","d":{d}}}"#);
            let frame = Frame::parse(&text).expect("a frame");
            Ready::read(&frame).map(|ready| (ready.session_id.to_string(), ready.user, ready.shard))
        };
        let d = r#"{"session_id":"0b7d","user":{"id":"5777","username":"b"},"shard":[0,4]}"#;
        let expected = ("0b7d".to_owned(), Some(UserId::from("5777")), ShardId::new(0, 4));
        assert_eq!(ready(d), Ok(expected));
        for shard in ["[0,0]", "[5,4]", "[]", "null", "\"0\"", "[0,4,1]", "[-1,4]"] {
            let d = format!(r#"{{"session_id":"0b7d","shard":{shard}}}"#);
            assert_eq!(ready(&d), Ok(("0b7d".to_owned(), None, None)), "{shard}");
        }
        for d in ["{}", "null", "[]", r#"{"session_id":""}"#, r#"{"session_id":null}"#] {
            assert_eq!(ready(d), Err(ReadyError::NoSession), "{d}");
        }
        let long = format!(r#"{{"session_id":"{}"}}"#, "x".repeat(1 << 20));
        assert_eq!(ready(&long), Err(ReadyError::SessionTooLong(1 << 20)));
        let odd = r#"{"session_id":"a\r\nNats-Expected-Last-Sequence: 1"}"#;
        assert_eq!(ready(odd), Err(ReadyError::SessionUnprintable));
    }
}
