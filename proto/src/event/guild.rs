//! Guilds and their channels, as they are made, changed and left.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::moment::read_time;
use super::place::Ids;
use super::{Event, Facts, Text};
use crate::lenient::{Raw, members};

/// A guild: after the change, or before it was left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Guild<'a> {
    /// Its id.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// Its name.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// Where its picture can be fetched.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<Text<'a>>,
    /// What it is about.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text<'a>>,
    /// Whose it is.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Text<'a>>,
    /// How many are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_count: Option<i64>,
    /// How many may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_members: Option<i64>,
    /// When the bot came, RFC 3339.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub joined_at: Option<Text<'a>>,
    /// Who did it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Text<'a>>,
}

/// A channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Channel<'a> {
    /// Its id.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// Its name.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// What kind, the platform's number: 0 text, 2 voice, 4 a heading, 10005 live, 10006 app,
    /// 10007 forum.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub channel_type: Option<i64>,
    /// What kind of text, the platform's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_type: Option<i64>,
    /// Who made it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Text<'a>>,
    /// Who did it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Text<'a>>,
}

members!(GuildMembers {
    id,
    name,
    icon,
    description,
    owner_id,
    member_count,
    max_members,
    joined_at,
    op_user_id,
});

/// Reads GUILD_CREATE, GUILD_UPDATE and GUILD_DELETE.
pub(super) fn read<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = GuildMembers::read(d);
    let id = Text::read(read.id);
    event.guild_info = Some(Box::new(Guild {
        id: id.clone(),
        name: Text::read(read.name),
        icon: Text::read(read.icon),
        description: Text::read(read.description),
        owner: Text::read(read.owner_id),
        member_count: read.member_count.whole(),
        max_members: read.max_members.whole(),
        joined_at: read_time(read.joined_at),
        operator: Text::read(read.op_user_id),
    }));
    let ids = Ids::read(d);
    Facts { ids: Ids { guild: id.or_else(|| ids.guild.clone()), ..ids }, own_id: None, time: None }
}

members!(ChannelMembers { id, name, kind "type", sub_type, owner_id, op_user_id });

/// Reads CHANNEL_CREATE, CHANNEL_UPDATE and CHANNEL_DELETE.
pub(super) fn read_channel<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = ChannelMembers::read(d);
    let id = Text::read(read.id);
    event.channel_info = Some(Box::new(Channel {
        id: id.clone(),
        name: Text::read(read.name),
        channel_type: read.kind.whole(),
        sub_type: read.sub_type.whole(),
        owner: Text::read(read.owner_id),
        operator: Text::read(read.op_user_id),
    }));
    Facts { ids: Ids { channel: id, ..Ids::read(d) }, own_id: None, time: None }
}
