//! Running a command from outside, and saying what is wrong with one that cannot be run.

use qqrelay_proto::command::{Command, CommandError, CommandId};
use qqrelay_proto::subject::ScopeSubject;
use serde::Deserialize;
use tracing::Instrument;

use super::{Assignment, Past, Workshop, trace};
use crate::dead_letter::Reason;
use crate::duty::{Duty, Leave};

/// Runs one command to its outcome.
pub(super) async fn run(
    shop: &Workshop,
    assignment: &Assignment,
    duty: &Duty,
) -> Result<(), Leave> {
    let payload = &assignment.stored.record.payload;
    match Command::read(payload, shop.settings.text_chars_max) {
        Ok(command) if ScopeSubject::new(&command.app, &command.place()) == assignment.place => {
            let parent = command.traceparent.as_deref();
            let span = trace::command(assignment, command.id.as_str(), parent);
            shop.egress.run(&command, assignment.past, duty).instrument(span).await?;
        }
        // Another place's queue has its order and its limits: this lane must not touch it.
        Ok(command) => {
            let sentence = format!(
                "the command is for {} of {} and was published to another subject; publish it to {}",
                command.place(),
                command.app,
                ScopeSubject::new(&command.app, &command.place()).command(command.action.name()),
            );
            shop.egress.refuse_unread(&assignment.place, &command.id, sentence, duty).await?;
        }
        Err(error) => refuse(shop, assignment, &error, duty).await?,
    }
    Ok(())
}

/// Writes the outcome of a command that was parked.
pub(super) async fn give_up(
    shop: &Workshop,
    assignment: &Assignment,
    reason: Reason,
    duty: &Duty,
) -> Result<(), Leave> {
    let payload = &assignment.stored.record.payload;
    let sentence = format!("given up: {}", reason.detail());
    match Command::read(payload, shop.settings.text_chars_max) {
        Ok(command) if ScopeSubject::new(&command.app, &command.place()) == assignment.place => {
            let past = if reason == Reason::Poison { Past::Possible } else { assignment.past };
            shop.egress.give_up(&command, past, sentence, duty).await
        }
        Ok(Command { id, .. }) => {
            shop.egress.refuse_unread(&assignment.place, &id, sentence, duty).await
        }
        Err(_) => match id_of(payload) {
            Some(id) => shop.egress.refuse_unread(&assignment.place, &id, sentence, duty).await,
            None => Ok(()),
        },
    }
}

/// Whoever sent it learns why under the id it gave; what has no readable id, or cannot be read at
/// all, is kept where a person can look at it.
async fn refuse(
    shop: &Workshop,
    assignment: &Assignment,
    error: &CommandError,
    duty: &Duty,
) -> Result<(), Leave> {
    let sentence = error.to_string();
    let id = id_of(&assignment.stored.record.payload);
    if !matches!(error, CommandError::Invalid(_)) || id.is_none() {
        shop.dead_letters.park(assignment, Reason::Unreadable, &sentence, duty).await?;
    }
    if let Some(id) = id {
        shop.egress.refuse_unread(&assignment.place, &id, sentence, duty).await?;
    }
    Ok(())
}

/// The id of a command of which nothing else may be readable.
fn id_of(payload: &[u8]) -> Option<CommandId> {
    #[derive(Deserialize)]
    struct Named {
        id: CommandId,
    }

    let payload = payload.get(..Command::BYTES_MAX).unwrap_or(payload);
    let Named { id } = serde_json::from_slice(payload).ok()?;
    let good = !id.as_str().is_empty() && id.as_str().len() <= CommandId::MAX;
    good.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_where_there_is_one() {
        let check = |json: &str, expected: Option<&str>| {
            assert_eq!(id_of(json.as_bytes()).as_ref().map(CommandId::as_str), expected, "{json}");
        };
        check(r#"{"id":"c1"}"#, Some("c1"));
        check(r#"{"v":9,"id":"c1","more":[]}"#, Some("c1"));
        check(r#"{"id":""}"#, None);
        check(r#"{"id":7}"#, None);
        check("{", None);
        check(&format!(r#"{{"id":"{}"}}"#, "x".repeat(300)), None);
    }
}
