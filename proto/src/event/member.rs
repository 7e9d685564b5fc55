//! Members who come, change and go: of guilds and of groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::moment::{Moment, read_time};
use super::place::Ids;
use super::{Event, Facts, Text, is_false};
use crate::lenient::{Raw, members};

/// A member of a guild or group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member<'a> {
    /// The user, in the id space of the scene.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// The user's name.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// The name within the guild.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub nick: Option<Text<'a>>,
    /// Whether it is a bot.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bot: bool,
    /// Ids of the guild's roles: 1 everyone, 2 administrator, 4 owner, 5 channel administrator,
    /// and the guild's own.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Text<'a>>,
    /// When the member came, RFC 3339.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub joined_at: Option<Text<'a>>,
    /// Who did it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Text<'a>>,
    /// Of a group's member, the id of the same person in a single chat, where it is told.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub user_openid: Option<Text<'a>>,
}

members!(Members {
    user,
    nick,
    roles,
    joined_at,
    op_user_id,
    timestamp,
    member_openid,
    user_openid,
    username,
    bot,
});
members!(User { id, username, bot });

/// Reads GUILD_MEMBER_ and GROUP_MEMBER_ types.
pub(super) fn read<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = Members::read(d);
    let user = User::read(read.user);
    event.member = Some(Box::new(Member {
        id: Text::read(user.id.or(read.member_openid)),
        name: Text::read(user.username.or(read.username)),
        nick: Text::read(read.nick),
        bot: user.bot.flag().or_else(|| read.bot.flag()).unwrap_or_default(),
        roles: read.roles.items().into_iter().filter_map(Text::read).collect(),
        joined_at: read_time(read.joined_at),
        operator: Text::read(read.op_user_id),
        user_openid: Text::read(read.user_openid),
    }));
    // The id that a group's member has in a single chat is no place of this event.
    let ids = Ids { user: None, ..Ids::read(d) };
    Facts { ids, own_id: None, time: Moment::read(read.timestamp) }
}
