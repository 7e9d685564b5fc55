//! The bot itself: who it is, which guilds it is in, whom it can write to directly.

use std::collections::BTreeSet;

use axum::extract::Query;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::body::Lenient;
use super::caller::Caller;
use super::world;
use crate::rules::Refusal;

/// `GET /users/@me`.
pub(super) async fn read(caller: Caller) -> Answer {
    let app = &caller.app;
    Answer::json(json!({
        "id": app.user_id,
        "username": app.name,
        "avatar": world::avatar(&app.user_id),
        "bot": true,
        "union_openid": "",
        "union_user_account": "",
        "share_url": format!("https://bot.invalid/{}", app.id),
        "welcome_msg": "hello",
    }))
}

/// How a list of guilds is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    before: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /users/@me/guilds`: its home and every guild it has heard of, by id.
pub(super) async fn guilds(
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Answer, Refusal> {
    let home = world::home_guild(caller.app.id.as_str());
    let mut ids: BTreeSet<u64> = world::number(&home).into_iter().collect();
    caller.bot(|bot| {
        ids.extend(bot.channels.newest_first().filter_map(|(_, guild)| world::number(guild)));
    });
    let page: Vec<Value> = page(ids, &paging)
        .into_iter()
        .map(|id| world::guild(&caller, &id.to_string()))
        .collect::<Result<_, _>>()?;
    Ok(Answer::json(Value::Array(page)))
}

/// `before` reads backwards; where both are set, `after` is ignored.
fn page(ids: BTreeSet<u64>, paging: &Paging) -> Vec<u64> {
    const LIMIT_MAX: usize = 100;
    let limit = paging.limit.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    let number = |id: &Option<String>| id.as_deref().and_then(world::number);
    match (number(&paging.before), number(&paging.after)) {
        (Some(before), _) => ids.into_iter().rev().filter(|id| *id < before).take(limit).collect(),
        (None, Some(after)) => ids.into_iter().filter(|id| *id > after).take(limit).collect(),
        (None, None) => ids.into_iter().take(limit).collect(),
    }
}

/// Whom to open a direct message with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NewDm {
    recipient_id: Option<String>,
    source_guild_id: Option<String>,
}

/// `POST /users/@me/dms`.
pub(super) async fn open_dm(
    caller: Caller,
    Lenient(asked): Lenient<NewDm>,
) -> Result<Answer, Refusal> {
    let numeric = |id: &Option<String>| id.clone().filter(|id| world::number(id).is_some());
    let user = numeric(&asked.recipient_id).ok_or(Refusal::BadForm)?;
    numeric(&asked.source_guild_id).ok_or(Refusal::UnknownGuild)?;
    let guild = world::dm_guild(&user);
    Ok(Answer::json(json!({
        "guild_id": guild,
        "channel_id": world::home_channel(&guild),
        "create_time": (caller.now / 1_000).to_string(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guilds_are_paged_in_both_directions() {
        let check = |before: Option<&str>, after: Option<&str>, limit, expected: &[u64]| {
            let paging = Paging {
                before: before.map(str::to_owned),
                after: after.map(str::to_owned),
                limit,
            };
            assert_eq!(page((1..=9).collect(), &paging), expected, "{paging:?}");
        };
        check(None, None, Some(3), &[1, 2, 3]);
        check(None, Some("3"), Some(3), &[4, 5, 6]);
        check(Some("3"), None, None, &[2, 1]);
        check(Some("3"), Some("8"), None, &[2, 1]);
        check(None, Some("9"), None, &[]);
    }
}
