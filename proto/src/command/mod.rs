//! What somebody wants done: one JSON object, the same from a handler, a stream or a request.
//!
//! A command is checked as a whole before anything is spent on it. Members it does not know are
//! refused, because a misspelt `reply` would quietly turn a reply into a push.

mod content;
mod id;
mod problem;
mod request;

use std::sync::Arc;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use self::content::{
    Buttons, Content, Image, KEYBOARD_MAX, Keyboard, Markdown, Media, Object, Parameter, Row,
    TEXT_CHARS_MAX, Template,
};
pub use self::id::{CommandId, MsgSeq};
pub use self::problem::{CommandError, Problem};
pub use self::request::{Method, Request, Route};
use crate::id::{AppId, GuildId, MessageId, Scene, Scope};
use crate::time::UnixMs;

/// One thing to be done, once, for one bot, in one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Version of this form.
    pub v: Version,
    /// Its name; the same id is the same command.
    pub id: CommandId,
    /// The bot that does it.
    pub app: AppId,
    /// What kind of place it is for.
    pub scene: Scene,
    /// The place: a channel, a guild of a direct message, a group or a user.
    #[schemars(with = "String")]
    pub scope: Arc<str>,
    /// The guild of a channel, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guild: Option<GuildId>,
    /// What to do.
    pub action: Action,
    /// What it answers. A message that answers nothing is a push, of which the platform takes few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// Not worth doing after this; a reply has the platform's own deadline besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<UnixMs>,
    /// Whether, where the platform cannot recognise a repeat, twice is better than perhaps never.
    #[serde(default, skip_serializing_if = "is_false")]
    pub at_least_once: bool,
    /// The trace it belongs to, as W3C's `traceparent`; any other text counts as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Version 1 of a form, the only one there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version;

impl Version {
    const NUMBER: u64 = 1;
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(Self::NUMBER)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            Self::NUMBER => Ok(Self),
            other => Err(de::Error::custom(format_args!(
                "version {other} is not known to this release; write {}",
                Self::NUMBER
            ))),
        }
    }
}

impl JsonSchema for Version {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": Self::NUMBER })
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Show a message.
    Send {
        /// What it says.
        content: Content,
        /// What it quotes: in a channel or direct message an id, elsewhere a `REFIDX_…`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quote: Option<String>,
    },
    /// Tell the platform that a button press was taken; the user sees a spinner until then.
    Acknowledge {
        /// The interaction's id.
        interaction: String,
        /// 0 done, 1 failed, 2 too often, 3 repeated, 4 not permitted, 5 administrators only.
        code: u8,
    },
}

impl Action {
    /// Highest code of an acknowledgement that the platform knows.
    ///
    /// Source: PLATFORM.md, "interaction codes".
    pub const CODE_MAX: u8 = 5;

    /// Its name in subjects, metric labels and JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::Acknowledge { .. } => "acknowledge",
        }
    }
}

/// What a message answers, and what is known of the right to answer it. An event's `reply` can stand
/// here as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ReplyParts", into = "ReplyParts")]
pub struct Reply {
    /// What it answers.
    pub to: ReplyTo,
    /// When the platform stops to take replies to it, our reserve included.
    pub expires_at: Option<UnixMs>,
    /// How many replies the platform takes to it.
    pub limit: Option<u8>,
}

/// The message or event that a reply answers.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ReplyTo {
    /// A message somebody wrote.
    MsgId(MessageId),
    /// Another event, by the id of its envelope.
    #[schemars(with = "String")]
    EventId(Arc<str>),
}

impl From<ReplyTo> for Reply {
    fn from(to: ReplyTo) -> Self {
        Self { to, expires_at: None, limit: None }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Reply")]
struct ReplyParts {
    /// The message that is answered; either this or `event_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    msg_id: Option<MessageId>,
    /// The event that is answered, by the id of its envelope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    event_id: Option<Arc<str>>,
    /// When the platform stops to take replies to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixMs>,
    /// How many replies the platform takes to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u8>,
}

#[derive(Debug, thiserror::Error)]
enum ReplyPartsError {
    #[error("reply names nothing; give msg_id or event_id, or leave reply out for a push")]
    Neither,
    #[error("reply names msg_id and event_id; give the one that is answered")]
    Both,
}

impl TryFrom<ReplyParts> for Reply {
    type Error = ReplyPartsError;

    fn try_from(parts: ReplyParts) -> Result<Self, ReplyPartsError> {
        let to = match (parts.msg_id, parts.event_id) {
            (Some(id), None) => ReplyTo::MsgId(id),
            (None, Some(id)) => ReplyTo::EventId(id),
            (None, None) => return Err(ReplyPartsError::Neither),
            (Some(_), Some(_)) => return Err(ReplyPartsError::Both),
        };
        Ok(Self { to, expires_at: parts.expires_at, limit: parts.limit })
    }
}

impl From<Reply> for ReplyParts {
    fn from(reply: Reply) -> Self {
        let Reply { to, expires_at, limit } = reply;
        let (msg_id, event_id) = match to {
            ReplyTo::MsgId(id) => (Some(id), None),
            ReplyTo::EventId(id) => (None, Some(id)),
        };
        Self { msg_id, event_id, expires_at, limit }
    }
}

/// What the platform does with the same request made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// It recognises the `msg_seq` and says so: replies in groups and single chats.
    Deduplicated,
    /// The second changes nothing: everything that is not a message.
    Idempotent,
    /// It shows both: guild channels, direct messages, anything pushed.
    ShownTwice,
}

impl Command {
    /// Most JSON that is read as a command. The longest text in the widest characters, with the
    /// largest keyboard, is a third of it.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// Scenes that take messages.
    pub const SEND_SCENES: [Scene; 4] = [Scene::Channel, Scene::Dm, Scene::Group, Scene::C2c];

