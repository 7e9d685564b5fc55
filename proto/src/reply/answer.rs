//! What the platform answered, as far as it matters.
//!
//! A body is help, never a condition: 2xx means taken, whatever came with it. Nobody looks at the
//! text of an error except people.

use std::time::Duration;

use serde_json::Value;

use crate::code::{self, Action};
use crate::id::MessageId;
use crate::outcome::Outcome;

/// An answer of the REST API to a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body's `err_code`, the newer of its two numbers.
    pub err_code: Option<u32>,
    /// The body's `code`. The two can differ, and either may be the one that we know.
    pub code: Option<u32>,
    /// What the platform says to people, Chinese or English, cut to a sentence's length.
    pub message: Option<String>,
    /// The message that the command became.
    pub message_id: Option<MessageId>,
    /// What a reviewers' verdict will be known by.
    pub audit_id: Option<String>,
    /// The header `Retry-After`, which the platform has never been seen to send.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// Longest platform text that is kept, in characters.
    const MESSAGE_MAX: usize = 200;

    /// Reads an answer's body: any bytes, possibly none, possibly only the beginning.
    #[must_use]
    pub fn read(status: u16, body: &[u8]) -> Self {
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
            return Self { status, ..Self::default() };
        };
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let audit = body.get("data").and_then(|data| data.get("message_audit"));
        let audit_id = text(audit.and_then(|audit| audit.get("audit_id")));
        Self {
            status,
            err_code: body.get("err_code").and_then(number),
            code: body.get("code").and_then(number),
            message: text(body.get("message"))
                .map(|message| message.chars().take(Self::MESSAGE_MAX).collect()),
            message_id: text(body.get("id")).map(MessageId::from),
            audit_id: audit_id.or_else(|| text(body.get("audit_id"))),
            retry_after: None,
        }
    }

    /// The body's codes, the newer first; 0 means none.
    pub fn codes(&self) -> impl Iterator<Item = u32> + use<> {
        [self.err_code, self.code].into_iter().flatten().filter(|&code| code != 0)
    }

    /// The first of the codes that we know.
    #[must_use]
    pub fn known_code(&self) -> Option<u32> {
        self.codes().find(|&code| code::meaning(code).is_some())
    }

    /// Whether the command was taken. What was answered with 2xx is never sent again.
    pub(super) fn is_taken(&self, action: Action) -> bool {
        (200..300).contains(&self.status) || matches!(action, Action::Pending | Action::Done)
    }

    /// Whether reviewers have it although the status does not say so: an audit in place of a
    /// message.
    pub(super) fn awaits_audit(&self) -> bool {
        self.message_id.is_none() && self.audit_id.is_some()
    }

    /// The refusal as an outcome.
    pub(super) fn rejection(&self) -> Outcome {
        let code = self.known_code().or_else(|| self.codes().next());
        let meaning = code.and_then(code::meaning).map(str::to_owned);
        let sentence = meaning
            .or_else(|| self.message.clone())
            .unwrap_or_else(|| format!("HTTP status {} without a reason", self.status));
        Outcome::Rejected { code: code.unwrap_or_else(|| self.status.into()), sentence }
    }
}

/// A code is a number; a text of digits is one, too.
fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|code| u32::try_from(code).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_read_wherever_the_platform_puts_it() {
        let body = r#"{"message":"回复消息msg_id已过期","code":40034005,"err_code":40034005,"trace_id":"t"}"#;
        let answer = Answer::read(400, body.as_bytes());
        assert_eq!(answer.known_code(), Some(40_034_005));
        let audit = br#"{"code":304023,"message":"m","data":{"message_audit":{"audit_id":"a1"}}}"#;
        assert_eq!(Answer::read(202, audit).audit_id.as_deref(), Some("a1"));
        assert_eq!(Answer::read(200, br#"{"audit_id":7}"#).audit_id.as_deref(), Some("7"));
        let sent = Answer::read(200, br#"{"id":"ROBOT1.0_x","timestamp":1}"#);
        assert_eq!(sent.message_id, Some("ROBOT1.0_x".into()));
    }

    #[test]
    fn a_body_can_be_anything() {
        let check = |body: &[u8]| {
            let nothing = Answer { status: 200, ..Answer::default() };
            assert_eq!(Answer::read(200, body), nothing, "{body:?}");
        };
        check(b"");
        check(b"<html>502</html>");
        check(br#"{"id":"ROBOT"#);
        check(b"null");
        check(b"[1]");
        check(br#"{"id":{},"code":-1,"err_code":1e99,"message":null,"data":[]}"#);
        check("[".repeat(100_000).as_bytes());
        check(b"\xff\xfe");
    }

    #[test]
    fn a_refusal_has_the_best_code_and_sentence_there_is() {
        let check = |status, body: &[u8], expected_code, expected: &str| {
            let rejection = Answer::read(status, body).rejection();
            let Outcome::Rejected { code, sentence } = rejection else { panic!("a rejection") };
            assert_eq!((code, &*sentence), (expected_code, expected));
        };
        let both = br#"{"code":11298,"err_code":1,"message":"m"}"#;
        check(401, both, 11_298, code::meaning(11_298).expect("a known code"));
        check(400, br#"{"code":77,"message":"no such thing"}"#, 77, "no such thing");
        check(404, b"<html>", 404, "HTTP status 404 without a reason");
        let long = format!(r#"{{"code":77,"message":"{}"}}"#, "长".repeat(500));
        check(400, long.as_bytes(), 77, &"长".repeat(200));
    }
}
