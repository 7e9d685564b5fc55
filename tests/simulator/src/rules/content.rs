//! What a message is made of, and whether its parts go together.
//!
//! Members that the platform ignores are ignored here: clients send path parameters, nulls and
//! their own extras inside bodies, and all of it works.
//!
//! Source: spec/rest.md §2, §6.

use qqrelay_proto::id::Scene;
use serde::Deserialize;
use serde_json::Value;

use super::Refusal;
use super::limits::{BesideMarkdown, ContentLimits};

/// A message as a client sends it, in any scene.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Outgoing {
    /// What kind; missing means text. Guilds have no such member.
    pub msg_type: Option<i64>,
    /// Text.
    pub content: Option<String>,
    /// Markdown.
    pub markdown: Option<Markdown>,
    /// Buttons beneath markdown.
    pub keyboard: Option<Keyboard>,
    /// A card.
    pub ark: Option<Value>,
    /// A guild's card.
    pub embed: Option<Value>,
    /// An uploaded file.
    pub media: Option<Media>,
    /// The address of an image, in guilds.
    pub image: Option<String>,
    /// The message it answers.
    pub msg_id: Option<String>,
    /// The event it answers.
    pub event_id: Option<String>,
    /// Its number among the answers.
    pub msg_seq: Option<i64>,
    /// The message it quotes.
    pub message_reference: Option<Value>,
    /// Calls back a user who went silent.
    pub is_wakeup: Option<bool>,
    /// A typing notice.
    pub input_notify: Option<InputNotify>,
}

/// Markdown by its text or by a template.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Markdown {
    /// The text.
    pub content: Option<String>,
    /// The old kind of template; botgo sends 0 for none.
    pub template_id: Option<i64>,
    /// The new kind of template.
    pub custom_template_id: Option<String>,
}

/// Buttons by a template or one by one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Keyboard {
    /// The template.
    pub id: Option<String>,
    /// The rows.
    pub content: Option<KeyboardContent>,
}

/// The rows of a keyboard.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct KeyboardContent {
    /// From the top.
    pub rows: Vec<KeyboardRow>,
}

/// One row of a keyboard.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct KeyboardRow {
    /// From the left.
    pub buttons: Vec<Value>,
}

/// An uploaded file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Media {
    /// What the upload answered.
    pub file_info: Option<String>,
}

/// A typing notice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InputNotify {
    /// 1 typing, 2 no more.
    pub input_type: Option<i64>,
    /// For how long, 1 to 60.
    pub input_second: Option<i64>,
}

/// What a well-formed message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// Markdown, with or without buttons.
    Markdown,
    /// A card.
    Ark,
    /// A guild's card.
    Embed,
    /// A typing notice, which leaves no message behind.
    InputNotify,
    /// An uploaded file, or an image.
    Media,
}

/// An image sent as a part of the request itself, in guilds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileImage {
    /// There is one.
    Attached,
    /// There is none.
    Missing,
}

impl Outgoing {
    /// Says what the message is.
    ///
    /// # Errors
    /// Its parts are missing, do not go together, or are too large.
    pub fn check(
        &self,
        scene: Scene,
        file_image: FileImage,
        limits: &ContentLimits,
    ) -> Result<Kind, Refusal> {
        let kind = match scene {
            Scene::C2c | Scene::Group => self.v2_kind(scene)?,
            _ => self.guild_kind(file_image)?,
        };
        match (kind, &self.markdown) {
            (Kind::Markdown, Some(markdown)) => {
                markdown.check()?;
                if limits.beside_markdown == BesideMarkdown::Refused && filled(&self.content) {
                    return Err(Refusal::MarkdownOnly);
                }
            }
            // A keyboard hangs beneath markdown only.
            _ if self.keyboard.is_some() => return Err(Refusal::MarkdownOnly),
            _ => {}
        }
        if let Some(keyboard) = &self.keyboard {
            keyboard.check(limits.keyboard_side)?;
        }
        let markdown = self.markdown.as_ref().and_then(|markdown| markdown.content.as_deref());
        let longest = [self.content.as_deref(), markdown].into_iter().flatten();
        if longest.map(|text| text.chars().count()).max().unwrap_or(0) > limits.text_characters {
            return Err(Refusal::TooLong);
        }
        Ok(kind)
    }

