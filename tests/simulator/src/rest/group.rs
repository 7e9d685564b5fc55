//! What a bot may ask about a group.
//!
//! Source: spec/rest.md §3.

use axum::extract::Path;
use qqrelay_proto::id::{Scene, Scope};
use serde_json::json;

use super::answer::Answer;
use super::caller::Caller;
use crate::clock::rfc3339;
use crate::rules::Refusal;
use crate::rules::limits::ProactiveRight;
use crate::rules::standing::{Initiative, Standing};
use crate::shard::fnv1a64;

/// `GET /v2/groups/{group}/info`.
pub(super) async fn info(caller: Caller, Path(group): Path<String>) -> Result<Answer, Refusal> {
    standing(&caller, &group)?;
    Ok(Answer::json(json!({
        "group_openid": group,
        "group_name": format!("group {group}"),
        "group_finger_memo": "",
        "group_class_text": "",
        "group_tags": [],
        "group_member_num": 3,
    })))
}

/// `GET /v2/groups/{group}/bot_state`.
pub(super) async fn bot_state(
    caller: Caller,
    Path(group): Path<String>,
) -> Result<Answer, Refusal> {
    let standing = standing(&caller, &group)?;
    let scope = Scope::new(Scene::Group, group.as_str());
    let allowed = caller.limits().proactive.v2 == ProactiveRight::Granted
        && standing.check(&scope, Initiative::Push).is_ok();
    let hash = fnv1a64(format!("{}:{group}", caller.app.id).as_bytes());
    Ok(Answer::json(json!({
        "member_openid": format!("{hash:032X}"),
        "joined_at": rfc3339(caller.now - 86_400_000),
        "allow_proactive_msg": allowed,
        "recv_msg_setting": "all",
        "member_role": "member",
    })))
}

/// How the bot stands with a group that it is in.
fn standing(caller: &Caller, group: &str) -> Result<Standing, Refusal> {
    let scope = Scope::new(Scene::Group, group);
    let standing = caller.bot(|bot| bot.standings.get(&scope).copied()).unwrap_or_default();
    match standing {
        Standing::Gone => Err(Refusal::NotInGroup),
        Standing::Open | Standing::RefusesPush | Standing::Muted => Ok(standing),
    }
}
