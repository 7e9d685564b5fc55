//! The message that another one quotes.

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
        scene: Raw<'a>,
        elements: Raw<'a>,
    ) -> Option<Self> {
        let message_id = Text::read(Reference::read(reference).message_id);
        let index = extension(scene, "ref_msg_idx");
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

/// A value of a message's `ext`, a list of `key=value`. Values may have `=` in them, too.
pub(super) fn extension<'a>(scene: Raw<'a>, key: &str) -> Option<Text<'a>> {
    let items = SceneMembers::read(scene).ext.items();
    items.into_iter().find_map(|item| {
        let text = Text::read(item)?;
        let (name, value) = text.split_once('=')?;
        let value = value.trim();
        if name.trim() != key || value.is_empty() {
            return None;
        }
        match text.borrowed().and_then(|text| text.split_once('=')) {
            Some((_, value)) => Some(value.trim().into()),
            None => Some(value.to_owned().into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_ends_at_the_first_sign() {
        let check = |json: &str, expected: Option<&str>| {
            let raw: &serde_json::value::RawValue = serde_json::from_str(json).expect("JSON");
            assert_eq!(extension(raw.into(), "msg_idx").as_deref(), expected, "{json}");
        };
        check(r#"{"ext":["auth_token=x","msg_idx=REFIDX_Q2=="]}"#, Some("REFIDX_Q2=="));
        check(r#"{"ext":["msg_idx=REFIDX_\u0051"]}"#, Some("REFIDX_Q"));
        check(r#"{"ext":["ref_msg_idx=REFIDX_R","msg_idx=","msg_idx"]}"#, None);
        check(r#"{"ext":[7,null,{"msg_idx":1}]}"#, None);
        check(r#"{"ext":"msg_idx=1"}"#, None);
        check("[]", None);
    }
}
