//! What the platform answered, reduced to what decisions need.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use qqrelay_proto::code::{self, Action};
use qqrelay_proto::time::UnixMs;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The platform's answer to one call. Its status line was read; the rest is as good as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body's `code`.
    pub code: Option<u32>,
    /// The body's `err_code`; where the two differ, the more exact one.
    pub err_code: Option<u32>,
    /// The body's `message`, for a log line: at most [`Answer::MESSAGE_MAX`] characters.
    pub message: Option<String>,
    /// What the platform's support asks for.
    pub trace_id: Option<String>,
    /// How long the platform wants us to wait. Not documented and never seen; honoured if it comes.
    pub retry_after: Option<Duration>,
    /// The body as it came, which need not be JSON.
    pub body: Bytes,
    /// Whether that is all of it.
    pub body_end: BodyEnd,
}

/// How a body ended. None of these makes an accepted call less accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// It is whole.
    Whole,
    /// The connection broke or time ran out before its end.
    Cut,
    /// It was larger than [`Answer::BODY_MAX`], and nothing of it was kept.
    TooLarge,
}

impl Answer {
    /// The largest body that is kept. The platform's own are a few kilobytes.
    pub const BODY_MAX: usize = 1 << 20;

    /// The longest message that is kept, in characters.
    pub const MESSAGE_MAX: usize = 200;

    /// The longest wait that is believed.
    pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

    pub(super) fn new(
        status: u16,
        headers: &HeaderMap,
        now: UnixMs,
        body: Bytes,
        body_end: BodyEnd,
    ) -> Self {
        let essentials: Essentials = serde_json::from_slice(&body).unwrap_or_default();
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let from_header = header("x-tps-trace-id").map(short);
        Self {
            status,
            code: essentials.code.and_then(number),
            err_code: essentials.err_code.and_then(number),
            message: essentials.message.and_then(text).map(|text| short(&text)),
            trace_id: from_header.or_else(|| essentials.trace_id.and_then(text)),
            retry_after: header("retry-after").and_then(|value| retry_after(value, now)),
            body,
            body_end,
        }
    }

    /// The body's codes, the more exact one first.
    pub fn codes(&self) -> impl Iterator<Item = u32> {
        [self.err_code, self.code].into_iter().flatten()
    }

    /// What follows from it.
    #[must_use]
    pub fn action(&self) -> Action {
        code::action(self.status, self.codes())
    }
}

/// Members of any type: a wrong one must not take the others with it.
#[derive(Debug, Default, Deserialize)]
struct Essentials<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    err_code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    trace_id: Option<&'a RawValue>,
}

fn number(raw: &RawValue) -> Option<u32> {
    raw.get().trim_matches('"').parse().ok()
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(Answer::MESSAGE_MAX).collect()
}

/// Reads `Retry-After`: seconds or a date. What makes no sense is as good as absent.
fn retry_after(value: &str, now: UnixMs) -> Option<Duration> {
    let wait = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX)) // too long for a number is long
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        UnixMs(u64::try_from(date.as_millisecond()).ok()?).since(now)
    };
    Some(wait.min(Answer::RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Answer::new(status, &HeaderMap::new(), UnixMs(0), body, BodyEnd::Whole)
    }

    #[test]
    fn an_error_body_gives_its_codes_whatever_their_type() {
        let check = |body: &str, code: Option<u32>, err_code: Option<u32>| {
            let answer = answer(400, body);
            assert_eq!((answer.code, answer.err_code), (code, err_code), "{body}");
        };
        check(r#"{"code":11298,"err_code":40023002}"#, Some(11_298), Some(40_023_002));
        check(r#"{"code":"304023"}"#, Some(304_023), None);
        check(r#"{"code":-1,"err_code":[1]}"#, None, None);
        check(r#"{"code":1e400,"err_code":7}"#, None, Some(7));
        check(r#"{"code":4294967296}"#, None, None);
        check(r#"{"message":5,"code":1}"#, Some(1), None);
        for body in ["", "null", "[]", "3", "<html>", "{\"code\":1", "\u{feff}{\"code\":1}"] {
            check(body, None, None);
        }
        check(&format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)), None, None);
    }

    #[test]
    fn a_message_is_short_and_on_one_line() {
        let long = "很\\n长".repeat(500);
        let answer = answer(500, &format!("{{\"message\":\"{long}\"}}"));
        let message = answer.message.unwrap();
        assert_eq!(message.chars().count(), Answer::MESSAGE_MAX);
        assert!(!message.contains('\n'));
    }

    #[test]
    fn the_trace_id_is_taken_from_the_header_first() {
        let body = Bytes::from_static(br#"{"trace_id":"body"}"#);
        let mut headers = HeaderMap::new();
        let read = |headers: &HeaderMap| {
            Answer::new(200, headers, UnixMs(0), body.clone(), BodyEnd::Whole).trace_id
        };
        assert_eq!(read(&headers).as_deref(), Some("body"));
        headers.insert("X-Tps-trace-ID", "header".parse().unwrap());
        assert_eq!(read(&headers).as_deref(), Some("header"));
    }

    #[test]
    fn a_wait_is_read_in_both_forms_and_bounded() {
        let now = UnixMs::parse("2015-10-21T07:27:30Z").unwrap();
        let check = |value: &str, seconds: Option<u64>| {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        };
        check("0", Some(0));
        check("7", Some(7));
        check("Wed, 21 Oct 2015 07:28:00 GMT", Some(30));
        check("Wed, 21 Oct 2015 07:00:00 GMT", Some(0));
        check("99999", Some(3600));
        check("99999999999999999999999999", Some(3600));
        check("Fri, 21 Oct 9998 07:28:00 GMT", None); // a Friday it is not
        check("", None);
        check("-1", None);
        check("1.5", None);
        check("soon", None);
    }

    #[test]
    fn what_follows_is_the_tables_word() {
        assert_eq!(answer(200, "").action(), Action::Done);
        assert_eq!(answer(200, "<html>").action(), Action::Done);
        assert_eq!(answer(202, "{}").action(), Action::Pending);
        assert_eq!(answer(401, r#"{"code":11244}"#).action(), Action::Renew);
        assert_eq!(answer(401, r#"{"code":11298,"err_code":40023002}"#).action(), Action::Stop);
        assert_eq!(answer(302, "").action(), Action::Unknown);
    }
}
