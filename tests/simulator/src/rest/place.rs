//! Where an event happened, as far as replies to it are concerned.
//!
//! Source: spec/events.md §2.

use qqrelay_proto::id::{Scene, Scope};
use serde_json::Value;

/// The place that an event may be replied to in; none where there is none.
pub(super) fn scope_of(t: &str, d: &Value) -> Option<Scope> {
    let scope =
        |scene, id: &Value| id.as_str().filter(|id| !id.is_empty()).map(|id| Scope::new(scene, id));
    match t {
        "C2C_MESSAGE_CREATE" => scope(Scene::C2c, &d["author"]["user_openid"]),
        "DIRECT_MESSAGE_CREATE" => scope(Scene::Dm, &d["guild_id"]),
        _ if t.starts_with("GUILD_MEMBER_") => scope(Scene::Guild, &d["guild_id"]),
        _ => scope(Scene::Group, &d["group_openid"])
            .or_else(|| scope(Scene::C2c, &d["user_openid"]))
            .or_else(|| scope(Scene::C2c, &d["openid"]))
            .or_else(|| scope(Scene::Channel, &d["channel_id"])),
    }
}

/// Whether events of this type are messages, which are replied to by their own id.
pub(super) fn is_message(t: &str) -> bool {
    matches!(
        t,
        "C2C_MESSAGE_CREATE"
            | "GROUP_AT_MESSAGE_CREATE"
            | "GROUP_MESSAGE_CREATE"
            | "AT_MESSAGE_CREATE"
            | "MESSAGE_CREATE"
            | "DIRECT_MESSAGE_CREATE"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_repliable_event_says_where_it_happened() {
        let check = |t, d: Value, expected: Option<(Scene, &str)>| {
            let expected = expected.map(|(scene, id)| Scope::new(scene, id));
            assert_eq!(scope_of(t, &d), expected, "{t}");
        };
        check(
            "C2C_MESSAGE_CREATE",
            json!({"author": {"user_openid": "U"}}),
            Some((Scene::C2c, "U")),
        );
        let group = json!({"group_openid": "G", "author": {"member_openid": "M"}});
        check("GROUP_AT_MESSAGE_CREATE", group, Some((Scene::Group, "G")));
        let channel = json!({"guild_id": "1", "channel_id": "2"});
        check("AT_MESSAGE_CREATE", channel.clone(), Some((Scene::Channel, "2")));
        check("MESSAGE_REACTION_ADD", channel.clone(), Some((Scene::Channel, "2")));
        check("DIRECT_MESSAGE_CREATE", channel, Some((Scene::Dm, "1")));
        check("GUILD_MEMBER_ADD", json!({"guild_id": "1"}), Some((Scene::Guild, "1")));
        check("FRIEND_ADD", json!({"openid": "U"}), Some((Scene::C2c, "U")));
        let pressed = json!({"group_openid": "G", "group_member_openid": "M"});
        check("INTERACTION_CREATE", pressed, Some((Scene::Group, "G")));
        let pressed = json!({"user_openid": "U", "group_openid": ""});
        check("INTERACTION_CREATE", pressed, Some((Scene::C2c, "U")));
        check("SOMETHING_NEW", json!({"id": "1"}), None);
        check("SOMETHING_NEW", Value::Null, None);
    }
}
