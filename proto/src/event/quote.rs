//! The message that another one quotes.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Text;
use crate::lenient::{Raw, members};

/// A quoted message, as far as the platform tells of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quote<'a> {
    /// Its id: channels and direct messages.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Text<'a>>,
    /// Its name in groups and single chats: `REFIDX_…`, the `index` of the message it was.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Text<'a>>,
    /// Who wrote it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Text<'a>>,
    /// What it says, as the platform repeats it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<'a>>,
}

members!(Reference { message_id });
members!(Element { msg_idx, author, content });
members!(Author { id, user_openid, member_openid });
members!(SceneMembers { ext });

/// The `message_type` of a message that quotes another.
///
/// Source: PLATFORM.md, "message types".
const QUOTING: i64 = 103;

impl<'a> Quote<'a> {
    /// Reads what a message says of the one it quotes; none if it quotes none.
    pub(super) fn read(
        reference: Raw<'a>,
        message_type: Raw<'a>,
        index: Option<Text<'a>>,
        elements: Raw<'a>,
    ) -> Option<Self> {
        let message_id = Text::read(Reference::read(reference).message_id);
        if message_type.whole() != Some(QUOTING) {
            let named = message_id.is_some() || index.is_some();
            return named.then(|| Self { message_id, index, ..Self::default() });
        }
        let element = Element::read(elements.items().into_iter().next().unwrap_or_default());
        let author = Author::read(element.author);
        Some(Self {
            message_id,
            index: index.or_else(|| Text::read(element.msg_idx)),
            author: Text::read(author.member_openid.or(author.user_openid).or(author.id)),
            text: Text::read(element.content),
        })
    }
}

/// What a message's `ext`, a list of `key=value`, says of quoting.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes<'a> {
    /// The message's own name.
    pub(super) own: Option<Text<'a>>,
    /// The name of the message that it quotes.
    pub(super) quoted: Option<Text<'a>>,
}

impl<'a> Indexes<'a> {
    /// Reads `message_scene`. Values may have `=` in them, too.
    pub(super) fn read(scene: Raw<'a>) -> Self {
        let mut indexes = Self::default();
        SceneMembers::read(scene).ext.each_item(|item| {
            let Some((key, value)) = item.id().and_then(split) else { return };
            match &*key {
                "msg_idx" => indexes.own = value,
                "ref_msg_idx" => indexes.quoted = value,
                _ => {}
            }
        });
        indexes
    }
}

fn split(item: Cow<'_, str>) -> Option<(Cow<'_, str>, Option<Text<'_>>)> {
    let (key, value) = match item {
        Cow::Borrowed(item) => {
            let (key, value) = item.split_once('=')?;
            (Cow::Borrowed(key.trim()), Cow::Borrowed(value.trim()))
        }
        Cow::Owned(item) => {
            let (key, value) = item.split_once('=')?;
            (Cow::Owned(key.trim().to_owned()), Cow::Owned(value.trim().to_owned()))
        }
    };
    let value = Some(value).filter(|value| !value.is_empty());
    Some((key, value.map(Text::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_ends_at_the_first_sign() {
        let check = |json: &str, expected: Option<&str>| {
            let raw: &serde_json::value::RawValue = serde_json::from_str(json).expect("JSON");
            assert_eq!(Indexes::read(raw.into()).own.as_deref(), expected, "{json}");
        };
        check(r#"{"ext":["auth_token=x","msg_idx=REFIDX_Q2=="]}"#, Some("REFIDX_Q2=="));
        check(r#"{"ext":["msg_idx=REFIDX_\u0051"]}"#, Some("REFIDX_Q"));
        check(r#"{"ext":["ref_msg_idx=REFIDX_R","msg_idx=","msg_idx"]}"#, None);
        check(r#"{"ext":[7,null,{"msg_idx":1}]}"#, None);
        check(r#"{"ext":"msg_idx=1"}"#, None);
        check("[]", None);
    }
}
