//! What happened, by our name; which of the platform's types it covers.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::NameError;

macro_rules! kinds {
    ($($kind:ident $name:literal [$($wire:literal)*])*) => {
        /// The event's normalised name. The platform's six message types are one kind, its three
        /// deletions another; every other type has a kind of its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each variant is the platform's name for it")]
        pub enum EventKind {
            $($kind,)*
        }

        impl EventKind {
            /// Every kind, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The name used in subjects, metric labels, logs and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// The platform's types of this kind, as in a frame's `t`.
            #[must_use]
            pub const fn wire_types(self) -> &'static [&'static str] {
                match self {
                    $(Self::$kind => &[$($wire),*],)*
                }
            }

            /// The kind of a frame's `t`; [`EventKind::Unknown`] of a type this release has not met.
            #[must_use]
            pub fn of_wire(wire: &str) -> Self {
                match wire {
                    $($($wire)|* => Self::$kind,)*
                    _ => Self::Unknown,
                }
            }
        }
    };
}

// READY and RESUMED are no events but the session's own records. `Unknown` has a type that the
// platform cannot send, because the macro wants one.
kinds! {
    MessageCreate "message_create" ["MESSAGE_CREATE" "AT_MESSAGE_CREATE" "DIRECT_MESSAGE_CREATE"
        "C2C_MESSAGE_CREATE" "GROUP_AT_MESSAGE_CREATE" "GROUP_MESSAGE_CREATE"]
    MessageDelete "message_delete" ["MESSAGE_DELETE" "PUBLIC_MESSAGE_DELETE"
        "DIRECT_MESSAGE_DELETE"]
    MessageReactionAdd "message_reaction_add" ["MESSAGE_REACTION_ADD"]
    MessageReactionRemove "message_reaction_remove" ["MESSAGE_REACTION_REMOVE"]
    MessageAuditPass "message_audit_pass" ["MESSAGE_AUDIT_PASS"]
    MessageAuditReject "message_audit_reject" ["MESSAGE_AUDIT_REJECT"]
    GuildCreate "guild_create" ["GUILD_CREATE"]
    GuildUpdate "guild_update" ["GUILD_UPDATE"]
    GuildDelete "guild_delete" ["GUILD_DELETE"]
    ChannelCreate "channel_create" ["CHANNEL_CREATE"]
    ChannelUpdate "channel_update" ["CHANNEL_UPDATE"]
    ChannelDelete "channel_delete" ["CHANNEL_DELETE"]
    GuildMemberAdd "guild_member_add" ["GUILD_MEMBER_ADD"]
    GuildMemberUpdate "guild_member_update" ["GUILD_MEMBER_UPDATE"]
    GuildMemberRemove "guild_member_remove" ["GUILD_MEMBER_REMOVE"]
    ForumThreadCreate "forum_thread_create" ["FORUM_THREAD_CREATE"]
    ForumThreadUpdate "forum_thread_update" ["FORUM_THREAD_UPDATE"]
    ForumThreadDelete "forum_thread_delete" ["FORUM_THREAD_DELETE"]
    ForumPostCreate "forum_post_create" ["FORUM_POST_CREATE"]
    ForumPostDelete "forum_post_delete" ["FORUM_POST_DELETE"]
    ForumReplyCreate "forum_reply_create" ["FORUM_REPLY_CREATE"]
    ForumReplyDelete "forum_reply_delete" ["FORUM_REPLY_DELETE"]
    ForumPublishAuditResult "forum_publish_audit_result" ["FORUM_PUBLISH_AUDIT_RESULT"]
    OpenForumThreadCreate "open_forum_thread_create" ["OPEN_FORUM_THREAD_CREATE"]
    OpenForumThreadUpdate "open_forum_thread_update" ["OPEN_FORUM_THREAD_UPDATE"]
    OpenForumThreadDelete "open_forum_thread_delete" ["OPEN_FORUM_THREAD_DELETE"]
    OpenForumPostCreate "open_forum_post_create" ["OPEN_FORUM_POST_CREATE"]
    OpenForumPostDelete "open_forum_post_delete" ["OPEN_FORUM_POST_DELETE"]
    OpenForumReplyCreate "open_forum_reply_create" ["OPEN_FORUM_REPLY_CREATE"]
    OpenForumReplyDelete "open_forum_reply_delete" ["OPEN_FORUM_REPLY_DELETE"]
    AudioStart "audio_start" ["AUDIO_START"]
    AudioFinish "audio_finish" ["AUDIO_FINISH"]
    AudioOnMic "audio_on_mic" ["AUDIO_ON_MIC"]
    AudioOffMic "audio_off_mic" ["AUDIO_OFF_MIC"]
    AudioOrLiveChannelMemberEnter "audio_or_live_channel_member_enter"
        ["AUDIO_OR_LIVE_CHANNEL_MEMBER_ENTER"]
    AudioOrLiveChannelMemberExit "audio_or_live_channel_member_exit"
        ["AUDIO_OR_LIVE_CHANNEL_MEMBER_EXIT"]
    FriendAdd "friend_add" ["FRIEND_ADD"]
    FriendDel "friend_del" ["FRIEND_DEL"]
    C2cMsgReject "c2c_msg_reject" ["C2C_MSG_REJECT"]
    C2cMsgReceive "c2c_msg_receive" ["C2C_MSG_RECEIVE"]
    GroupAddRobot "group_add_robot" ["GROUP_ADD_ROBOT"]
    GroupDelRobot "group_del_robot" ["GROUP_DEL_ROBOT"]
    GroupMsgReject "group_msg_reject" ["GROUP_MSG_REJECT"]
    GroupMsgReceive "group_msg_receive" ["GROUP_MSG_RECEIVE"]
    GroupMemberAdd "group_member_add" ["GROUP_MEMBER_ADD"]
    GroupMemberRemove "group_member_remove" ["GROUP_MEMBER_REMOVE"]
    GroupJoinRequest "group_join_request" ["GROUP_JOIN_REQUEST"]
    SubscribeMessageStatus "subscribe_message_status" ["SUBSCRIBE_MESSAGE_STATUS"]
    InteractionCreate "interaction_create" ["INTERACTION_CREATE"]
    EnterAio "enter_aio" ["ENTER_AIO"]
    Unknown "unknown" [""]
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or_else(|| NameError {
            found: text.into(),
            expected: "an event kind, such as message_create",
        })
    }
}

impl Serialize for EventKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A kind that a later release has is read as [`EventKind::Unknown`]: old consumers go on.
impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Ok(name.parse().unwrap_or(Self::Unknown))
    }
}

impl JsonSchema for EventKind {
    fn schema_name() -> Cow<'static, str> {
        "EventKind".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
        schemars::json_schema!({
            "type": "string",
            "description": "What happened; a later release may add names.",
            "examples": names,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_covers_exactly_its_wire_types() {
        for &kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            for wire in kind.wire_types() {
                assert_eq!(EventKind::of_wire(wire), kind, "{wire}");
            }
        }
        assert_eq!(EventKind::of_wire("SOMETHING_NEW"), EventKind::Unknown);
    }
}
