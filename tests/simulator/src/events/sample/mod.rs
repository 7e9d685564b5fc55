//! A plausible payload for every event type there is.
//!
//! Written so that all official SDKs are content: strings where they decode strings, numbers where
//! they decode numbers, members that one of them indexes always there.
//!
//! Source: spec/events.md §3–§14.

mod forum;
mod group;
mod guild;
mod interaction;
mod message;

use serde_json::{Value, json};

use crate::app::App;
use crate::clock::{WallMs, rfc3339};
use crate::dice::Dice;

/// Makes up what a test did not say.
pub(crate) struct Maker<'a> {
    dice: &'a Dice,
    pub(crate) app: &'a App,
    /// What the test did say; what is made up agrees with it.
    given: &'a Value,
    now: WallMs,
    /// Grows from event to event.
    pub(crate) serial: u64,
}

impl<'a> Maker<'a> {
    pub(crate) const fn new(
        dice: &'a Dice,
        app: &'a App,
        given: &'a Value,
        now: WallMs,
        serial: u64,
    ) -> Self {
        Self { dice, app, given, now, serial }
    }

    /// The text at a JSON pointer of what the test said, or a made-up one.
    fn or(&self, pointer: &str, make: impl FnOnce() -> String) -> String {
        let given = self.given.pointer(pointer).and_then(Value::as_str);
        given.map_or_else(make, str::to_owned)
    }

    pub(crate) fn opaque(&self) -> String {
        self.dice.hex(32).to_lowercase()
    }

    fn open_id(&self) -> String {
        self.dice.hex(32)
    }

    /// Digits that fit 64 bits, as guild-side ids are.
    fn number(&self) -> String {
        // The upper bits spread over shards; below 2^63 so that no client's signed parser fails.
        (self.dice.next() >> 1).to_string()
    }

    fn guild(&self) -> String {
        self.or("/guild_id", || self.number())
    }

    fn channel(&self) -> String {
        self.or("/channel_id", || self.dice.below(100_000_000).to_string())
    }

    fn group(&self) -> String {
        self.or("/group_openid", || self.or("/group_id", || self.open_id()))
    }

    fn time(&self) -> String {
        rfc3339(self.now)
    }

    fn seconds(&self) -> i64 {
        self.now / 1_000
    }

    /// A guild-side user.
    fn user(&self, pointer: &str) -> Value {
        json!({
            "id": self.or(&format!("{pointer}/id"), || self.number()),
            "username": "路人甲",
            "avatar": "https://thirdqq.qlogo.cn/g?b=oidb&k=sim&s=0",
            "bot": false,
        })
    }
}

/// The payload of a type that exists.
pub(crate) fn of(t: &str, make: &Maker<'_>) -> Option<Value> {
    Some(match t {
        "AT_MESSAGE_CREATE" | "MESSAGE_CREATE" => message::channel(t, make),
        "DIRECT_MESSAGE_CREATE" => message::direct(make),
        "C2C_MESSAGE_CREATE" => message::c2c(make),
        "GROUP_AT_MESSAGE_CREATE" | "GROUP_MESSAGE_CREATE" => message::group(make),
        "MESSAGE_DELETE" | "PUBLIC_MESSAGE_DELETE" | "DIRECT_MESSAGE_DELETE" => {
            message::deleted(t, make)
        }
        "MESSAGE_REACTION_ADD" | "MESSAGE_REACTION_REMOVE" => message::reaction(make),
        "MESSAGE_AUDIT_PASS" | "MESSAGE_AUDIT_REJECT" => message::audited(t, make),
        "GUILD_CREATE" | "GUILD_UPDATE" | "GUILD_DELETE" => guild::guild(make),
        "CHANNEL_CREATE" | "CHANNEL_UPDATE" | "CHANNEL_DELETE" => guild::channel(make),
        "GUILD_MEMBER_ADD" | "GUILD_MEMBER_UPDATE" | "GUILD_MEMBER_REMOVE" => guild::member(make),
        "AUDIO_START" | "AUDIO_FINISH" | "AUDIO_ON_MIC" | "AUDIO_OFF_MIC" => guild::audio(make),
        "AUDIO_OR_LIVE_CHANNEL_MEMBER_ENTER" | "AUDIO_OR_LIVE_CHANNEL_MEMBER_EXIT" => {
            guild::listener(make)
        }
        "FRIEND_ADD" | "FRIEND_DEL" | "C2C_MSG_REJECT" | "C2C_MSG_RECEIVE" => {
            group::friend(t, make)
        }
        "GROUP_ADD_ROBOT" | "GROUP_DEL_ROBOT" | "GROUP_MSG_REJECT" | "GROUP_MSG_RECEIVE" => {
            group::state(make)
        }
        "GROUP_MEMBER_ADD" | "GROUP_MEMBER_REMOVE" => group::member(make),
        "GROUP_JOIN_REQUEST" => group::join_request(make),
        "SUBSCRIBE_MESSAGE_STATUS" => group::subscription(make),
        "ENTER_AIO" => group::enter_aio(make),
        "INTERACTION_CREATE" => interaction::interaction(make),
        _ => return forum::any(t, make),
    })
}
