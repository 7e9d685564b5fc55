//! Guilds, channels, members and roles, read only.

use std::collections::BTreeSet;

use axum::extract::{Path, Query};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Caller;
use super::world;
use crate::app::Domain;
use crate::rules::Refusal;

/// Refuses what only private-domain bots may do.
pub(super) fn private_only(caller: &Caller) -> Result<(), Refusal> {
    match caller.app.domain {
        Domain::Private => Ok(()),
        Domain::Public => Err(Refusal::NoPrivilege),
    }
}

/// `GET /guilds/{guild}`.
pub(super) async fn read(caller: Caller, Path(guild): Path<String>) -> Result<Answer, Refusal> {
    Ok(Answer::json(world::guild(&caller, &guild)?))
}

/// `GET /guilds/{guild}/channels`.
pub(super) async fn channels(caller: Caller, Path(guild): Path<String>) -> Result<Answer, Refusal> {
    world::number(&guild).ok_or(Refusal::UnknownGuild)?;
    let mut ids = BTreeSet::from([world::home_channel(&guild)]);
    caller.bot(|bot| {
        let here = bot.channels.newest_first().filter(|(_, of)| **of == guild);
        ids.extend(here.map(|(channel, _)| channel.clone()));
    });
    let channels: Vec<Value> =
        ids.iter().filter_map(|id| world::channel(id, &guild).ok()).collect();
    Ok(Answer::json(Value::Array(channels)))
}

/// `GET /channels/{channel}`.
pub(super) async fn channel(
    caller: Caller,
    Path(channel): Path<String>,
) -> Result<Answer, Refusal> {
    let known = caller.bot(|bot| bot.channels.get(&channel).cloned());
    let guild = known.unwrap_or_else(|| world::home_guild(caller.app.id.as_str()));
    Ok(Answer::json(world::channel(&channel, &guild)?))
}

/// How a list of members is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /guilds/{guild}/members`: by id, from after the last one read; the end is an empty page.
pub(super) async fn members(
    caller: Caller,
    Path(guild): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Refusal> {
    const LIMIT_MAX: usize = 400;
    private_only(&caller)?;
    let everybody = world::users(&guild).into_iter().chain([caller.app.user_id.clone()]);
    let ids: BTreeSet<u64> = everybody.filter_map(|id| world::number(&id)).collect();
    let after = paging.after.as_deref().and_then(world::number).unwrap_or(0);
    let limit = paging.limit.unwrap_or(1).min(LIMIT_MAX);
    let page: Vec<Value> = ids
        .into_iter()
        .filter(|id| *id > after)
        .take(limit)
        .map(|id| world::member(&caller, &guild, &id.to_string()))
        .collect::<Result<_, _>>()?;
    Ok(Answer::json(Value::Array(page)))
}

/// `GET /guilds/{guild}/members/{user}`.
pub(super) async fn member(
    caller: Caller,
    Path((guild, user)): Path<(String, String)>,
) -> Result<Answer, Refusal> {
    Ok(Answer::json(world::member(&caller, &guild, &user)?))
}

/// `GET /guilds/{guild}/roles`.
pub(super) async fn roles(_: Caller, Path(guild): Path<String>) -> Result<Answer, Refusal> {
    Ok(Answer::json(world::roles(&guild)?))
}

/// `GET /guilds/{guild}/message/setting`.
pub(super) async fn message_setting(
    caller: Caller,
    Path(guild): Path<String>,
) -> Result<Answer, Refusal> {
    world::number(&guild).ok_or(Refusal::UnknownGuild)?;
    let pushes = caller.limits().proactive.channel_day.count();
    Ok(Answer::json(json!({
        "disable_create_dm": false,
        "disable_push_msg": false,
        "channel_ids": [world::home_channel(&guild)],
        "channel_push_max_num": pushes.unwrap_or(u32::MAX),
    })))
}
