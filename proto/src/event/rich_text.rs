//! What a forum's text says, out of any of the forms it is written in.
//!
//! Documents and wire differ: a plain text, a JSON text of paragraphs, or an array of objects.
//! Only words are taken; pictures and styles are in `raw`.
//!
//! Source: PLATFORM.md, "forum texts".

use serde_json::value::RawValue;

use super::Text;
use crate::lenient::{Raw, members};

/// The words of a title or content.
pub(super) fn words(raw: Raw<'_>) -> Option<Text<'_>> {
    if raw.is_array() || raw.is_object() {
        return Some(structured(raw).into());
    }
    let text = raw.text()?;
    let inner = text.starts_with(['{', '[']).then(|| serde_json::from_str::<&RawValue>(&text));
    match inner {
        Some(Ok(json)) => Some(structured(json.into()).into()),
        _ => Some(text.into()),
    }
}

members!(Document { paragraphs });
members!(Paragraph { elems });

fn structured(raw: Raw<'_>) -> String {
    if raw.is_array() {
        return raw.items().into_iter().map(object).collect();
    }
    let paragraphs = Document::read(raw).paragraphs.items().into_iter();
    let lines: Vec<String> = paragraphs
        .map(|paragraph| {
            Paragraph::read(paragraph).elems.items().into_iter().map(element).collect()
        })
        .collect();
    lines.join("\n")
}

members!(Element { text, url });
members!(ElementText { text });
members!(ElementUrl { url, desc });

/// One element of a paragraph.
fn element(raw: Raw<'_>) -> String {
    let read = Element::read(raw);
    let url = ElementUrl::read(read.url);
    first([ElementText::read(read.text).text, url.desc, url.url])
}

members!(Object { text_info, at_info, url_info, emoji_info, channel_info });
members!(TextInfo { text });
members!(AtInfo { user_info, role_info, guild_info });
members!(UserInfo { nick });
members!(RoleInfo { name });
members!(GuildInfo { guild_name });
members!(UrlInfo { url, display_text });
members!(EmojiInfo { name });
members!(ChannelInfo { channel_name });

/// One object of the array form.
fn object(raw: Raw<'_>) -> String {
    let read = Object::read(raw);
    let at = AtInfo::read(read.at_info);
    let url = UrlInfo::read(read.url_info);
    first([
        TextInfo::read(read.text_info).text,
        UserInfo::read(at.user_info).nick,
        RoleInfo::read(at.role_info).name,
        GuildInfo::read(at.guild_info).guild_name,
        url.display_text,
        url.url,
        EmojiInfo::read(read.emoji_info).name,
        ChannelInfo::read(read.channel_info).channel_name,
    ])
}

fn first<const N: usize>(candidates: [Raw<'_>; N]) -> String {
    candidates.into_iter().find_map(Raw::id).unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_every_form() {
        let check = |json: &str, expected: Option<&str>| {
            let raw: &RawValue = serde_json::from_str(json).expect("JSON");
            assert_eq!(words(raw.into()).as_deref(), expected, "{json}");
        };
        let paragraphs = concat!(
            r#"{"paragraphs":[{"elems":[{"text":{"text":"a"},"type":1},"#,
            r#"{"type":4,"url":{"url":"https://b.example","desc":"b"}}]},"#,
            r#"{"elems":[{"type":2,"image":{}}]},{"elems":[{"text":{"text":"c"}}]}]}"#
        );
        check(paragraphs, Some("ab\n\nc"));
        check(&serde_json::to_string(paragraphs).expect("a text"), Some("ab\n\nc"));
        let objects = concat!(
            r#"[{"type":1,"text_info":{"text":"a "}},"#,
            r#"{"type":2,"at_info":{"type":1,"user_info":{"id":"1","nick":"n"}}},"#,
            r#"{"type":3,"url_info":{"url":"u"}},{"type":11}]"#
        );
        check(objects, Some("a nu"));
        check(&serde_json::to_string(objects).expect("a text"), Some("a nu"));
        check("\"plain\"", Some("plain"));
        check("\"{not json\"", Some("{not json"));
        check("\"\"", Some(""));
        check("{}", Some(""));
        check("[1,null]", Some(""));
        check("7", None);
        check("null", None);
        let deep = format!("\"{}\"", "[".repeat(100_000) + &"]".repeat(100_000));
        check(&deep, Some(""));
    }
}
