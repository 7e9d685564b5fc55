//! Messages that people review before they are shown: the answer is an error that is none, the
//! verdict an event.
//!
//! Source: spec/limits-and-errors.md §5, spec/events.md §6.4.

use std::time::Duration;

use serde_json::{Value, json};

use super::caller::Caller;
use super::state::SentMessage;
use crate::clock::{WallMs, rfc3339};
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

/// Shows the message or forgets it, and tells the bot which.
fn conclude(caller: &Caller, verdict: Verdict, audit_id: &str, id: &str, message: SentMessage) {
    let platform = &caller.platform;
    let d = payload(verdict, audit_id, id, &message, platform.now());
    if verdict == Verdict::Pass {
        caller.bot(|bot| bot.sent.insert(id.to_owned(), message));
    }
    let t = verdict.event_type();
    let event = Event::new(t, Some(format!("{t}:{}", platform.dice.uuid())), d);
    platform.push(&caller.app, event);
}

impl Verdict {
    const fn event_type(self) -> &'static str {
        match self {
            Self::Pass => "MESSAGE_AUDIT_PASS",
            Self::Reject => "MESSAGE_AUDIT_REJECT",
        }
    }
}

/// Only what passed has a message id; groups and users have no guild to name.
fn payload(
    verdict: Verdict,
    audit_id: &str,
    id: &str,
    message: &SentMessage,
    now: WallMs,
) -> Value {
    let member = |name: &str| message.body.get(name).cloned().unwrap_or_else(|| Value::from(""));
    let mut d = json!({
        "audit_id": audit_id,
        "guild_id": member("guild_id"),
        "channel_id": member("channel_id"),
        "audit_time": rfc3339(now),
        "create_time": rfc3339(message.at),
        "seq_in_channel": member("seq_in_channel"),
    });
    if verdict == Verdict::Pass {
        d["message_id"] = id.into();
    }
    d
}

#[cfg(test)]
mod tests {
    use qqrelay_proto::id::{Scene, Scope};

    use super::*;

    #[test]
    fn a_verdict_names_the_message_only_if_it_passed() {
        let body = json!({"guild_id": "10", "channel_id": "11", "seq_in_channel": "3"});
        let message = SentMessage { scope: Scope::new(Scene::Channel, "11"), at: 0, body };
        let of = |verdict| payload(verdict, "a", "m", &message, 60_000);
        let mut expected = json!({
            "audit_id": "a",
            "guild_id": "10",
            "channel_id": "11",
            "audit_time": "1970-01-01T08:01:00+08:00",
            "create_time": "1970-01-01T08:00:00+08:00",
            "seq_in_channel": "3",
        });
        assert_eq!(of(Verdict::Reject), expected);
        expected["message_id"] = "m".into();
        assert_eq!(of(Verdict::Pass), expected);
    }
}
