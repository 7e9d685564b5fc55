//! Messages into all four scenes: every rule between a request and something that people see.
//!
//! The checks run under one lock and end in a claim, so that two requests at the same moment cannot
//! both have the last reply.

use axum::extract::Path;
use axum::response::IntoResponse;
use qqrelay_proto::id::{Scene, Scope};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::audit;
use super::body::Message;
use super::caller::Caller;
use super::state::{Bot, SentMessage};
use super::world;
use crate::clock::rfc3339;
use crate::journal::Sent;
use crate::rules::Refusal;
use crate::rules::content::{FileImage, Kind, Outgoing};
use crate::rules::limits::{AuditMode, WithoutSession};
use crate::rules::rates::Route;
use crate::rules::reply::{Claim, ReplyTo};
use crate::rules::standing::Initiative;
use crate::webhook::key::hex;

/// `POST /v2/users/{user}/messages`.
pub(super) async fn to_user(
    caller: Caller,
    Path(user): Path<String>,
    message: Message,
) -> impl IntoResponse {
    send(&caller, Scope::new(Scene::C2c, user), &message.outgoing, message.file_image)
}

/// `POST /v2/groups/{group}/messages`.
pub(super) async fn to_group(
    caller: Caller,
    Path(group): Path<String>,
    message: Message,
) -> impl IntoResponse {
    send(&caller, Scope::new(Scene::Group, group), &message.outgoing, message.file_image)
}

/// `POST /channels/{channel}/messages`.
pub(super) async fn to_channel(
    caller: Caller,
    Path(channel): Path<String>,
    message: Message,
) -> impl IntoResponse {
    if world::number(&channel).is_none() {
        return Answer::refused(Refusal::UnknownChannel);
    }
    send(&caller, Scope::new(Scene::Channel, channel), &message.outgoing, message.file_image)
}

/// `POST /dms/{guild}/messages`.
pub(super) async fn to_dm(
    caller: Caller,
    Path(guild): Path<String>,
    message: Message,
) -> impl IntoResponse {
    if world::number(&guild).is_none() {
        return Answer::refused(Refusal::NoDm);
    }
    send(&caller, Scope::new(Scene::Dm, guild), &message.outgoing, message.file_image)
}

/// Sends one message, or says why not.
pub(super) fn send(
    caller: &Caller,
    scope: Scope,
    outgoing: &Outgoing,
    file_image: FileImage,
) -> Answer {
    let mut sent = essentials(&scope, outgoing);
    let kind = match outgoing.check(scope.scene, file_image, &caller.limits().content) {
        Ok(kind) => kind,
        Err(refusal) => return Answer::refused(refusal).about(sent),
    };
    let shown = match session_rule(caller, scope.scene) {
        WithoutSession::Refused => return Answer::refused(Refusal::NotConnected).about(sent),
        // As seen in the field: success in the answer, nothing on any screen, nothing used up.
        WithoutSession::Vanishes => {
            let guild = caller.bot(|bot| guild_of(caller, bot, &scope));
            let (_, body) = compose(caller, &scope, guild, outgoing, 0);
            return Answer::json(body).about(sent);
        }
        WithoutSession::Shown => Draft { scope: &scope, outgoing, kind },
    };
    let mode = caller.audit.unwrap_or_else(|| caller.limits().audit);
    let accepted: Result<_, Refusal> = caller.bot(|bot| {
        shown.admit(caller, bot)?;
        let guild = guild_of(caller, bot, &scope);
        let count = bot.counts.entry(&scope, || 0);
        *count += 1;
        let (id, body) = compose(caller, &scope, guild, outgoing, *count);
        if mode == AuditMode::Off && kind != Kind::InputNotify {
            let message = SentMessage { scope: scope.clone(), at: caller.now, body: body.clone() };
            bot.sent.insert(id.clone(), message);
        }
        Ok((id, body))
    });
    match accepted {
        Err(refusal) => Answer::refused(refusal).about(sent),
        Ok((id, body)) if mode == AuditMode::Off => {
            sent.id = Some(id);
            Answer::json(body).applied().about(sent)
        }
        Ok((id, body)) => {
            let message = SentMessage { scope: scope.clone(), at: caller.now, body };
            Answer::refused(audit::begin(caller, mode, initiative(outgoing), id, message))
                .about(sent)
        }
    }
}

