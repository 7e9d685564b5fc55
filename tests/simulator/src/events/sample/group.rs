//! Groups and friends: who is there, and who wants to be written to.

use serde_json::{Value, json};

use super::Maker;

/// Source: spec/events.md §9.2. The time is a number here.
pub(super) fn friend(t: &str, make: &Maker<'_>) -> Value {
    let mut d = json!({
        "openid": make.or("/openid", || make.open_id()),
        "timestamp": make.seconds(),
    });
    if t == "FRIEND_ADD" {
        d["scene"] = 1000.into();
        d["scene_param"] = "".into();
        d["author"] = json!({"union_openid": ""});
    }
    d
}

/// Source: spec/events.md §9.3.
pub(super) fn state(make: &Maker<'_>) -> Value {
    json!({
        "group_openid": make.group(),
        "op_member_openid": make.or("/op_member_openid", || make.open_id()),
        "timestamp": make.seconds(),
    })
}

/// Source: spec/events.md §10.
pub(super) fn member(make: &Maker<'_>) -> Value {
    json!({
        "group_openid": make.group(),
        "member_openid": make.or("/member_openid", || make.open_id()),
        "user_openid": "",
        "timestamp": make.seconds(),
    })
}

/// Source: spec/events.md §10.
pub(super) fn join_request(make: &Maker<'_>) -> Value {
    json!({
        "group_openid": make.group(),
        "join_request_id": make.or("/join_request_id", || make.opaque().repeat(5)),
        "risk_tips": "",
        "union_openid": "",
        "member_openid": make.or("/member_openid", || make.open_id()),
        "username": "新人",
        "apply_at": make.time(),
        "apply_source": "self_apply",
        "invited_by": "",
        "bot": false,
        "verify_info": {
            "method": "verify_message",
            "verify_message": "让我进来",
            "review_qa_list": [],
        },
    })
}

/// Source: spec/events.md §9.4. Without a given group it is about a user.
pub(super) fn subscription(make: &Maker<'_>) -> Value {
    let mut d = json!({
        "result": [{
            "template_id": 1,
            "custom_template_id": "sim_template",
            "op": 1,
            "subscribe_id": make.opaque(),
            "update_ts": make.seconds(),
        }],
    });
    match make.or("/group_openid", String::new) {
        group if group.is_empty() => d["openid"] = make.or("/openid", || make.open_id()).into(),
        group => d["group_openid"] = group.into(),
    }
    d
}

/// Source: spec/events.md §12.
pub(super) fn enter_aio(make: &Maker<'_>) -> Value {
    json!({"user_openid": make.or("/user_openid", || make.open_id()), "from_source": "default"})
}
