//! `PUT /interactions/{id}`: a pressed button gets its answer, once.

use axum::extract::Path;
use serde::Deserialize;
use serde_json::json;

use super::answer::Answer;
use super::body::Lenient;
use super::caller::Caller;
use super::state::Interaction;
use crate::rules::Refusal;
use crate::rules::limits::Origins;
use crate::rules::rates::Route;

/// The answer as a client sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ack {
    code: Option<i64>,
}

/// Takes the answer.
pub(super) async fn acknowledge(
    caller: Caller,
    Path(id): Path<String>,
    Lenient(ack): Lenient<Ack>,
) -> Result<Answer, Refusal> {
    caller.count(&Route::Interaction)?;
    // 0 done, 1 failed, 2 too often, 3 repeated, 4 no permission, 5 administrators only.
    if !(0..=5).contains(&ack.code.unwrap_or(0)) {
        return Err(Refusal::InteractionParameter);
    }
    let of_another = caller.platform.rest.is_anothers_interaction(&caller.app.id, &id);
    let any = caller.limits().reply.origins == Origins::Any;
    caller.bot(|bot| match bot.interactions.get(&id) {
        Some(Interaction::Answered) => Err(Refusal::InteractionParameter),
        None if of_another => Err(Refusal::InteractionElsewhere),
        None if !any => Err(Refusal::InteractionParameter),
        Some(Interaction::Waiting) | None => {
            bot.interactions.insert(id, Interaction::Answered);
            Ok(())
        }
    })?;
    Ok(Answer::json(json!({})).applied())
}
