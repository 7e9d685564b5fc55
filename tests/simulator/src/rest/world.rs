//! Guilds, channels and people, made from their ids: whoever asks twice gets the same.
//!
//! An id that is a number exists. A suite can name any guild it likes without setting it up, and
//! still learn what becomes of an id that cannot be one.

use serde_json::{Value, json};

use super::caller::Caller;
use crate::clock::{WallMs, rfc3339};
use crate::rules::Refusal;
use crate::shard::fnv1a64;

/// When everybody joined everything.
const JOINED_AT: WallMs = 1_638_684_509_000;
/// Roles that every guild has, by id.
///
/// Source: spec/events.md §3.3.
const ROLES: [(&str, &str, u32); 4] = [
    ("1", "全体成员", 4_288_193_468),
    ("2", "管理员", 4_294_927_682),
    ("4", "创建者", 4_294_917_938),
    ("5", "子频道管理员", 4_288_193_468),
];

/// The guild that a bot is in before any event names one.
pub(super) fn home_guild(app: &str) -> String {
    derived("guild", app)
}

/// The channel of a guild before any event names one.
pub(super) fn home_channel(guild: &str) -> String {
    derived("channel", guild)
}

/// The virtual guild of a direct message with a user.
pub(super) fn dm_guild(user: &str) -> String {
    derived("dm", user)
}

/// The users of a guild beside the bot; the first is its owner.
pub(super) fn users(guild: &str) -> [String; 3] {
    ["owner", "first", "second"].map(|who| derived(who, guild))
}

/// A number of 19 digits at most, as guild-side ids are.
fn derived(kind: &str, from: &str) -> String {
    (fnv1a64(format!("{kind}:{from}").as_bytes()) >> 4).to_string()
}

/// The guild, if the id can be one.
pub(super) fn guild(caller: &Caller, id: &str) -> Result<Value, Refusal> {
    number(id).ok_or(Refusal::UnknownGuild)?;
    Ok(json!({
        "id": id,
        "name": format!("guild {id}"),
        "icon": "",
        "owner_id": users(id)[0],
        "owner": false,
        "joined_at": rfc3339(JOINED_AT),
        "member_count": users(id).len() + 1,
        "max_members": 1_200,
        "description": format!("where {} lives", caller.app.name),
    }))
}

/// A text channel, if the id can be one.
pub(super) fn channel(id: &str, guild: &str) -> Result<Value, Refusal> {
    number(id).ok_or(Refusal::UnknownChannel)?;
    Ok(json!({
        "id": id,
        "guild_id": guild,
        "name": format!("channel {id}"),
        "type": 0,
        "sub_type": 0,
        "position": 2,
        "parent_id": "0",
        "owner_id": users(guild)[0],
        "private_type": 0,
        "speak_permission": 1,
        "application_id": "0",
        "permissions": "7",
    }))
}

/// A member, if the id can be one.
pub(super) fn member(caller: &Caller, guild: &str, id: &str) -> Result<Value, Refusal> {
    number(guild).ok_or(Refusal::UnknownGuild)?;
    number(id).ok_or(Refusal::BadForm)?;
    let role = if users(guild)[0] == id { "4" } else { "1" };
    let user = if id == caller.app.user_id { bot(caller) } else { user(id) };
    Ok(json!({
        "user": user,
        "nick": format!("member {id}"),
        "roles": [role],
        "joined_at": rfc3339(JOINED_AT),
    }))
}

/// The roles of a guild.
pub(super) fn roles(guild: &str) -> Result<Value, Refusal> {
    number(guild).ok_or(Refusal::UnknownGuild)?;
    let roles = ROLES.map(|(id, name, color)| {
        json!({
            "id": id,
            "name": name,
            "color": color,
            "hoist": u8::from(id != "1"),
            "number": 1,
            "member_limit": 1_200,
        })
    });
    Ok(json!({"guild_id": guild, "roles": roles, "role_num_limit": "30"}))
}

/// The bot as a guild's user.
pub(super) fn bot(caller: &Caller) -> Value {
    json!({
        "id": caller.app.user_id,
        "username": caller.app.name,
        "avatar": avatar(&caller.app.user_id),
        "bot": true,
    })
}

fn user(id: &str) -> Value {
    json!({"id": id, "username": format!("user {id}"), "avatar": avatar(id), "bot": false})
}

/// The address of a picture that nobody serves.
pub(super) fn avatar(id: &str) -> String {
    format!("http://avatar.invalid/{id}/0")
}

/// Guild-side ids are 64-bit numbers.
pub(super) fn number(id: &str) -> Option<u64> {
    id.parse().ok()
}
