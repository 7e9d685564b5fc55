//! Pressed buttons and the like.

use serde_json::{Value, json};

use super::Maker;

/// A pressed button; in a group where nothing is said.
///
/// Source: spec/events.md §11. botpy needs `data.resolved` to be there.
pub(super) fn interaction(make: &Maker<'_>) -> Value {
    let scene = make.or("/scene", || "group".to_owned());
    let mut d = json!({
        "id": make.or("/id", || make.dice.uuid()),
        "type": 11,
        "scene": scene,
        "timestamp": make.time(),
        "application_id": make.app.id.as_str(),
        "version": 1,
        "data": {
            "type": 11,
            "resolved": {"button_id": "1", "button_data": "again"},
        },
    });
    match scene.as_str() {
        "c2c" => {
            d["chat_type"] = 2.into();
            d["user_openid"] = make.or("/user_openid", || make.open_id()).into();
        }
        "guild" => {
            d["chat_type"] = 0.into();
            d["guild_id"] = make.guild().into();
            d["channel_id"] = make.channel().into();
            d["data"]["resolved"]["user_id"] = make.number().into();
            d["data"]["resolved"]["message_id"] = format!("08{}", make.opaque()).into();
        }
        _ => {
            d["chat_type"] = 1.into();
            d["group_openid"] = make.group().into();
            let member = make.or("/group_member_openid", || make.open_id());
            d["group_member_openid"] = member.into();
        }
    }
    d
}