/// What a bot without a session meets; one that is called back needs none.
fn session_rule(caller: &Caller, scene: Scene) -> WithoutSession {
    let app = &caller.app;
    if app.webhook.is_some() || caller.platform.has_live_session(&app.id) {
        return WithoutSession::Shown;
    }
    let session = &caller.limits().session;
    match scene {
        Scene::C2c | Scene::Group => session.v2,
        _ => session.guild,
    }
}

fn initiative(outgoing: &Outgoing) -> Initiative {
    match reply_to(outgoing) {
        Some(_) => Initiative::Reply,
        None => Initiative::Push,
    }
}

/// What a message answers; `msg_id` goes before `event_id` where both are given.
fn reply_to(outgoing: &Outgoing) -> Option<ReplyTo> {
    let filled = |id: &Option<String>| id.clone().filter(|id| !id.is_empty());
    filled(&outgoing.msg_id)
        .map(ReplyTo::Message)
        .or_else(|| filled(&outgoing.event_id).map(ReplyTo::Event))
}

/// A well-formed message before it is let through.
struct Draft<'a> {
    scope: &'a Scope,
    outgoing: &'a Outgoing,
    kind: Kind,
}

impl Draft<'_> {
    /// Every rule that depends on what happened before. The last step uses something up, so nothing
    /// may fail after it.
    fn admit(&self, caller: &Caller, bot: &mut Bot) -> Result<(), Refusal> {
        let (scope, now) = (self.scope, caller.now);
        let standing = bot.standings.get(scope).copied().unwrap_or_default();
        standing.check(scope, initiative(self.outgoing))?;
        if self.kind == Kind::Media && matches!(scope.scene, Scene::C2c | Scene::Group) {
            self.check_upload(caller, bot)?;
        }
        bot.rates.take(&Route::Message(scope.clone()), now)?;
        let guild = guild_of(caller, bot, scope);
        match reply_to(self.outgoing) {
            Some(to) => {
                let claim = Claim { to: &to, scope, guild: guild.as_deref(), msg_seq: self.seq() };
                bot.replies.claim(claim, now)
            }
            None if self.outgoing.is_wakeup == Some(true) => {
                bot.wakeups.entry(&scope.id.to_string(), Default::default).take(now)
            }
            None => bot.proactive.take(scope, guild.as_deref(), now),
        }
    }

    fn check_upload(&self, caller: &Caller, bot: &Bot) -> Result<(), Refusal> {
        let info = self.outgoing.media.as_ref().and_then(|media| media.file_info.as_ref());
        let upload = info.and_then(|info| bot.uploads.get(info)).ok_or(Refusal::BadFileInfo)?;
        let ttl_seconds = caller.limits().content.upload_ttl_seconds;
        let age_seconds = (caller.now - upload.at) / 1_000;
        let over = ttl_seconds > 0 && u64::try_from(age_seconds).is_ok_and(|age| age > ttl_seconds);
        if over || upload.scene != self.scope.scene {
            return Err(Refusal::BadFileInfo);
        }
        Ok(())
    }

    /// The number of a v2 reply, 1 where nothing is said; guilds have none.
    fn seq(&self) -> Option<u32> {
        let numbered = matches!(self.scope.scene, Scene::C2c | Scene::Group);
        let given = self.outgoing.msg_seq.and_then(|seq| u32::try_from(seq).ok());
        numbered.then(|| given.unwrap_or(1))
    }
}

