//! Messages of all scenes, and what happens to them.

use serde_json::{Value, json};

use super::Maker;

pub(super) fn channel(t: &str, make: &Maker<'_>) -> Value {
    let mut message = guild_message(make);
    if t == "AT_MESSAGE_CREATE" {
        let bot = &make.app.user_id;
        message["content"] = format!("<@!{bot}> 你好").into();
        message["mentions"] = json!([{"id": bot, "username": make.app.name, "bot": true}]);
    }
    message
}

pub(super) fn direct(make: &Maker<'_>) -> Value {
    let mut message = guild_message(make);
    message["direct_message"] = true.into();
    message["src_guild_id"] = make.or("/src_guild_id", || make.number()).into();
    message
}

/// Source: spec/events.md §6.1.
fn guild_message(make: &Maker<'_>) -> Value {
    json!({
        "id": make.or("/id", || format!("08{}", make.opaque())),
        "guild_id": make.guild(),
        "channel_id": make.channel(),
        "content": "你好",
        "timestamp": make.time(),
        "author": make.user("/author"),
        "member": {
            "nick": "路人甲",
            "roles": ["1"],
            "joined_at": "2021-04-12T16:34:42+08:00",
        },
        "seq": make.serial,
        "seq_in_channel": make.serial.to_string(),
    })
}

/// Source: spec/events.md §9.1. Both ids of a user are the same text.
pub(super) fn c2c(make: &Maker<'_>) -> Value {
    let user = make.or("/author/user_openid", || make.or("/author/id", || make.open_id()));
    json!({
        "id": make.or("/id", || v2_id(make)),
        "author": {
            "id": user,
            "user_openid": user,
            "union_openid": "",
            "username": "",
            "bot": false,
        },
        "content": "你好",
        "timestamp": make.time(),
        "message_type": 0,
        "message_scene": scene(make),
    })
}

/// botgo reads only `group_id`, everybody else `group_openid`.
pub(super) fn group(make: &Maker<'_>) -> Value {
    let group = make.group();
    let member = make.or("/author/member_openid", || make.or("/author/id", || make.open_id()));
    json!({
        "id": make.or("/id", || v2_id(make)),
        "group_id": group,
        "group_openid": group,
        "author": {
            "id": member,
            "member_openid": member,
            "member_role": "member",
            "username": "路人甲",
            "union_openid": "",
            "bot": false,
        },
        "content": " 你好",
        "timestamp": make.time(),
        "message_type": 0,
        "message_scene": scene(make),
    })
}

/// Holds the characters that have to be escaped in a path.
fn v2_id(make: &Maker<'_>) -> String {
    let text = make.open_id();
    let (head, tail) = text.split_at(16);
    format!("ROBOT1.0_{head}-{tail}.{}!!", make.serial)
}

fn scene(make: &Maker<'_>) -> Value {
    json!({"source": "default", "ext": [format!("msg_idx=REFIDX_{}==", make.open_id())]})
}

/// Source: spec/events.md §6.2.
pub(super) fn deleted(t: &str, make: &Maker<'_>) -> Value {
    let made =
        |member: &str, otherwise: String| make.or(&format!("/message{member}"), || otherwise);
    let mut message = json!({
        "id": made("/id", format!("08{}", make.opaque())),
        "guild_id": made("/guild_id", make.number()),
        "channel_id": made("/channel_id", make.channel()),
        "author": make.user("/message/author"),
    });
    if t == "DIRECT_MESSAGE_DELETE" {
        message["direct_message"] = true.into();
        message["src_guild_id"] = make.number().into();
    }
    json!({"message": message, "op_user": make.user("/op_user")})
}

/// Source: spec/events.md §6.3. botgo decodes the target's type as a number.
pub(super) fn reaction(make: &Maker<'_>) -> Value {
    json!({
        "user_id": make.or("/user_id", || make.number()),
        "guild_id": make.guild(),
        "channel_id": make.channel(),
        "target": {"id": format!("08{}", make.opaque()), "type": 0},
        "emoji": {"id": "4", "type": 1},
    })
}

/// Source: spec/events.md §6.4.
pub(super) fn audited(t: &str, make: &Maker<'_>) -> Value {
    let mut audited = json!({
        "audit_id": make.or("/audit_id", || make.opaque()),
        "guild_id": make.guild(),
        "channel_id": make.channel(),
        "audit_time": make.time(),
        "create_time": make.time(),
        "seq_in_channel": make.serial.to_string(),
    });
    if t == "MESSAGE_AUDIT_PASS" {
        audited["message_id"] = make.or("/message_id", || format!("08{}", make.opaque())).into();
    }
    audited
}
