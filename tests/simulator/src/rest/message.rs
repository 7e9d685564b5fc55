//! Messages after they were sent: read, listed, taken back.

use std::sync::Arc;

use axum::extract::{Path, Query};
use qqrelay_proto::id::{Scene, Scope};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Caller;
use super::guild::private_only;
use crate::rules::Refusal;
use crate::rules::meter::age;
use crate::rules::rates::Route;

/// `DELETE /v2/users/{user}/messages/{message}`.
pub(super) async fn recall_from_user(
    caller: Caller,
    Path((user, message)): Path<(String, String)>,
) -> Result<Answer, Refusal> {
    recall_v2(&caller, &Scope::new(Scene::C2c, user), &message)
}

/// `DELETE /v2/groups/{group}/messages/{message}`.
pub(super) async fn recall_from_group(
    caller: Caller,
    Path((group, message)): Path<(String, String)>,
) -> Result<Answer, Refusal> {
    recall_v2(&caller, &Scope::new(Scene::Group, group), &message)
}

/// `DELETE /channels/{channel}/messages/{message}`.
pub(super) async fn recall_from_channel(
    caller: Caller,
    Path((channel, message)): Path<(String, String)>,
) -> Result<Answer, Refusal> {
    private_only(&caller)?;
    recall(&caller, &Scope::new(Scene::Channel, channel), &message, Refusal::GuildRecallLate)
}

/// `DELETE /dms/{guild}/messages/{message}`.
pub(super) async fn recall_from_dm(
    caller: Caller,
    Path((guild, message)): Path<(String, String)>,
) -> Result<Answer, Refusal> {
    private_only(&caller)?;
    recall(&caller, &Scope::new(Scene::Dm, guild), &message, Refusal::GuildRecallLate)
}

fn recall_v2(caller: &Caller, scope: &Scope, id: &str) -> Result<Answer, Refusal> {
    caller.count(&Route::Recall)?;
    recall(caller, scope, id, Refusal::RecallLate)
}

fn recall(caller: &Caller, scope: &Scope, id: &str, late: Refusal) -> Result<Answer, Refusal> {
    let id = id.to_owned();
    let window = caller.limits().reply.recall.within();
    caller.bot(|bot| {
        let message = bot.sent.get(&id).ok_or(Refusal::RecallUnknown)?;
        if message.scope != *scope {
            return Err(Refusal::RecallElsewhere);
        }
        if window.is_some_and(|window| age(message.at, caller.now) > window) {
            return Err(late);
        }
        bot.sent.remove(&id);
        Ok(())
    })?;
    Ok(Answer::json(json!({})).applied())
}

/// `GET /channels/{channel}/messages/{message}`: the bot's own, or one that it was told of.
pub(super) async fn read(
    caller: Caller,
    Path((channel, id)): Path<(String, String)>,
) -> Result<Answer, Refusal> {
    let message = caller.bot(|bot| {
        let own = bot.sent.get(&id).map(|message| message.body.clone());
        own.or_else(|| bot.seen.get(&id).map(|message| Value::clone(message)))
    });
    let here = message.filter(|message| message["channel_id"] == channel);
    Ok(Answer::json(json!({"message": here.ok_or(Refusal::UnknownMessage)?})))
}

/// How a list of messages is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    limit: Option<usize>,
}

/// `GET /channels/{channel}/messages`: the newest, at most 20.
pub(super) async fn list(
    caller: Caller,
    Path(channel): Path<String>,
    Query(listing): Query<Listing>,
) -> Answer {
    let limit = listing.limit.unwrap_or(20).min(20);
    let messages: Vec<Value> = caller.bot(|bot| {
        let own = bot.sent.newest_first().map(|(_, message)| Arc::new(message.body.clone()));
        let seen = bot.seen.newest_first().map(|(_, message)| Arc::clone(message));
        let here = own.chain(seen).filter(|message| message["channel_id"] == channel);
        here.take(limit).map(Arc::unwrap_or_clone).collect()
    });
    Answer::json(Value::Array(messages))
}