    fn v2_kind(&self, scene: Scene) -> Result<Kind, Refusal> {
        if self.is_wakeup == Some(true) && (self.msg_id.is_some() || self.event_id.is_some()) {
            return Err(Refusal::BadForm);
        }
        if self.msg_seq.is_some_and(|seq| u32::try_from(seq).is_err()) {
            return Err(Refusal::BadForm);
        }
        match self.msg_type.unwrap_or(0) {
            0 if filled(&self.content) => Ok(Kind::Text),
            0 => Err(Refusal::Empty),
            2 if self.markdown.is_some() => Ok(Kind::Markdown),
            3 if self.ark.is_some() => Ok(Kind::Ark),
            6 if scene == Scene::C2c => self.input_notify(),
            7 if self.media.is_some() => Ok(Kind::Media),
            2 | 3 | 7 => Err(Refusal::WrongMembers),
            _ => Err(Refusal::BadMessageType),
        }
    }

    fn input_notify(&self) -> Result<Kind, Refusal> {
        let notify = self.input_notify.as_ref().ok_or(Refusal::WrongMembers)?;
        let known = matches!(notify.input_type, Some(1 | 2));
        if known && notify.input_second.is_none_or(|seconds| (1..=60).contains(&seconds)) {
            Ok(Kind::InputNotify)
        } else {
            Err(Refusal::BadInputNotify)
        }
    }

    fn guild_kind(&self, file_image: FileImage) -> Result<Kind, Refusal> {
        if self.markdown.is_some() {
            Ok(Kind::Markdown)
        } else if self.ark.is_some() {
            Ok(Kind::Ark)
        } else if self.embed.is_some() {
            Ok(Kind::Embed)
        } else if file_image == FileImage::Attached || filled(&self.image) {
            Ok(Kind::Media)
        } else if filled(&self.content) {
            Ok(Kind::Text)
        } else {
            Err(Refusal::Empty)
        }
    }
}

impl Markdown {
    fn check(&self) -> Result<(), Refusal> {
        let template =
            filled(&self.custom_template_id) || self.template_id.is_some_and(|id| id != 0);
        match (filled(&self.content), template) {
            (true, true) => Err(Refusal::ContentAndTemplate),
            (false, false) => Err(Refusal::BadMarkdown),
            _ => Ok(()),
        }
    }
}

impl Keyboard {
    fn check(&self, side: usize) -> Result<(), Refusal> {
        let rows = self.content.as_ref().map_or(&[][..], |content| &content.rows);
        if rows.is_empty() && !filled(&self.id) {
            return Err(Refusal::NoKeyboard);
        }
        if rows.len() > side || rows.iter().any(|row| row.buttons.len() > side) {
            return Err(Refusal::KeyboardTooLarge);
        }
        Ok(())
    }
}