/// The guild around a channel.
pub(super) fn guild_of(caller: &Caller, bot: &Bot, scope: &Scope) -> Option<String> {
    let known = || bot.channels.get(&scope.id.to_string()).cloned();
    (scope.scene == Scene::Channel)
        .then(|| known().unwrap_or_else(|| world::home_guild(caller.app.id.as_str())))
}

/// What a checker needs to know of a message.
fn essentials(scope: &Scope, outgoing: &Outgoing) -> Sent {
    let content = text_of(outgoing);
    Sent {
        scene: scope.scene,
        scope: scope.id.to_string(),
        msg_id: outgoing.msg_id.clone(),
        event_id: outgoing.event_id.clone(),
        msg_seq: outgoing.msg_seq.and_then(|seq| u64::try_from(seq).ok()),
        content_hash: hex(&Sha256::digest(&content)),
        content,
        id: None,
    }
}

/// What a message says: its text, its markdown, or failing both its card or its file.
fn text_of(outgoing: &Outgoing) -> String {
    let markdown = outgoing.markdown.as_ref().and_then(|markdown| markdown.content.clone());
    let card = || outgoing.ark.as_ref().or(outgoing.embed.as_ref()).map(Value::to_string);
    let file = || outgoing.media.as_ref().and_then(|media| media.file_info.clone());
    markdown
        .or_else(|| outgoing.content.clone().filter(|text| !text.trim().is_empty()))
        .or_else(card)
        .or_else(file)
        .or_else(|| outgoing.image.clone())
        .unwrap_or_default()
}

/// The message's id and the answer to who sent it: few members in v2, a whole message in guilds.
fn compose(
    caller: &Caller,
    scope: &Scope,
    guild: Option<String>,
    outgoing: &Outgoing,
    count: u64,
) -> (String, Value) {
    match scope.scene {
        Scene::C2c | Scene::Group => v2_message(caller),
        _ => guild_message(caller, scope, guild, outgoing, count),
    }
}

/// An id with characters that must be escaped in a path, as the platform's have.
pub(super) fn v2_message(caller: &Caller) -> (String, Value) {
    let id = format!("ROBOT1.0_{}!!", caller.platform.dice.hex(40));
    let reference = format!("REFIDX_{}==", caller.platform.dice.hex(22));
    let body = json!({
        "id": id,
        "timestamp": rfc3339(caller.now),
        "ext_info": {"ref_idx": reference},
    });
    (id, body)
}

fn guild_message(
    caller: &Caller,
    scope: &Scope,
    guild: Option<String>,
    outgoing: &Outgoing,
    count: u64,
) -> (String, Value) {
    let id = caller.platform.dice.hex(44).to_lowercase();
    // A direct message has a virtual guild, whose id is the place's.
    let dm = scope.scene == Scene::Dm;
    let channel = if dm { world::home_channel(&scope.id) } else { scope.id.to_string() };
    let guild = guild.unwrap_or_else(|| scope.id.to_string());
    let mut body = json!({
        "id": id,
        "channel_id": channel,
        "guild_id": guild,
        "content": outgoing.content.clone().unwrap_or_default(),
        "timestamp": rfc3339(caller.now),
        "tts": false,
        "mention_everyone": false,
        "author": world::bot(caller),
        "pinned": false,
        "type": 0,
        "flags": 0,
        "seq": count,
        "seq_in_channel": count.to_string(),
    });
    if dm {
        body["direct_message"] = true.into();
    }
    for (name, part) in [("ark", &outgoing.ark), ("message_reference", &outgoing.message_reference)]
    {
        if let Some(part) = part {
            body[name] = part.clone();
        }
    }
    if let Some(embed) = &outgoing.embed {
        body["embeds"] = json!([embed]);
    }
    if let Some(image) = &outgoing.image {
        body["attachments"] = json!([{"url": image, "content_type": "image/png"}]);
    }
    (id, body)
}
