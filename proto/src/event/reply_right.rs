//! What may still be answered to an event, and until when.
//!
//! Windows are measured from the platform's time of the event, the strictest reading: time spent
//! in the log uses them up.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Text;
use crate::id::Scene;
use crate::time::UnixMs;

/// How long after an event the platform still takes a reply to it in a single chat.
///
/// Source: PLATFORM.md, "reply windows".
pub const C2C_REPLY_WINDOW: Duration = Duration::from_secs(60 * 60);

/// How long after an event the platform still takes a reply to it in a group, channel or direct
/// message.
///
/// Source: PLATFORM.md, "reply windows".
pub const REPLY_WINDOW: Duration = Duration::from_secs(5 * 60);

/// How many replies to one message or event a single chat takes.
///
/// The platform's older pages say five; four holds under both.
///
/// Source: PLATFORM.md, "reply windows".
pub const C2C_REPLIES_MAX: u8 = 4;

/// How many replies to one message or event a group takes.
///
/// Source: PLATFORM.md, "reply windows".
pub const GROUP_REPLIES_MAX: u8 = 5;

/// How much of a window's end is left unused: a request takes time, and clocks differ.
pub const REPLY_RESERVE: Duration = Duration::from_secs(15);

/// What is answered, as the platform's sending calls name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplyTarget<'a> {
    /// A message.
    MsgId(#[serde(borrow)] Text<'a>),
    /// Anything else that takes replies, by the id of its envelope.
    EventId(#[serde(borrow)] Text<'a>),
}

/// The right to answer an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyRight<'a> {
    /// What is answered: `msg_id` or `event_id`.
    #[serde(flatten, borrow)]
    pub to: ReplyTarget<'a>,
    /// After this a reply is too late.
    pub expires_at: UnixMs,
    /// How many replies are taken; absent where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u8>,
}

impl<'a> ReplyRight<'a> {
    /// The right to answer what happened in a scene at a time; none where no reply has a place.
    #[must_use]
    pub fn new(to: ReplyTarget<'a>, scene: Scene, at: UnixMs) -> Option<Self> {
        let (window, limit) = match scene {
            Scene::C2c => (C2C_REPLY_WINDOW, Some(C2C_REPLIES_MAX)),
            Scene::Group => (REPLY_WINDOW, Some(GROUP_REPLIES_MAX)),
            // A guild's event is answered in one of its channels.
            Scene::Channel | Scene::Dm | Scene::Guild => (REPLY_WINDOW, None),
            Scene::App => return None,
        };
        Some(Self { to, expires_at: at.plus(window).minus(REPLY_RESERVE), limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_fifteen_seconds_early() {
        let check = |scene, expected: Option<(u64, Option<u8>)>| {
            let to = ReplyTarget::MsgId("M".into());
            let right = ReplyRight::new(to, scene, UnixMs(1_000_000));
            let ends = right.map(|right| (right.expires_at.since(UnixMs(1_000_000)), right.limit));
            let expected = expected.map(|(seconds, limit)| (Duration::from_secs(seconds), limit));
            assert_eq!(ends, expected, "{scene}");
        };
        check(Scene::C2c, Some((59 * 60 + 45, Some(4))));
        check(Scene::Group, Some((4 * 60 + 45, Some(5))));
        check(Scene::Channel, Some((4 * 60 + 45, None)));
        check(Scene::Dm, Some((4 * 60 + 45, None)));
        check(Scene::Guild, Some((4 * 60 + 45, None)));
        check(Scene::App, None);
    }

    #[test]
    fn a_right_reads_back_as_it_was_written() {
        let to = ReplyTarget::EventId("FRIEND_ADD:1".into());
        let right = ReplyRight::new(to, Scene::C2c, UnixMs(0)).expect("a friend can be answered");
        let json = serde_json::to_string(&right).expect("it has a JSON form");
        let expected =
            r#"{"event_id":"FRIEND_ADD:1","expires_at":"1970-01-01T00:59:45.000Z","limit":4}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<ReplyRight<'_>>(&json).expect("a right"), right);
    }
}
