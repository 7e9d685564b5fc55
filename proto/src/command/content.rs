//! What a message says, the same for all scenes.
//!
//! Buttons, arks and embeds are passed on as the platform has them: it adds members to these every
//! month, and none of them should need a release of ours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Command, Problem};
use crate::id::Scene;

/// Longest text that is sent as one message, in characters, unless configured otherwise.
///
/// The platform names no number: 4,000 is what its own agent SDK sends at once.
///
/// Source: PLATFORM.md, "text length".
pub const TEXT_CHARS_MAX: usize = 4_000;

/// Most rows of a keyboard, and most buttons of a row.
///
/// Source: PLATFORM.md, "keyboard".
pub const KEYBOARD_MAX: usize = 5;

/// What to show: one of these, so that no message can be two things at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", try_from = "Parts")]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Markdown, with buttons below it if wanted.
    Markdown(Markdown),
    /// A card from one of the platform's templates, as the platform has it.
    Ark(Object),
    /// An embed, as the platform has it; guild channels and direct messages only.
    Embed(Object),
    /// A picture by its address; guild channels and direct messages only.
    Image(Image),
    /// An uploaded file; groups and single chats only.
    Media(Media),
}

/// A JSON object that is passed on as it is.
pub type Object = Map<String, Value>;

/// A markdown message: `content` or `template`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Markdown {
    /// Markdown text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// A template of the bot's instead of text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// Buttons below the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyboard: Option<Keyboard>,
}

/// A markdown template and what to fill in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// The template's `custom_template_id`.
    pub id: String,
    /// Its parameters, each `{"key": …, "values": […]}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Parameter>,
}

/// One parameter of a markdown template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name in the template.
    pub key: String,
    /// Its value, or several where the template wants a list.
    pub values: Vec<String>,
}

/// Buttons below a markdown message, as the platform has them: `id` or `content`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keyboard {
    /// A keyboard template of the bot's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The buttons themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Buttons>,
}

/// Rows of buttons.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Buttons {
    /// Up to 5.
    pub rows: Vec<Row>,
    /// Whatever else the platform takes here, such as `style`.
    #[serde(flatten)]
    pub rest: Object,
}

/// One row of buttons.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Up to 5.
    pub buttons: Vec<Object>,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Where the platform fetches it.
    pub url: String,
    /// Text beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A file that was uploaded for the same scene.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// What the upload answered.
    pub file_info: String,
    /// Text beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// [`Content`] as JSON has it, before it is known that there is exactly one part.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Content", extend("minProperties" = 1, "maxProperties" = 1))]
struct Parts {
    /// Plain text.
    text: Option<String>,
    /// Markdown, with buttons below it if wanted.
    markdown: Option<Markdown>,
    /// A card from one of the platform's templates, as the platform has it.
    ark: Option<Object>,
    /// An embed, as the platform has it; guild channels and direct messages only.
    embed: Option<Object>,
    /// A picture by its address; guild channels and direct messages only.
    image: Option<Image>,
    /// An uploaded file; groups and single chats only.
    media: Option<Media>,
}

#[derive(Debug, thiserror::Error)]
enum PartsError {
    #[error("content is empty; give one of text, markdown, ark, embed, image and media")]
    None,
    #[error("content holds {0} and {1}; give one of them, and the other in a command of its own")]
    Several(&'static str, &'static str),
}

impl TryFrom<Parts> for Content {
    type Error = PartsError;

    fn try_from(parts: Parts) -> Result<Self, PartsError> {
        let Parts { text, markdown, ark, embed, image, media } = parts;
        let mut found = [
            text.map(Self::Text),
            markdown.map(Self::Markdown),
            ark.map(Self::Ark),
            embed.map(Self::Embed),
            image.map(Self::Image),
            media.map(Self::Media),
        ]
        .into_iter()
        .flatten();
        let content = found.next().ok_or(PartsError::None)?;
        match found.next() {
            None => Ok(content),
            Some(second) => Err(PartsError::Several(content.name(), second.name())),
        }
    }
}

