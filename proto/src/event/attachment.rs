//! What is attached to a message.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Text;
use crate::lenient::{Raw, members};

/// A picture, voice, video or file. Its address may carry a key that expires: fetch it soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attachment<'a> {
    /// Where it can be fetched, with a scheme in any case.
    #[serde(borrow)]
    pub url: Text<'a>,
    /// `image/jpeg`, `image/png`, `image/gif`, `video/mp4`, `voice` or `file`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Text<'a>>,
    /// Its name.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<Text<'a>>,
    /// Of a picture, pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<i64>,
    /// Of a picture, pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<i64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Where a voice message can be fetched as WAV.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub voice_wav_url: Option<Text<'a>>,
    /// What the platform heard in a voice message.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub speech: Option<Text<'a>>,
}

members!(Members {
    url,
    content_type,
    filename,
    width,
    height,
    size,
    voice_wav_url,
    asr_refer_text,
});

impl<'a> Attachment<'a> {
    /// Reads the list of a message; what has no address cannot be fetched and is left to `raw`.
    pub(super) fn read_all(list: Raw<'a>) -> Vec<Self> {
        let mut attachments = Vec::new();
        list.each_item(|item| attachments.extend(Self::read(item)));
        attachments
    }

    fn read(item: Raw<'a>) -> Option<Self> {
        let read = Members::read(item);
        Some(Self {
            url: address(read.url)?,
            content_type: Text::read(read.content_type),
            filename: Text::read(read.filename),
            width: read.width.whole(),
            height: read.height.whole(),
            size: read.size.whole(),
            voice_wav_url: address(read.voice_wav_url),
            speech: Text::read(read.asr_refer_text),
        })
    }
}

/// Guilds write `gchat.qpic.cn/…` or `//gchat.qpic.cn/…`.
///
/// Source: PLATFORM.md, "attachments".
fn address(raw: Raw<'_>) -> Option<Text<'_>> {
    let url = raw.text().filter(|url| !url.is_empty())?;
    let is_scheme = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let complete = match url.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => url,
        _ => Cow::Owned(format!("https://{}", url.trim_start_matches('/'))),
    };
    Some(complete.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_in_any_case() {
        let check = |url: &str, expected: Option<&str>| {
            let json = serde_json::to_string(url).expect("a text is JSON");
            let raw: &serde_json::value::RawValue = serde_json::from_str(&json).expect("JSON");
            assert_eq!(address(raw.into()).as_deref(), expected, "{url}");
        };
        check("https://a.example/b", Some("https://a.example/b"));
        check("HTTP://a.example/b", Some("HTTP://a.example/b"));
        check("gchat.qpic.cn/b", Some("https://gchat.qpic.cn/b"));
        check("//gchat.qpic.cn/b", Some("https://gchat.qpic.cn/b"));
        check("a.example/b?next=https://c", Some("https://a.example/b?next=https://c"));
        check("", None);
    }
}
