//! Emoji beneath a message, and messages pinned in a channel.

use axum::extract::Path;
use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Caller;
use super::state::Reaction;
use super::world;
use crate::rules::Refusal;

/// One emoji beneath one message, as its path says.
type Target = Path<(String, String, String, String)>;

/// `PUT …/reactions/{type}/{emoji}`.
pub(super) async fn set(caller: Caller, target: Target) -> Result<Answer, Refusal> {
    let reaction = parse(target)?;
    caller.bot(|bot| {
        if bot.reactions.contains(&reaction) {
            return Err(Refusal::ReactionSet);
        }
        bot.reactions.insert(reaction, ());
        Ok(())
    })?;
    Ok(Answer::no_content().applied())
}

/// `DELETE …/reactions/{type}/{emoji}`.
pub(super) async fn unset(caller: Caller, target: Target) -> Result<Answer, Refusal> {
    let reaction = parse(target)?;
    caller.bot(|bot| bot.reactions.remove(&reaction)).ok_or(Refusal::ReactionNotSet)?;
    Ok(Answer::no_content().applied())
}

/// `GET …/reactions/{type}/{emoji}`: who set it, all on the first page.
pub(super) async fn users(caller: Caller, target: Target) -> Result<Answer, Refusal> {
    let reaction = parse(target)?;
    let own = caller.bot(|bot| bot.reactions.contains(&reaction));
    let users: Vec<Value> = own.then(|| world::bot(&caller)).into_iter().collect();
    Ok(Answer::json(json!({"users": users, "cookie": "", "is_end": true})))
}

/// Kind 1 are the system's emoji, 2 Unicode code points; both are numbers.
fn parse(Path((channel, message, kind, emoji)): Target) -> Result<Reaction, Refusal> {
    if !matches!(kind.as_str(), "1" | "2") || emoji.parse::<u32>().is_err() {
        return Err(Refusal::ReactionParameter);
    }
    Ok(Reaction { channel, message, kind, emoji })
}

/// `PUT /channels/{channel}/pins/{message}`.
pub(super) async fn pin(
    caller: Caller,
    Path((channel, message)): Path<(String, String)>,
) -> Result<Answer, Refusal> {
    let most = caller.limits().content.pins;
    let pins = caller.bot(|bot| {
        let pins = bot.pins.entry(&channel, Vec::new);
        if !pins.contains(&message) {
            if pins.len() >= most {
                return Err(Refusal::PinsFull);
            }
            pins.push(message);
        }
        Ok(pins.clone())
    })?;
    Ok(Answer::json(pinned(&caller, &channel, &pins)).applied())
}

/// `DELETE /channels/{channel}/pins/{message or all}`.
pub(super) async fn unpin(
    caller: Caller,
    Path((channel, message)): Path<(String, String)>,
) -> Result<Answer, Refusal> {
    caller.bot(|bot| {
        let pins = bot.pins.entry(&channel, Vec::new);
        let before = pins.len();
        pins.retain(|pinned| message != "all" && *pinned != message);
        if message != "all" && pins.len() == before {
            return Err(Refusal::PinUnknown);
        }
        Ok(())
    })?;
    Ok(Answer::no_content().applied())
}

/// `GET /channels/{channel}/pins`.
pub(super) async fn pins(caller: Caller, Path(channel): Path<String>) -> Answer {
    let pins = caller.bot(|bot| bot.pins.get(&channel).cloned()).unwrap_or_default();
    Answer::json(pinned(&caller, &channel, &pins))
}

fn pinned(caller: &Caller, channel: &str, messages: &[String]) -> Value {
    let known = caller.bot(|bot| bot.channels.get(&channel.to_owned()).cloned());
    let guild = known.unwrap_or_else(|| world::home_guild(caller.app.id.as_str()));
    json!({"guild_id": guild, "channel_id": channel, "message_ids": messages})
}