    /// A message for one place; a push until it gets a [`Command::reply`].
    #[must_use]
    pub fn send(id: CommandId, app: AppId, place: Scope, content: Content) -> Self {
        Self {
            v: Version,
            id,
            app,
            scene: place.scene,
            scope: place.id,
            guild: None,
            action: Action::Send { content, quote: None },
            reply: None,
            deadline: None,
            at_least_once: false,
            traceparent: None,
        }
    }

    /// The JSON Schema of what [`Command::read`] takes, as `proto/schema/command.v1.json` has it.
    #[must_use]
    pub fn schema() -> Schema {
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Self>()
    }

    /// Reads and checks a command; `text_chars_max` is the longest message text.
    ///
    /// # Errors
    ///
    /// What is wrong and how to mend it, in a sentence for whoever sent the command: it will be
    /// as wrong the next time.
    pub fn read(json: &[u8], text_chars_max: usize) -> Result<Self, CommandError> {
        if json.len() > Self::BYTES_MAX {
            return Err(CommandError::TooLarge { bytes: json.len() });
        }
        let whole = |source| CommandError::Unreadable { path: ".".into(), source };
        // serde would take an array as the members in the order they are declared in.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(whole(de::Error::custom("a command is a JSON object")));
        }
        let mut json = serde_json::Deserializer::from_slice(json);
        let mut command: Self = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            CommandError::Unreadable { path: error.path().to_string(), source: error.into_inner() }
        })?;
        json.end().map_err(whole)?;
        command.traceparent.take_if(|text| !is_trace_parent(text));
        command.check(text_chars_max)?;
        Ok(command)
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn check(&self, text_chars_max: usize) -> Result<(), CommandError> {
        let mut found = Vec::new();
        let ids = [("id", self.id.as_str()), ("app", self.app.as_str()), ("scope", &self.scope)];
        for (field, id) in ids {
            check_id(field, id, &mut found);
        }
        match &self.action {
            Action::Send { content, .. } => {
                if !Self::SEND_SCENES.contains(&self.scene) {
                    found.push(Problem::NoMessages { scene: self.scene });
                }
                content.check(self, text_chars_max, &mut found);
                match &self.reply {
                    Some(Reply { to: ReplyTo::MsgId(id), .. }) => {
                        check_id("reply.msg_id", id.as_str(), &mut found);
                    }
                    Some(Reply { to: ReplyTo::EventId(id), .. }) => {
                        check_id("reply.event_id", id, &mut found);
                    }
                    None => {}
                }
            }
            Action::Acknowledge { interaction, code } => {
                check_id("action.acknowledge.interaction", interaction, &mut found);
                if *code > Action::CODE_MAX {
                    found.push(Problem::BadCode { code: *code });
                }
                if self.reply.is_some() {
                    found.push(Problem::ReplyToNothing);
                }
            }
        }
        if found.is_empty() { Ok(()) } else { Err(CommandError::Invalid(found)) }
    }

    /// The place it is for; commands of one place keep their order.
    #[must_use]
    pub fn place(&self) -> Scope {
        Scope::new(self.scene, Arc::clone(&self.scope))
    }

    /// What the platform does with it if it comes twice.
    #[must_use]
    pub const fn resend(&self) -> Resend {
        match (&self.action, self.scene, &self.reply) {
            (Action::Acknowledge { .. }, ..) => Resend::Idempotent,
            (Action::Send { .. }, Scene::Group | Scene::C2c, Some(_)) => Resend::Deduplicated,
            (Action::Send { .. }, ..) => Resend::ShownTwice,
        }
    }
}

/// Whether a text has the form `00-<trace>-<span>-<flags>`. A wrong one must not cost the message.
fn is_trace_parent(text: &str) -> bool {
    let hex =
        |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<_> = text.splitn(5, '-').collect();
    matches!(parts[..], [version, trace, span, flags]
        if hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2))
}

fn check_id(field: &'static str, id: &str, found: &mut Vec<Problem>) {
    if id.is_empty() {
        found.push(Problem::Empty { field });
    } else if matches!(id, "." | "..") {
        found.push(Problem::DotId { field });
    } else if id.len() > CommandId::MAX || id.chars().any(char::is_control) {
        found.push(Problem::BadId { field });
    }
}

#[cfg(test)]
mod tests;