/// Text that shows something: clients send one blank where a member must not be empty.
fn filled(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(scene: Scene, body: Value, expected: Result<Kind, Refusal>) {
        let outgoing: Outgoing = serde_json::from_value(body.clone()).unwrap();
        let found = outgoing.check(scene, FileImage::Missing, &ContentLimits::default());
        assert_eq!(found, expected, "{scene}: {body}");
    }

    fn keyboard(rows: usize, buttons: usize) -> Value {
        json!({"content": {"rows": vec![json!({"buttons": vec![json!({}); buttons]}); rows]}})
    }

    #[test]
    fn a_v2_message_is_what_its_type_says_or_refused() {
        let group = |body, expected| check(Scene::Group, body, expected);
        group(json!({"content": "hi"}), Ok(Kind::Text));
        group(json!({"content": "hi", "msg_type": 0, "openid": "x", "ark": null}), Ok(Kind::Text));
        group(json!({}), Err(Refusal::Empty));
        group(json!({"content": " "}), Err(Refusal::Empty));
        group(json!({"msg_type": 2, "markdown": {"content": "**x**"}}), Ok(Kind::Markdown));
        group(json!({"msg_type": 2, "content": "x"}), Err(Refusal::WrongMembers));
        group(json!({"msg_type": 3, "ark": {"template_id": 23}}), Ok(Kind::Ark));
        group(json!({"msg_type": 7, "media": {"file_info": "x"}, "content": " "}), Ok(Kind::Media));
        group(json!({"msg_type": 7, "content": "x"}), Err(Refusal::WrongMembers));
        group(json!({"msg_type": 4, "embed": {}}), Err(Refusal::BadMessageType));
        group(json!({"msg_type": 99, "content": "x"}), Err(Refusal::BadMessageType));
        group(json!({"content": "x", "msg_seq": -1}), Err(Refusal::BadForm));
    }

    #[test]
    fn a_typing_notice_belongs_into_a_single_chat() {
        let notify = |second| json!({"msg_type": 6, "input_notify": {"input_type": 1, "input_second": second}});
        check(Scene::C2c, notify(60), Ok(Kind::InputNotify));
        check(Scene::C2c, notify(61), Err(Refusal::BadInputNotify));
        check(Scene::C2c, json!({"msg_type": 6}), Err(Refusal::WrongMembers));
        check(Scene::Group, notify(60), Err(Refusal::BadMessageType));
    }

    #[test]
    fn a_call_back_answers_nothing() {
        let wakeup = |extra: Value| {
            let mut body = json!({"content": "x", "is_wakeup": true});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            body
        };
        check(Scene::C2c, wakeup(json!({})), Ok(Kind::Text));
        check(Scene::C2c, wakeup(json!({"msg_id": "m"})), Err(Refusal::BadForm));
        check(Scene::C2c, wakeup(json!({"event_id": "e"})), Err(Refusal::BadForm));
    }

    #[test]
    fn a_guild_message_is_what_it_holds() {
        let channel = |body, expected| check(Scene::Channel, body, expected);
        channel(json!({"content": "hi"}), Ok(Kind::Text));
        channel(json!({"image": "http://x/y.png"}), Ok(Kind::Media));
        channel(json!({"embed": {"title": "t"}}), Ok(Kind::Embed));
        channel(json!({"ark": {"template_id": 23}, "content": ""}), Ok(Kind::Ark));
        channel(json!({"markdown": {"content": "x"}}), Ok(Kind::Markdown));
        channel(json!({"content": null, "image": null}), Err(Refusal::Empty));
        channel(json!({"msg_id": "m"}), Err(Refusal::Empty));
        let attached =
            Outgoing::default().check(Scene::Dm, FileImage::Attached, &ContentLimits::default());
        assert_eq!(attached, Ok(Kind::Media));
    }

    #[test]
    fn markdown_has_one_source_and_nothing_beside_it() {
        let markdown = |markdown: Value, expected| {
            check(Scene::Group, json!({"msg_type": 2, "markdown": markdown}), expected);
        };
        let from_botgo = json!({"content": "x", "template_id": 0, "params": null, "style": null});
        markdown(from_botgo, Ok(Kind::Markdown));
        markdown(json!({"custom_template_id": "t"}), Ok(Kind::Markdown));
        markdown(json!({"content": "x", "template_id": 1}), Err(Refusal::ContentAndTemplate));
        markdown(json!({}), Err(Refusal::BadMarkdown));

        let both = json!({"msg_type": 2, "markdown": {"content": "x"}, "content": "y"});
        check(Scene::Group, both.clone(), Err(Refusal::MarkdownOnly));
        let lenient =
            ContentLimits { beside_markdown: BesideMarkdown::Ignored, ..ContentLimits::default() };
        let outgoing: Outgoing = serde_json::from_value(both).unwrap();
        assert_eq!(outgoing.check(Scene::Group, FileImage::Missing, &lenient), Ok(Kind::Markdown));
    }

    #[test]
    fn a_keyboard_is_five_by_five_beneath_markdown() {
        let beneath = |keyboard: Value, expected| {
            let body = json!({"msg_type": 2, "markdown": {"content": "x"}, "keyboard": keyboard});
            check(Scene::Group, body, expected);
        };
        beneath(keyboard(5, 5), Ok(Kind::Markdown));
        beneath(json!({"id": "template"}), Ok(Kind::Markdown));
        beneath(keyboard(6, 1), Err(Refusal::KeyboardTooLarge));
        beneath(keyboard(1, 6), Err(Refusal::KeyboardTooLarge));
        beneath(json!({}), Err(Refusal::NoKeyboard));
        let lone = json!({"content": "x", "keyboard": keyboard(1, 1)});
        check(Scene::Group, lone, Err(Refusal::MarkdownOnly));
    }

    #[test]
    fn a_text_is_measured_in_characters() {
        let text = |characters: usize| json!({"content": "汉".repeat(characters)});
        check(Scene::C2c, text(4_000), Ok(Kind::Text));
        check(Scene::C2c, text(4_001), Err(Refusal::TooLong));
        let markdown = json!({"msg_type": 2, "markdown": {"content": "x".repeat(4_001)}});
        check(Scene::C2c, markdown, Err(Refusal::TooLong));
    }
}
