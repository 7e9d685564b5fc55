//! Messages that people review before they are shown: the answer is an error that is none, the
//! verdict an event.
//!
//! Source: spec/limits-and-errors.md §5, spec/events.md §6.4.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::caller::Caller;
use super::state::SentMessage;
use crate::clock::rfc3339;
use crate::error::ApiError;
use crate::events::Event;
use crate::rules::Refusal;
use crate::rules::limits::{AuditMode, Told};
use crate::rules::standing::Initiative;

/// How long people take.
const REVIEW: Duration = Duration::from_millis(200);

/// Puts an admitted message under review and says so.
pub(super) fn begin(
    caller: &Caller,
    mode: AuditMode,
    initiative: Initiative,
    id: String,
    message: SentMessage,
) -> ApiError {
    let audit_id = caller.platform.dice.uuid();
    let told = match mode {
        AuditMode::Pass { told } => Some((told, Verdict::Pass)),
        AuditMode::Reject { told } => Some((told, Verdict::Reject)),
        AuditMode::Off | AuditMode::Never => None,
    };
    if let Some((told, verdict)) = told {
        let (caller, audit_id) = (caller.clone(), audit_id.clone());
        let tell = move || conclude(&caller, verdict, &audit_id, &id, message);
        match told {
            Told::Before => tell(),
            Told::After => {
                tokio::spawn(async move {
                    tokio::time::sleep(REVIEW).await;
                    tell();
                });
            }
        }
    }
    let refusal = match initiative {
        Initiative::Reply => Refusal::ReplyAudit,
        Initiative::Push => Refusal::PushAudit,
    };
    ApiError::from(refusal).with_data(json!({"message_audit": {"audit_id": audit_id}}))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    Reject,
}

fn conclude(caller: &Caller, verdict: Verdict, audit_id: &str, id: &str, message: SentMessage) {
    let member = |name: &str| message.body.get(name).cloned().unwrap_or_else(|| Value::from(""));
    let t = match verdict {
        Verdict::Pass => "MESSAGE_AUDIT_PASS",
        Verdict::Reject => "MESSAGE_AUDIT_REJECT",
    };
    let mut d = json!({
        "audit_id": audit_id,
        "guild_id": member("guild_id"),
        "channel_id": member("channel_id"),
        "audit_time": rfc3339(caller.platform.now()),
        "create_time": rfc3339(message.at),
        "seq_in_channel": member("seq_in_channel"),
    });
    if verdict == Verdict::Pass {
        d["message_id"] = id.into();
        caller.bot(|bot| bot.sent.insert(id.to_owned(), message));
    }
    let event_id = format!("{t}:{}", caller.platform.dice.uuid());
    Arc::clone(&caller.platform).push(&caller.app, Event::new(t, Some(event_id), d));
}
