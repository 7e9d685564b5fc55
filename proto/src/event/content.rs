//! What somebody wrote, without the platform's mark-up for mentions, and the command in it.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Text;

/// Which mark-up a text has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Markup {
    /// Tags, and `&`, `<` and `>` of the writer's own as entities: channels and direct messages.
    TagsAndEntities,
    /// Tags only: groups and single chats.
    Tags,
}

/// The text without mentions and outer blanks.
///
/// Source: PLATFORM.md, "tags in text". Channels (`<#…>`) and emoji stay: they are part of what
/// was said.
pub(super) fn plain(content: Cow<'_, str>, markup: Markup) -> Text<'_> {
    let marked = |c: char| c == '<' || c == '&' && markup == Markup::TagsAndEntities;
    if !content.contains(marked) {
        return trimmed(content);
    }
    let mut text = String::with_capacity(content.len());
    let mut rest = &*content;
    while let Some(place) = rest.find(marked) {
        text.push_str(&rest[..place]);
        rest = &rest[place..];
        let (instead, length) = mention(rest)
            .map(|length| ("", length))
            .or_else(|| entity(rest))
            .unwrap_or((&rest[..1], 1));
        text.push_str(instead);
        rest = &rest[length..];
    }
    text.push_str(rest);
    trimmed(Cow::Owned(text))
}

fn trimmed(text: Cow<'_, str>) -> Text<'_> {
    match text {
        Cow::Borrowed(text) => text.trim().into(),
        Cow::Owned(text) if text.trim().len() == text.len() => text.into(),
        Cow::Owned(text) => text.trim().to_owned().into(),
    }
}

/// The longest tag that is looked for: an id has 32 characters today. Without a bound a text of
/// nothing but `<` would be read again for each of them.
const TAG_BYTES_MAX: usize = 256;

/// The length of the mention that a text begins with.
fn mention(text: &str) -> Option<usize> {
    let end = text.bytes().take(TAG_BYTES_MAX).position(|byte| byte == b'>')?;
    is_mention(text.get(1..end)?).then_some(end + 1)
}

/// `@id`, `@!id`, and the two forms that have replaced them.
fn is_mention(tag: &str) -> bool {
    let is_id = |id: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        !id.is_empty() && id.bytes().all(plain)
    };
    match tag.strip_prefix('@') {
        Some(id) => is_id(id.strip_prefix('!').unwrap_or(id)),
        None => {
            tag.starts_with("qqbot-at-user ")
                || tag.trim_end_matches(['/', ' ']) == "qqbot-at-everyone"
        }
    }
}

/// The character that an entity at the beginning stands for, and the entity's length.
fn entity(text: &str) -> Option<(&'static str, usize)> {
    let known = [("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")];
    let found = known.into_iter().find(|(entity, _)| text.starts_with(entity));
    found.map(|(entity, character)| (character, entity.len()))
}

/// A command as the platform's command panel writes it: `/name args`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Command<'a> {
    /// The name, without the slash.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// What follows the name, without outer blanks; may be empty.
    #[serde(borrow)]
    pub args: Text<'a>,
}

impl<'a> Command<'a> {
    /// The command that a text begins with.
    pub(super) fn read(text: &Text<'a>) -> Option<Self> {
        let (name, args) = match text.borrowed() {
            Some(text) => split(text).map(|(name, args)| (name.into(), args.into()))?,
            None => {
                split(text).map(|(name, args)| (name.to_owned().into(), args.to_owned().into()))?
            }
        };
        Some(Self { name, args })
    }
}

fn split(text: &str) -> Option<(&str, &str)> {
    let line = text.strip_prefix('/')?;
    let (name, args) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (!name.is_empty() && !name.starts_with('/')).then(|| (name, args.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mentions_go_and_entities_are_read() {
        let check = |content: &str, expected: &str| {
            assert_eq!(plain(content.into(), Markup::TagsAndEntities).as_str(), expected);
        };
        check("<@!8834102668809967837> /ping", "/ping");
        check("hi <@1158788878435714165> there", "hi  there");
        check("<@A9-_x>", "");
        check("<qqbot-at-user id=\"1\" /> a <qqbot-at-everyone /> b", "a  b");
        check("1 &lt; 2 &amp;&amp; 3 &gt; 2", "1 < 2 && 3 > 2");
        check("&amp;lt; stays an entity", "&lt; stays an entity");
        check("<#1699792> <emoji:4> a<b <@ > <@> <@!>", "<#1699792> <emoji:4> a<b <@ > <@> <@!>");
        check("@everyone look", "@everyone look");
        check("a & b &nbsp; <", "a & b &nbsp; <");
        check("&lt;@1&gt; is no mention", "<@1> is no mention");
        check(" ", "");
    }

    #[test]
    fn a_group_writes_no_entities() {
        let check = |content: &str, expected: &str| {
            assert_eq!(plain(content.into(), Markup::Tags).as_str(), expected);
        };
        check(" /ping", "/ping");
        check("<@91C4> &lt;b&gt;", "&lt;b&gt;");
        check(
            "<faceType=1,faceId=\"264\",ext=\"e30=\">",
            "<faceType=1,faceId=\"264\",ext=\"e30=\">",
        );
    }

    #[test]
    fn plain_text_is_not_copied() {
        let text = plain(Cow::Borrowed(" /ping a & b "), Markup::Tags);
        assert_eq!(text.borrowed(), Some("/ping a & b"));
    }

    #[test]
    fn a_command_is_a_name_after_a_slash() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let command = Command::read(&text.into());
            let command = command.as_ref().map(|it| (it.name.as_str(), it.args.as_str()));
            assert_eq!(command, expected, "{text}");
        };
        check("/ping", Some(("ping", "")));
        check("/天气  深圳 明天\n后天", Some(("天气", "深圳 明天\n后天")));
        check("/a\tb", Some(("a", "b")));
        check("/a/b c", Some(("a/b", "c")));
        for other in ["", "/", "/ x", "//", "// x", "ping", "a /ping"] {
            check(other, None);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in ".{0,60}", tags in "[<@!&;>a-z1 ]{0,60}") {
            for markup in [Markup::Tags, Markup::TagsAndEntities] {
                for content in [&text, &tags] {
                    let plain = plain(Cow::Borrowed(content), markup);
                    prop_assert!(plain.len() <= content.len());
                    let _ = Command::read(&plain);
                }
            }
        }
    }
}
