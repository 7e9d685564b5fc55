//! What the answer of somebody else's handler says: nothing, one reply, or several.
//!
//! ```json
//! {"reply": "pong"}
//! {"replies": [{"content": {"markdown": {"content": "**pong**"}}}, "and a text"]}
//! ```
//!
//! A member that is not known is an error, as in a command: what somebody meant to say would
//! otherwise be left out without a word.

use std::fmt;

use qqrelay_proto::command::Content;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::handler::{REPLIES_MAX, Reply, Right};

/// An answer that says nothing we can send.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// No JSON, or not ours; the cause says what stands there instead.
    #[error("the answer is wrong at {path}: {source}")]
    Unreadable {
        /// The member that is wrong, such as `replies[1].content`; `.` is the answer itself.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// One reply and several.
    #[error("the answer has reply and replies: give one of them")]
    Both,
    /// More than any event can be answered with.
    #[error("the answer has {count} replies, the most is {REPLIES_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    reply: Option<Part>,
    #[serde(default)]
    replies: Option<Vec<Part>>,
}

/// One reply: a text, or an object.
struct Part(Reply);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    content: Content,
    #[serde(default)]
    quote: Option<String>,
    #[serde(default)]
    push: bool,
}

/// The replies in an answer's body; nothing but white space is no reply.
pub(super) fn replies(body: &[u8]) -> Result<Vec<Reply>, AnswerError> {
    let whole = |source| AnswerError::Unreadable { path: ".".into(), source };
    match body.trim_ascii().first() {
        None => return Ok(Vec::new()),
        Some(b'{') => {}
        // Serde would read an array as the members of a struct in order.
        Some(_) => return Err(whole(de::Error::custom("expected an object"))),
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let answer: Answer = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        AnswerError::Unreadable { path: error.path().to_string(), source: error.into_inner() }
    })?;
    json.end().map_err(whole)?;
    let parts = match (answer.reply, answer.replies) {
        (Some(_), Some(_)) => return Err(AnswerError::Both),
        (Some(reply), None) => vec![reply],
        (None, replies) => replies.unwrap_or_default(),
    };
    if parts.len() > REPLIES_MAX {
        return Err(AnswerError::TooMany { count: parts.len() });
    }
    Ok(parts.into_iter().map(|Part(reply)| reply).collect())
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrObject;

        impl<'de> Visitor<'de> for TextOrObject {
            type Value = Part;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or an object with content")
            }

            fn visit_str<E>(self, text: &str) -> Result<Part, E> {
                Ok(Part(Reply::text(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Part, A::Error> {
                let whole = Whole::deserialize(MapAccessDeserializer::new(map))?;
                let right = if whole.push { Right::Push } else { Right::Answer };
                Ok(Part(Reply { content: whole.content, quote: whole.quote, right }))
            }
        }

        deserializer.deserialize_any(TextOrObject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qqrelay_proto::command::Markdown;

    #[test]
    fn an_answer_says_nothing_one_thing_or_several() {
        fn check<const N: usize>(body: &str, expected: [Reply; N]) {
            assert_eq!(replies(body.as_bytes()).expect(body), expected);
        }

        let pong = || Reply::text("pong");
        let markdown =
            Content::Markdown(Markdown { content: Some("**pong**".into()), ..Markdown::default() });
        check("", []);
        check(" \n", []);
        check("{}", []);
        check(r#"{"reply":null}"#, []);
        check(r#"{"replies":[]}"#, []);
        check(r#"{"reply":"pong"}"#, [pong()]);
        check(r#"{"reply":{"content":{"text":"pong"}}}"#, [pong()]);
        check(
            r#"{"replies":["pong",{"content":{"markdown":{"content":"**pong**"}}}]}"#,
            [pong(), Reply::new(markdown)],
        );
        check(
            r#"{"reply":{"content":{"text":"pong"},"quote":"m1","push":true}}"#,
            [Reply { quote: Some("m1".into()), right: Right::Push, ..pong() }],
        );
    }

    #[test]
    fn an_error_names_the_member_that_is_wrong() {
        let check = |body: &str, expected: &str| {
            let error = replies(body.as_bytes()).expect_err(body).to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("pong", "the answer is wrong at .: ");
        check("<html>", "the answer is wrong at .: ");
        check(r#"["pong"]"#, "the answer is wrong at .: ");
        check(r#"{"repply":"pong"}"#, "the answer is wrong at repply: unknown field `repply`");
        check(r#"{"reply":7}"#, "the answer is wrong at reply: ");
        check(r#"{"reply":{}}"#, "the answer is wrong at reply: missing field `content`");
        check(r#"{"replies":["a",{"content":{}}]}"#, "the answer is wrong at replies[1].content: ");
        check(r#"{"reply":{"content":{"text":"a"},"x":1}}"#, "the answer is wrong at reply.x: ");
        check(r#"{"reply":"a"} and more"#, "the answer is wrong at .: ");
        check(r#"{"reply":"a","replies":[]}"#, "the answer has reply and replies");
        let many = format!(r#"{{"replies":[{}"a"]}}"#, r#""a","#.repeat(REPLIES_MAX));
        check(&many, "the answer has 21 replies, the most is 20");
    }
}
