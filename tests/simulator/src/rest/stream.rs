//! `POST /v2/users/{user}/stream_messages`: a message shown while it is written.

use axum::extract::Path;
use qqrelay_proto::id::{Scene, Scope};
use serde_json::json;

use super::answer::Answer;
use super::body::Lenient;
use super::caller::Caller;
use super::send::send;
use super::state::OpenStream;
use crate::rules::Refusal;
use crate::rules::content::{FileImage, Markdown, Outgoing};
use crate::rules::rates::Route;
use crate::rules::stream::{Chunk, Stream};

/// Shows one more chunk.
pub(super) async fn push(
    caller: Caller,
    Path(user): Path<String>,
    Lenient(chunk): Lenient<Chunk>,
) -> Result<Answer, Refusal> {
    caller.count(&Route::Stream)?;
    let scope = Scope::new(Scene::C2c, user);
    match &chunk.stream_msg_id {
        None => begin(&caller, scope, &chunk),
        Some(id) => go_on(&caller, &scope, id, &chunk),
    }
}

/// The first chunk is sent as a message is: it is what claims the reply.
fn begin(caller: &Caller, scope: Scope, chunk: &Chunk) -> Result<Answer, Refusal> {
    let characters = caller.limits().content.text_characters;
    let stream = Stream::begin(chunk, characters)?;
    let text = Some(stream.text().to_owned());
    let outgoing = match chunk.content_type.as_deref() {
        Some("markdown") => Outgoing {
            msg_type: Some(2),
            markdown: Some(Markdown { content: text, ..Markdown::default() }),
            ..answering(chunk)
        },
        _ => Outgoing { content: text, ..answering(chunk) },
    };
    let answer = send(caller, scope.clone(), &outgoing, FileImage::Missing);
    let Some(id) = answer.message_id() else { return Ok(answer) };
    let left = characters - stream.text().chars().count();
    caller.bot(|bot| bot.streams.insert(id, OpenStream { scope, stream }));
    Ok(answer.with("remain_msg_len", left.into()))
}

fn answering(chunk: &Chunk) -> Outgoing {
    Outgoing {
        msg_id: chunk.msg_id.clone(),
        event_id: chunk.event_id.clone(),
        msg_seq: chunk.msg_seq,
        is_wakeup: chunk.is_wakeup,
        ..Outgoing::default()
    }
}

fn go_on(caller: &Caller, scope: &Scope, id: &str, chunk: &Chunk) -> Result<Answer, Refusal> {
    let characters = caller.limits().content.text_characters;
    let shown = caller.bot(|bot| {
        let open = bot.streams.get_mut(&id.to_owned()).filter(|open| open.scope == *scope);
        let open = open.ok_or(Refusal::UnknownMessage)?;
        open.stream.push(chunk, characters)?;
        let shown = open.stream.text().chars().count();
        Ok::<_, Refusal>((shown, bot.sent.get(&id.to_owned()).map(|sent| sent.body.clone())))
    });
    let (shown, body) = shown?;
    let mut body = body.unwrap_or_else(|| json!({"id": id}));
    body["remain_msg_len"] = (characters - shown).into();
    Ok(Answer::json(body).applied())
}