impl Content {
    /// The part's name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Markdown(_) => "markdown",
            Self::Ark(_) => "ark",
            Self::Embed(_) => "embed",
            Self::Image(_) => "image",
            Self::Media(_) => "media",
        }
    }

    /// Whether messages of this kind can be sent in a scene at all.
    ///
    /// Source: PLATFORM.md, "what kind of message goes where".
    #[must_use]
    pub const fn goes_to(&self, scene: Scene) -> bool {
        match (self, scene) {
            (_, Scene::Guild | Scene::App) => false,
            (Self::Text(_) | Self::Markdown(_) | Self::Ark(_), _) => true,
            (Self::Embed(_) | Self::Image(_), _) => matches!(scene, Scene::Channel | Scene::Dm),
            (Self::Media(_), _) => matches!(scene, Scene::Group | Scene::C2c),
        }
    }

    pub(super) fn check(&self, command: &Command, text_chars_max: usize, found: &mut Vec<Problem>) {
        if Command::SEND_SCENES.contains(&command.scene) && !self.goes_to(command.scene) {
            found.push(Problem::WrongScene { part: self.name(), scene: command.scene });
        }
        let mut text = |field, text: &str| check_text(field, text, text_chars_max, found);
        match self {
            Self::Text(content) => text("content.text", content),
            Self::Markdown(markdown) => {
                if let Some(content) = &markdown.content {
                    text("content.markdown.content", content);
                }
                markdown.check(found);
            }
            Self::Image(Image { text: beside, .. }) | Self::Media(Media { text: beside, .. }) => {
                if let Some(beside) = beside {
                    text("content text", beside);
                }
            }
            Self::Ark(_) | Self::Embed(_) => {}
        }
        self.check_filled(found);
    }

    fn check_filled(&self, found: &mut Vec<Problem>) {
        let empty = match self {
            Self::Ark(object) if object.is_empty() => "content.ark",
            Self::Embed(object) if object.is_empty() => "content.embed",
            Self::Image(image) if image.url.is_empty() => "content.image.url",
            Self::Media(media) if media.file_info.is_empty() => "content.media.file_info",
            _ => return,
        };
        found.push(Problem::Empty { field: empty });
    }
}

impl Markdown {
    fn check(&self, found: &mut Vec<Problem>) {
        match (&self.content, &self.template) {
            (Some(_), Some(_)) => found.push(Problem::MarkdownAndTemplate),
            (None, None) => found.push(Problem::Empty { field: "content.markdown" }),
            _ => {}
        }
        if let Some(keyboard) = &self.keyboard {
            keyboard.check(found);
        }
    }
}

impl Keyboard {
    fn check(&self, found: &mut Vec<Problem>) {
        match (&self.id, &self.content) {
            (Some(_), Some(_)) => found.push(Problem::KeyboardAndTemplate),
            (None, None) => found.push(Problem::Empty { field: "content.markdown.keyboard" }),
            (_, Some(buttons)) => {
                let widest = buttons.rows.iter().map(|row| row.buttons.len()).max().unwrap_or(0);
                let narrowest = buttons.rows.iter().map(|row| row.buttons.len()).min();
                if buttons.rows.len() > KEYBOARD_MAX || widest > KEYBOARD_MAX {
                    found.push(Problem::KeyboardTooLarge { rows: buttons.rows.len(), widest });
                }
                if matches!(narrowest, None | Some(0)) {
                    found.push(Problem::Empty { field: "content.markdown.keyboard.content.rows" });
                }
            }
            (Some(_), None) => {}
        }
    }
}

/// Text is counted in characters, as the platform's limits are; blank text counts as empty there.
fn check_text(field: &'static str, text: &str, most: usize, found: &mut Vec<Problem>) {
    if text.trim().is_empty() {
        found.push(Problem::Empty { field });
    }
    let chars = text.chars().count();
    if chars > most {
        found.push(Problem::TooLong { field, chars, most });
    }
}
